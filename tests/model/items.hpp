// SPDX-License-Identifier: MIT
// What goes through the queues of models, and who puts and gets it.
//
// Threads:      as home. Cancellation: as home. Errors: none.
// Cost:         see memory_model.hpp. Source: none.
#pragma once
#include "model/strands.hpp"

#include <weft/sync/error.hpp>

#include <array>

namespace weft::model {

/// Moving it from one place to the other is what the model checker watches.
class item {
public:
    explicit item(int value) noexcept : value_(value) { writes(this); }
    item(item&& other) noexcept : value_(other.value_) {
        writes(&other);
        writes(this);
        other.value_ = 0;
    }
    item& operator=(item&&) = delete;
    ~item() { writes(this); }

    [[nodiscard]] int value() const noexcept {
        reads(this);
        return value_;
    }

private:
    int value_;
};

/// What came out of a queue, and how often.
class delivered {
public:
    void add(const item& i) noexcept { ++count_[static_cast<std::size_t>(i.value())]; }
    void check_each_once(int from, int to) const noexcept {
        for (int i = from; i <= to; ++i)
            check(count_[static_cast<std::size_t>(i)] == 1, "each item is delivered once");
    }
    template <class Queue>
    void drain(Queue& q) {
        while (auto left = q.try_get())
            add(*left);
    }

private:
    std::array<int, 32> count_{};
};

template <class Queue>
auto put(Queue& q, int first, int last) {
    return [&q, first, last]() -> task<> {
        for (int i = first; i <= last; ++i)
            co_await q.put(item(i));
    };
}

template <class Queue>
auto get(Queue& q, int n, delivered& d) {
    return [&q, n, &d]() -> task<> {
        for (int i = 0; i < n; ++i) {
            item got = co_await q.get();
            d.add(got);
        }
    };
}

template <class Queue>
void nobody_waits(Queue& q) {
    check(q.getting() == 0 && q.putting() == 0 && q.joining() == 0, "nobody is left in line");
}

/// Runs it; false: the queue was shut down.
template <class F>
bool unless_shut_down(F body) {
    try {
        home().run(std::move(body));
        return true;
    } catch (const weft::queue_shut_down&) {
        return false;
    }
}

} // namespace weft::model
