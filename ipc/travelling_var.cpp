// SPDX-License-Identifier: MIT
#include <weft/ipc/travelling_var.hpp>

#include <weft/ipc/detail/type_name.hpp>
#include <weft/runtime/error.hpp>

namespace weft {

namespace {

// Constant initialisation: variables of other source files are made before this one's.
constinit std::atomic<detail::context_travel*> travellers{nullptr};

detail::context_travel* traveller_of(std::uint64_t id) noexcept {
    // pairs with the release in enrol()
    detail::context_travel* t = travellers.load(std::memory_order_acquire);
    while (t != nullptr && t->id != id)
        t = t->next;
    return t;
}

void require_unique(const detail::context_travel& t) {
    if (t.ambiguous.load(std::memory_order_relaxed))
        throw state_error(std::string("two travelling variables of the program are called '") +
                          t.called + "', so another process couldn't tell which is meant");
}

} // namespace

detail::context_travel::context_travel(const char* n, encode_function e, decode_function d) noexcept
    : called(n), id(ipc::detail::hash_of_name(n)), encode(e), decode(d) {}

void detail::context_travel::enrol(const context_key& k) noexcept {
    variable = &k;
    next = travellers.load(std::memory_order_acquire); // pairs with the release below
    do {
        for (context_travel* t = next; t != nullptr; t = t->next) {
            if (t->id == id) {
                t->ambiguous.store(true, std::memory_order_relaxed);
                ambiguous.store(true, std::memory_order_relaxed);
            }
        }
        // pairs with the acquire of whoever looks
    } while (!travellers.compare_exchange_weak(next, this, std::memory_order_release,
                                               std::memory_order_acquire));
}

std::size_t ipc::detail::write_travelling(archive_writer& out) {
    weft::detail::context_data_ref here(weft::detail::capture_context());
    if (!here)
        return 0;
    const auto* first = here->entries();
    std::size_t n = 0;
    for (const auto* e = first; e != first + here->size(); ++e)
        n += e->key->travel() != nullptr ? 1 : 0;
    if (n == 0)
        return 0;
    out.write_count(n);
    for (const auto* e = first; e != first + here->size(); ++e) {
        const weft::detail::context_travel* t = e->key->travel();
        if (t == nullptr)
            continue;
        require_unique(*t);
        out.write_value(t->id);
        t->encode(out, *e->value);
    }
    return n;
}

void ipc::detail::read_travelling(archive_reader& in) {
    for (std::size_t n = in.read_count(sizeof(std::uint64_t), 0); n != 0; --n) {
        const weft::detail::context_travel* t = traveller_of(in.read_value<std::uint64_t>());
        if (t == nullptr)
            throw state_error("a call came with a context variable that this process doesn't have: "
                              "is it at namespace scope?");
        require_unique(*t);
        static_cast<void>(weft::detail::set_in_context(*t->variable, t->decode(in)));
    }
}

ipc::travelling_var<std::string> ipc::trace_id("trace id", std::string());

} // namespace weft
