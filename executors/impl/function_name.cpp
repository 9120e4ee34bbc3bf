// SPDX-License-Identifier: MIT
#include "function_name.hpp"

#include <weft/ipc/detail/type_name.hpp>

#include <optional>
#include <string_view>

namespace weft::detail {

namespace {

// The first argument of a template, if it is that one.
std::optional<std::string_view> argument_of(std::string_view name, std::string_view tmpl) {
    if (!name.starts_with(tmpl) || name.size() == tmpl.size() || name[tmpl.size()] != '<')
        return std::nullopt;
    name.remove_prefix(tmpl.size() + 1);
    std::size_t depth = 0; // of brackets
    for (std::size_t i = 0; i != name.size(); ++i) {
        const char c = name[i];
        if (depth == 0 && (c == ',' || c == '>'))
            return name.substr(0, i);
        if (c == '<' || c == '(' || c == '{')
            ++depth;
        else if (c == '>' || c == ')' || c == '}')
            --depth;
    }
    return std::nullopt;
}

// "&(a::f(int) const)", "&(anonymous namespace)::f": the name alone.
std::string_view without_address(std::string_view f) {
    constexpr std::string_view unnamed = "(anonymous namespace)::";
    if (f.starts_with('&'))
        f.remove_prefix(1);
    if (f.starts_with('(') && !f.starts_with(unnamed))
        f = f.substr(1, f.size() - (f.ends_with(')') ? 2 : 1));
    if (f.starts_with(unnamed))
        f.remove_prefix(unnamed.size());
    return f.substr(0, f.find_first_of("([")); // arguments, or an ABI tag
}

std::string plain_name(std::string_view name) {
    if (auto of = argument_of(name, "weft::detail::mapped_call"))
        return "map of " + plain_name(*of);
    if (auto of = argument_of(name, "weft::detail::starred"))
        return plain_name(*of);
    if (auto of = argument_of(name, "weft::function_constant"))
        return std::string(without_address(*of));
    return std::string(name);
}

} // namespace

std::string function_name(const char* name) {
    return plain_name(ipc::detail::readable_type_name(name));
}

} // namespace weft::detail
