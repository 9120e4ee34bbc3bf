// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/timer_heap.hpp>

#include <algorithm>

namespace weft::detail {

namespace {
constexpr std::size_t arity = 4;
}

void timer_heap::add(timer& t, time_point when) {
    entries_.push_back({when, &t});
    sift_up(entries_.size() - 1, {when, &t});
}

void timer_heap::remove(timer& t) noexcept {
    std::size_t at = t.index;
    t.index = timer::idle;
    entry last = entries_.back();
    entries_.pop_back();
    if (last.what == &t)
        return;
    if (at > 0 && last.when < entries_[(at - 1) / arity].when)
        sift_up(at, last);
    else
        sift_down(at, last);
}

timer& timer_heap::pop() noexcept {
    timer& t = *entries_.front().what;
    t.index = timer::idle;
    entry last = entries_.back();
    entries_.pop_back();
    if (!entries_.empty()) {
        // To the bottom along the earliest children, then up: the last entry mostly belongs at the
        // bottom, and this way it is hardly compared on the way down.
        std::size_t at = 0;
        std::size_t n = entries_.size();
        while (true) {
            std::size_t first = at * arity + 1;
            if (first >= n)
                break;
            std::size_t best = first;
            std::size_t end = std::min(first + arity, n);
            for (std::size_t c = first + 1; c < end; ++c)
                best = entries_[c].when < entries_[best].when ? c : best;
            place(at, entries_[best]);
            at = best;
        }
        sift_up(at, last);
    } else if (entries_.capacity() > 4096) {
        std::vector<entry>().swap(entries_); // a burst is over: give its memory back
    }
    return t;
}

void timer_heap::sift_up(std::size_t at, entry e) noexcept {
    while (at > 0) {
        std::size_t up = (at - 1) / arity;
        if (!(e.when < entries_[up].when))
            break;
        place(at, entries_[up]);
        at = up;
    }
    place(at, e);
}

void timer_heap::sift_down(std::size_t at, entry e) noexcept {
    std::size_t n = entries_.size();
    while (true) {
        std::size_t first = at * arity + 1;
        if (first >= n)
            break;
        std::size_t best = first;
        std::size_t end = std::min(first + arity, n);
        for (std::size_t c = first + 1; c < end; ++c)
            best = entries_[c].when < entries_[best].when ? c : best;
        if (!(entries_[best].when < e.when))
            break;
        place(at, entries_[best]);
        at = best;
    }
    place(at, e);
}

} // namespace weft::detail
