// SPDX-License-Identifier: MIT
#include "http.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>

namespace http {
namespace {

bool same_name(std::string_view a, std::string_view b) noexcept {
    auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    };
    return std::ranges::equal(a, b, {}, lower, lower);
}

bool split(std::string_view target, http_parser_url& parts) noexcept {
    http_parser_url_init(&parts);
    return http_parser_parse_url(target.data(), target.size(), 0, &parts) == 0;
}

std::string_view part_of(std::string_view target, http_parser_url_fields part) noexcept {
    http_parser_url parts;
    if (!split(target, parts) || (parts.field_set & (1U << part)) == 0)
        return {};
    return target.substr(parts.field_data[part].off, parts.field_data[part].len);
}

/// RFC 9110, 5.6.7. The text is made once a second.
std::string_view date() {
    thread_local std::time_t made_at = -1;
    thread_local char text[sizeof "Sun, 06 Nov 1994 08:49:37 GMT"];
    if (std::time_t now = std::time(nullptr); now != made_at) {
        std::tm parts{};
        gmtime_r(&now, &parts);
        std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        made_at = now;
    }
    return text;
}

} // namespace

std::string_view request::path() const noexcept {
    std::string_view p = part_of(target, UF_PATH);
    return p.empty() ? "/" : p;
}

std::string_view request::query() const noexcept { return part_of(target, UF_QUERY); }

const std::string* request::find(std::string_view name) const noexcept {
    auto found =
        std::ranges::find_if(fields, [&](const field& f) { return same_name(f.name, name); });
    return found == fields.end() ? nullptr : &found->value;
}

const http_parser_settings request_parser::settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_url = [](http_parser* p, const char* at, std::size_t n) {
        return self(p).on_url({at, n});
    };
    s.on_header_field = [](http_parser* p, const char* at, std::size_t n) {
        return self(p).on_name({at, n});
    };
    s.on_header_value = [](http_parser* p, const char* at, std::size_t n) {
        return self(p).on_value({at, n});
    };
    s.on_headers_complete = [](http_parser* p) { return self(p).on_head_complete(); };
    s.on_body = [](http_parser* p, const char* at, std::size_t n) {
        return self(p).on_body({at, n});
    };
    s.on_message_complete = [](http_parser* p) { return self(p).on_complete(); };
    return s;
}();

request_parser::request_parser(const limits& l) noexcept : limits_(l) {
    http_parser_init(&parser_, HTTP_REQUEST);
    parser_.data = this;
}

std::size_t request_parser::feed(std::string_view bytes) {
    if (bytes.empty() || phase_ == phase::complete || phase_ == phase::failed)
        return 0;
    if (phase_ == phase::idle) {
        // Empty lines before a request are allowed, and don't start one: they mustn't end the wait
        // for an idle peer.
        std::size_t blank = std::min(bytes.find_first_not_of("\r\n"), bytes.size());
        if (blank == bytes.size())
            return blank;
        phase_ = phase::head;
        return blank + feed(bytes.substr(blank));
    }
    std::size_t used = http_parser_execute(&parser_, &settings, bytes.data(), bytes.size());
    wire_bytes_ += used;
    if (phase_ == phase::complete || phase_ == phase::failed)
        return used;
    switch (HTTP_PARSER_ERRNO(&parser_)) {
    case HPE_OK:
        // A body in chunks of one byte is six times as large on the wire. What exceeds that is a
        // flood of framing.
        if (wire_bytes_ > 80 * 1024 + limits_.head + 8 * limits_.body)
            fail(413);
        break;
    case HPE_HEADER_OVERFLOW: // blanks, folded lines: bytes that no callback gets
        fail(phase_ == phase::head ? 431 : 400);
        break;
    default:
        fail(400);
    }
    return used;
}

void request_parser::next() noexcept {
    http_parser_init(&parser_, HTTP_REQUEST); // keeps `data`
    request_.target.clear();
    request_.fields.clear();
    request_.body.clear();
    phase_ = phase::idle;
    head_bytes_ = wire_bytes_ = 0;
    in_value_ = expects_continue_ = false;
}

int request_parser::fail(int status) noexcept {
    phase_ = phase::failed;
    failure_ = status;
    return -1; // ends http_parser_execute
}

int request_parser::grow_head(std::string& text, std::string_view more) {
    head_bytes_ += more.size();
    if (head_bytes_ > limits_.head)
        return fail(431);
    text += more;
    return 0;
}

int request_parser::on_url(std::string_view more) {
    if (request_.target.size() + more.size() > limits_.target)
        return fail(414);
    return grow_head(request_.target, more);
}

int request_parser::on_name(std::string_view more) {
    if (phase_ == phase::body) // a trailer: nobody here asked for one, so it is counted and dropped
        return (head_bytes_ += more.size()) > limits_.head ? fail(431) : 0;
    if (in_value_ || request_.fields.empty()) {
        if (request_.fields.size() == limits_.fields)
            return fail(431);
        request_.fields.emplace_back();
        in_value_ = false;
    }
    return grow_head(request_.fields.back().name, more);
}

int request_parser::on_value(std::string_view more) {
    if (phase_ == phase::body)
        return (head_bytes_ += more.size()) > limits_.head ? fail(431) : 0;
    in_value_ = true;
    return grow_head(request_.fields.back().value, more);
}

int request_parser::on_head_complete() {
    if (parser_.http_major != 1)
        return fail(505);
    request_.method = http_method_str(static_cast<http_method>(parser_.method));
    request_.minor_version = parser_.http_minor;
    request_.keep_alive = http_should_keep_alive(&parser_) != 0;
    parser_.upgrade = 0; // other protocols aren't spoken here: go on as if nobody had offered one

    // This build of the parser may let "Host : a" pass, and what stands behind another server would
    // read it otherwise.
    if (std::ranges::any_of(request_.fields,
                            [](const field& f) { return f.name.find(' ') != f.name.npos; }))
        return fail(400);
    auto named = [&](std::string_view name) {
        return std::ranges::count_if(request_.fields,
                                     [&](const field& f) { return same_name(f.name, name); });
    };
    if (auto hosts = named("Host"); hosts > 1 || (hosts == 0 && request_.minor_version >= 1))
        return fail(400);
    if (parser_.method == HTTP_CONNECT)
        return fail(405);
    // The parser doesn't look into an authority ("http://host:99999/"), and these are its own
    // 16-bit offsets.
    if (http_parser_url parts; request_.target.size() > 0xffff || !split(request_.target, parts))
        return fail(400);
    if (const std::string* expect = request_.find("Expect")) {
        if (!same_name(*expect, "100-continue"))
            return fail(417);
        expects_continue_ = request_.minor_version >= 1;
    }
    bool has_length = (parser_.flags & F_CONTENTLENGTH) != 0;
    if (has_length && parser_.content_length > limits_.body)
        return fail(413);
    phase_ = phase::body;
    return 0;
}

int request_parser::on_body(std::string_view more) {
    if (request_.body.size() + more.size() > limits_.body)
        return fail(413);
    request_.body += more;
    return 0;
}

int request_parser::on_complete() {
    phase_ = phase::complete;
    http_parser_pause(&parser_, 1); // the bytes after it stay with the caller
    return 0;
}

std::string_view reason(int status) noexcept {
    return http_status_str(static_cast<http_status>(status));
}

std::string head(const response& r, framing f, bool keep_alive) {
    std::string text;
    auto out = std::back_inserter(text);
    fmt::format_to(out, "HTTP/1.1 {} {}\r\nDate: {}\r\n", r.status, reason(r.status), date());
    if (f == framing::length)
        fmt::format_to(out, "Content-Length: {}\r\n", r.body.size());
    else if (f == framing::chunked)
        text += "Transfer-Encoding: chunked\r\n";
    if (f != framing::length || !r.body.empty())
        fmt::format_to(out, "Content-Type: {}\r\nX-Content-Type-Options: nosniff\r\n", r.type);
    if (!keep_alive || f == framing::until_close)
        text += "Connection: close\r\n";
    text += r.fields;
    text += "\r\n";
    return text;
}

} // namespace http
