// SPDX-License-Identifier: MIT
#include "sheet.hpp"

#include <fmt/format.h>

namespace pictures {

namespace {

// Names of files are any bytes: nothing of them may be taken for HTML.
std::string escaped(std::string_view text) {
    std::string out;
    for (char c : text) {
        switch (c) {
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '&':
            out += "&amp;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c;
        }
    }
    return out;
}

std::string url(std::string_view path) {
    std::string out;
    for (char c : path) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') ||
                           std::string_view("/._-~").find(c) != std::string_view::npos;
        if (plain)
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

constexpr std::string_view head = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>
body {{ background: #16181d; color: #d8dce4; font: 14px/1.4 system-ui, sans-serif; margin: 2em }}
main {{ display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)) }}
figure {{ background: #21242c; border-radius: 6px; margin: 0; padding: 10px; overflow: hidden }}
figure div {{ align-items: center; display: flex; height: 190px; justify-content: center }}
img {{ max-height: 190px; max-width: 100% }}
figcaption {{ overflow-wrap: anywhere }} small {{ color: #98a0b0; display: block }}
a {{ color: inherit }} .trouble {{ outline: 2px solid #e06c60 }} .trouble div {{ color: #e06c60 }}
</style></head><body><h1>{0}</h1><p>{1}</p><main>
)";

} // namespace

std::string sheet(std::string_view title, std::string_view summary,
                  const std::vector<sheet_entry>& entries) {
    std::string page = fmt::format(head, escaped(title), escaped(summary));
    for (const sheet_entry& e : entries) {
        const std::string picture =
            e.thumbnail.empty()
                ? "no picture"
                : fmt::format("<img src=\"{}\" alt=\"\" loading=\"lazy\">", url(e.thumbnail));
        page += fmt::format("<figure{}><div>{}</div><figcaption><a href=\"{}\">{}</a>"
                            "<small>{}</small></figcaption></figure>\n",
                            e.in_trouble ? " class=\"trouble\"" : "", picture, url(e.link),
                            escaped(e.name), escaped(e.about));
    }
    return page + "</main></body></html>\n";
}

} // namespace pictures
