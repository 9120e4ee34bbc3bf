// SPDX-License-Identifier: MIT
#include "model/orders.hpp"

#include <fmt/format.h>
#include <map>
#include <tuple>

namespace weft::model {

namespace {

using key = std::tuple<std::string_view, unsigned, unsigned, bool>;

struct table {
    bool recording = false;
    bool weakening = false;
    std::map<key, order_site> met;
    order_site weak;
    std::memory_order instead = std::memory_order_relaxed;
};
table& all() noexcept {
    static table t;
    return t;
}

constexpr std::string_view include_folder = "/weft/";

bool is_library(std::string_view path) noexcept {
    return path.find(include_folder) != std::string_view::npos &&
           path.find("tests/") == std::string_view::npos;
}

/// The bare name in what a compiler calls a function.
std::string bare_name(std::string_view pretty) {
    pretty = pretty.substr(0, pretty.find(" [with "));
    std::size_t depth = 0; // of template arguments
    std::size_t end = 0;
    while (end < pretty.size() && (pretty[end] != '(' || depth != 0)) {
        if (pretty[end] == '<')
            ++depth;
        else if (pretty[end] == '>')
            --depth;
        ++end;
    }
    pretty = pretty.substr(0, end);
    std::size_t begin = pretty.find_last_of(": ");
    return std::string(begin == std::string_view::npos ? pretty : pretty.substr(begin + 1));
}

} // namespace

std::string_view short_path(std::string_view path) noexcept {
    if (is_library(path))
        return path.substr(path.rfind(include_folder) + include_folder.size());
    std::size_t tests = path.rfind("tests/");
    return tests == std::string_view::npos ? path : path.substr(tests);
}

const char* name_of(std::memory_order o) noexcept {
    switch (o) {
    case std::memory_order_relaxed:
        return "relaxed";
    case std::memory_order_consume:
        return "consume";
    case std::memory_order_acquire:
        return "acquire";
    case std::memory_order_release:
        return "release";
    case std::memory_order_acq_rel:
        return "acq_rel";
    case std::memory_order_seq_cst:
        return "seq_cst";
    }
    return "?";
}

std::string order_site::text() const {
    return fmt::format("{}: {}: {}{} {}", file, function, operation, of_failure ? " failing" : "",
                       name_of(order));
}

std::vector<order_site> orders_met(const std::function<void()>& f) {
    table& t = all();
    t.met.clear();
    t.recording = true;
    f();
    t.recording = false;
    std::vector<order_site> found;
    for (auto& [where, s] : t.met)
        found.push_back(s);
    return found;
}

std::vector<std::memory_order> weaker(const order_site& s) {
    if (s.operation == "store_ahead") // each half of what it is
        return {std::memory_order_release, std::memory_order_relaxed};
    bool reads = s.operation != "store";
    bool writes = s.operation != "load" && !s.of_failure;
    switch (s.order) {
    case std::memory_order_seq_cst:
        if (reads && writes)
            return {std::memory_order_acq_rel};
        return {reads ? std::memory_order_acquire : std::memory_order_release};
    case std::memory_order_acq_rel:
        return {std::memory_order_acquire, std::memory_order_release};
    case std::memory_order_acquire:
    case std::memory_order_consume:
    case std::memory_order_release:
        return {std::memory_order_relaxed};
    case std::memory_order_relaxed:
        break;
    }
    return {};
}

weakened::weakened(const order_site& s, std::memory_order o) {
    table& t = all();
    t.weak = s;
    t.instead = o;
    t.weakening = true;
}

weakened::~weakened() { all().weakening = false; }

std::memory_order order_now(const char* operation, std::memory_order written, bool of_failure,
                            const std::source_location& at) {
    table& t = all();
    if (!t.recording && !t.weakening) [[likely]]
        return written;
    if (t.weakening && at.line() == t.weak.line && at.column() == t.weak.column &&
        of_failure == t.weak.of_failure && short_path(at.file_name()) == t.weak.file)
        return t.instead;
    if (t.recording && written != std::memory_order_relaxed && is_library(at.file_name())) {
        std::string_view file = short_path(at.file_name());
        t.met.try_emplace(key(file, at.line(), at.column(), of_failure),
                          order_site{std::string(file), bare_name(at.function_name()), operation,
                                     at.line(), at.column(), of_failure, written});
    }
    return written;
}

} // namespace weft::model
