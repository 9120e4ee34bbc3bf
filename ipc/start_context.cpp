// SPDX-License-Identifier: MIT
#include <weft/ipc/start_context.hpp>

#include "impl/fork_server.hpp"

#include <weft/runtime/error.hpp>

#include <array>
#include <atomic>
#include <stdexcept>

namespace weft::ipc {

namespace {

constexpr std::array all_methods{start_method::spawn, start_method::forkserver, start_method::fork};

// `standard` until it is fixed.
constinit std::atomic<start_method> fixed_method{start_method::standard};

void require_method(start_method m) {
    if (name_of(m).empty())
        throw std::invalid_argument("no start method");
}

} // namespace

std::span<const start_method> start_methods() noexcept { return all_methods; }

std::string_view name_of(start_method m) noexcept {
    switch (m) {
    case start_method::spawn:
        return "spawn";
    case start_method::forkserver:
        return "forkserver";
    case start_method::fork:
        return "fork";
    case start_method::standard:
        break;
    }
    return "";
}

start_method start_method_named(std::string_view name) {
    for (start_method m : all_methods) {
        if (name_of(m) == name)
            return m;
    }
    throw std::invalid_argument("no start method is called " + std::string(name));
}

void set_start_method(start_method m, bool force) {
    require_method(m);
    start_method before = start_method::standard;
    if (force)
        fixed_method.store(m);
    else if (!fixed_method.compare_exchange_strong(before, m))
        throw state_error("the start method was set before, to " + std::string(name_of(before)));
}

start_method get_start_method() {
    start_method m = start_method::standard;
    if (fixed_method.compare_exchange_strong(m, all_methods.front()))
        return all_methods.front();
    return m;
}

std::optional<start_method> start_method_if_set() noexcept {
    start_method m = fixed_method.load();
    if (m == start_method::standard)
        return std::nullopt;
    return m;
}

start_context::start_context(start_method m) : method_(m) { require_method(m); }

start_context get_context(start_method m) {
    return start_context(m == start_method::standard ? get_start_method() : m);
}

void detail::set_preload(std::vector<const function_entry*> functions) {
    for (const function_entry* f : functions)
        f->check();
    fork_server::instance().set_preload(std::move(functions));
}

} // namespace weft::ipc
