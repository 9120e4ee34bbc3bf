// SPDX-License-Identifier: MIT
#include "model/memory_model.hpp"

#include "model/arena.hpp"
#include "model/orders.hpp"

#include <fmt/format.h>

namespace weft::model {

namespace {

constexpr std::size_t plain_entries = 2048; // a power of two

constexpr bool acquires(std::memory_order o) noexcept {
    return o != std::memory_order_relaxed && o != std::memory_order_release;
}
constexpr bool releases(std::memory_order o) noexcept {
    return o == std::memory_order_release || o == std::memory_order_acq_rel ||
           o == std::memory_order_seq_cst;
}

} // namespace

memory_model::memory_model() : places_(most_locations), plain_(plain_entries) {}

void memory_model::reset() noexcept {
    for (std::size_t i = 0; i < used_; ++i)
        places_[i].history.clear();
    used_ = 0;
    sequential_ = {};
    plain_used_ = 0;
    ++era_;
}

// Every join is about the locations that there are by now.
void memory_model::see(knowledge& to, const knowledge& from) const noexcept {
    for (std::size_t i = 0; i < used_; ++i)
        to.oldest[i] = std::max(to.oldest[i], from.oldest[i]);
}

void memory_model::join(knowledge& to, const knowledge& from) const noexcept {
    see(to, from);
    for (std::size_t i = 0; i < all_threads; ++i)
        to.clock[i] = std::max(to.clock[i], from.clock[i]);
}

memory_model::location memory_model::make(thread_view& t, const void* object, bits value,
                                          const site& made) {
    if (used_ == most_locations)
        fail("a model has too many atomics");
    auto l = static_cast<location>(used_++);
    place& p = at(l);
    p.object = object;
    p.made = made;
    p.alive = true;
    p.maker = t.number;
    p.made_at = t.now.clock[t.number];
    p.touched = {};
    p.history.push_back({value, {}});
    return l;
}

void memory_model::touch(thread_view& t, location l, const void* object) {
    if (l >= used_ || at(l).object != object || !at(l).alive)
        fail("an atomic was used that isn't there, or not any more");
    place& p = at(l);
    if (t.now.clock[p.maker] < p.made_at)
        fail(fmt::format("data race: an atomic ({}:{}) is used by a thread that doesn't know that "
                         "it has been made",
                         short_path(p.made.file_name()), p.made.line()));
    p.touched[t.number] = t.now.clock[t.number];
}

void memory_model::end(thread_view& t, location l, const void* object) {
    touch(t, l, object);
    place& p = at(l);
    for (std::size_t i = 0; i < all_threads; ++i)
        if (t.now.clock[i] < p.touched[i])
            fail(fmt::format("data race: thread {} destroys an atomic ({}:{}) that thread {} may "
                             "still be using",
                             t.number, short_path(p.made.file_name()), p.made.line(), i));
    p.alive = false;
}

std::size_t memory_model::oldest(const thread_view& t, location l,
                                 std::memory_order o) const noexcept {
    std::size_t known = t.now.oldest[l];
    return o == std::memory_order_seq_cst ? std::max<std::size_t>(known, sequential_.oldest[l])
                                          : known;
}

void memory_model::read(thread_view& t, location l, std::size_t index, std::memory_order o) {
    auto i = static_cast<std::uint16_t>(index);
    t.now.oldest[l] = std::max(t.now.oldest[l], i);
    join(acquires(o) ? t.now : t.read, at(l).history[index].message);
    if (o == std::memory_order_seq_cst)
        sequential_.oldest[l] = std::max(sequential_.oldest[l], i);
}

void memory_model::append(thread_view& t, location l, bits value, std::memory_order o,
                          const knowledge* continued) {
    place& p = at(l);
    auto i = static_cast<std::uint16_t>(p.history.size());
    t.now.oldest[l] = i;
    stored s{value, releases(o) ? t.now : t.released};
    if (continued != nullptr)
        join(s.message, *continued);
    s.message.oldest[l] = i;
    p.history.push_back(s);
    if (o == std::memory_order_seq_cst)
        sequential_.oldest[l] = i;
    ++t.now.clock[t.number]; // what comes next wasn't before this store
}

void memory_model::write(thread_view& t, location l, bits value, std::memory_order o) {
    append(t, l, value, o, nullptr);
}

void memory_model::modify(thread_view& t, location l, bits value, std::memory_order o) {
    read(t, l, newest(l), o);
    // A release sequence goes on: who reads this one synchronises with who began it.
    knowledge continued = at(l).history.back().message;
    append(t, l, value, o, &continued);
}

void memory_model::fence(thread_view& t, std::memory_order o) {
    if (acquires(o))
        join(t.now, t.read);
    if (o == std::memory_order_seq_cst)
        see_through_kernel(t);
    if (releases(o)) {
        t.released = t.now;
        ++t.now.clock[t.number];
    }
}

void memory_model::go_ahead(thread_view& t) noexcept {
    see(t.now, t.fenced);
    t.ahead = t.now;
}

// What the other one has stored since its last store_ahead() may still be on its way, and what it
// loads before the next one may have been loaded already: the processor passes a fence, but the
// compiler has put things in another order.
void memory_model::fence_for(thread_view& t, thread_view& other) noexcept {
    see(sequential_, other.ahead);
    see_through_kernel(t);
    see(other.fenced, t.now);
}

void memory_model::see_newest(thread_view& t, location l) noexcept {
    t.now.oldest[l] = static_cast<std::uint16_t>(newest(l));
}

void memory_model::see_through_kernel(thread_view& t) noexcept {
    see(t.now, sequential_);
    see(sequential_, t.now);
}

// --- What isn't atomic ---------------------------------------------------------------------------

memory_model::accesses& memory_model::of(const void* p) {
    auto number = reinterpret_cast<std::uintptr_t>(p);
    for (std::size_t i = number * 0x9e3779b97f4a7c15u >> 40;; ++i) {
        accesses& a = plain_[i & (plain_entries - 1)];
        if (a.era == era_ && a.object == p)
            return a;
        if (a.era == era_)
            continue;
        if (++plain_used_ > plain_entries / 2)
            fail("a model watches too many plain objects");
        a = {};
        a.object = p;
        a.era = era_;
        return a;
    }
}

void memory_model::check_order(const thread_view& t, std::size_t other, std::uint32_t when,
                               const char* what, const site& mine, const site& theirs) {
    if (t.now.clock[other] < when)
        fail(fmt::format("data race: thread {} {}, thread {} ({}:{} and {}:{})", t.number, what,
                         other, short_path(mine.file_name()), mine.line(),
                         short_path(theirs.file_name()), theirs.line()));
}

void memory_model::read_plain(thread_view& t, const void* p, const site& where) {
    accesses& a = of(p);
    check_order(t, a.writer, a.written, "reads what is written by", where, a.write_site);
    a.read[t.number] = t.now.clock[t.number];
    a.read_site[t.number] = where;
}

void memory_model::write_plain(thread_view& t, const void* p, const site& where) {
    accesses& a = of(p);
    check_order(t, a.writer, a.written, "writes what is written by", where, a.write_site);
    for (std::size_t i = 0; i < all_threads; ++i)
        check_order(t, i, a.read[i], "writes what is read by", where, a.read_site[i]);
    a.writer = t.number;
    a.written = t.now.clock[t.number];
    a.write_site = where;
}

} // namespace weft::model
