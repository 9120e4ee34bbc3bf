// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/timer_heap.hpp>

#include "sync/patience.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

using namespace weft;
using namespace weft::tests;
using detail::timer;
using detail::timer_heap;

namespace {

time_point at(std::int64_t ns) { return time_point(duration(ns)); }

struct numbered : timer {
    explicit numbered(unsigned n) noexcept : timer([](timer&) noexcept {}), number(n) {}
    unsigned number;
};

// The heap, and beside it what it should be.
class both {
public:
    explicit both(unsigned timers) {
        for (unsigned i = 0; i < timers; ++i)
            all_.push_back(std::make_unique<numbered>(i));
    }
    [[nodiscard]] std::size_t size() const { return expected_.size(); }
    [[nodiscard]] bool is_in(unsigned i) const { return all_[i]->active(); }

    void add(unsigned i, time_point when) {
        heap_.add(*all_[i], when);
        expected_.emplace(when, i);
    }
    void remove(unsigned i) {
        heap_.remove(*all_[i]);
        std::erase_if(expected_, [i](const auto& e) { return e.second == i; });
    }
    // Of several with the same time any may come first.
    bool pop() {
        time_point when = heap_.next();
        if (when != expected_.begin()->first)
            return false;
        auto& t = static_cast<numbered&>(heap_.pop());
        auto [first, last] = expected_.equal_range(when);
        auto its = std::find_if(first, last, [&t](const auto& e) { return e.second == t.number; });
        if (its == last)
            return false;
        expected_.erase(its);
        return true;
    }
    [[nodiscard]] bool agree() const {
        if (heap_.size() != expected_.size() || heap_.empty() != expected_.empty())
            return false;
        if (!heap_.empty() && heap_.next() != expected_.begin()->first)
            return false;
        std::size_t active = 0;
        for (const auto& t : all_)
            active += t->active() ? 1 : 0;
        return active == expected_.size();
    }

private:
    std::vector<std::unique_ptr<numbered>> all_;
    timer_heap heap_;
    std::multimap<time_point, unsigned> expected_;
};

} // namespace

TEST_CASE("timer_heap: gives the earliest, whatever is added, removed and popped") {
    dice d(new_seed(), 0);
    // Few times: most are shared. Many: hardly any.
    for (unsigned times : {1u, 3u, 50u, 1'000'000u}) {
        for (unsigned timers : {1u, 2u, 5u, 6u, 40u, 300u}) {
            CAPTURE(times, timers);
            both b(timers);
            bool right = true;
            for (unsigned step = 0; step < 3000 && right; ++step) {
                unsigned i = d.below(timers);
                if (!b.is_in(i))
                    b.add(i, at(d.below(times)));
                else if (d.below(2) == 0)
                    b.remove(i);
                else
                    right = b.pop();
                right = right && b.agree();
            }
            while (right && b.size() != 0)
                right = b.pop() && b.agree();
            CHECK(right);
        }
    }
}

TEST_CASE("timer_heap: a timer may be used again as soon as it was taken out") {
    timer_heap heap;
    numbered a(0);
    numbered b(1);
    CHECK_FALSE(a.active());
    heap.add(a, at(5));
    heap.add(b, at(3));
    CHECK(a.active());
    timer& first = heap.pop();
    CHECK(&first == &b);
    CHECK_FALSE(b.active());
    heap.add(b, at(9));
    heap.remove(a);
    heap.add(a, at(7));
    CHECK(&heap.pop() == &a);
    CHECK(&heap.pop() == &b);
    CHECK(heap.empty());
}

TEST_CASE("timer_heap: the extremes of time are times like others", "[P24]") {
    timer_heap heap;
    numbered first(0);
    numbered middle(1);
    numbered last(2);
    heap.add(last, time_point::max());
    heap.add(first, time_point::min());
    heap.add(middle, at(0));
    CHECK(&heap.pop() == &first);
    CHECK(&heap.pop() == &middle);
    CHECK(heap.next() == time_point::max());
    CHECK(&heap.pop() == &last);
}

TEST_CASE("timer_heap: very many timers come out in order, and then there is room again") {
    dice d(new_seed(), 1);
    timer_heap heap;
    std::vector<std::unique_ptr<numbered>> all;
    for (unsigned i = 0; i < 50'000; ++i) {
        all.push_back(std::make_unique<numbered>(i));
        heap.add(*all.back(), at(d.below(1'000'000)));
    }
    time_point before = time_point::min();
    bool in_order = true;
    while (!heap.empty()) {
        in_order = in_order && heap.next() >= before;
        before = heap.next();
        heap.pop();
    }
    CHECK(in_order);
    heap.add(*all[0], at(1)); // and goes on
    CHECK(&heap.pop() == all[0].get());
}
