// SPDX-License-Identifier: MIT
// One sequence that many read: each item goes to one of them. Whatever makes the items does so for
// one reader at a time.
//
//     weft::async_generator<std::string> lines();
//     weft::task<> work(weft::shared_generator<std::string> from) {
//         while (auto line = co_await from.next())
//             fmt::print("{}\n", *line);
//     }
//     weft::task<> read_all() {
//         weft::shared_generator<std::string> all(lines());
//         co_await weft::when_all(work(all), work(all), work(all));
//     }
//
// Copies are the same sequence. It lives as long as one of them, or of their calls of next().
//
// Threads:      all members, from any thread. A step of the body runs as part of the task that
//               asked for it, on its loop; so what the body waits for must not belong to one loop.
// Cancellation: who is stopped while others are served leaves the line. Who is being served has its
//               item made to the end and gets it, so that nothing is lost; a stop waits for that.
// Errors:       what the body throws comes out of one next(), and the sequence has ended.
//               std::system_error (resource_deadlock_would_occur) from a body that reads itself.
// Cost:         a frame and a lock for an item.
// Source:       Python's threading.serialize_iterator.
#pragma once
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/generator.hpp>
#include <weft/sync/mutex.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {

template <class T>
async_generator<T> awaited(generator<T> from) {
    for (T&& item : from)
        co_yield std::move(item);
}

} // namespace detail

template <class T>
class shared_generator {
    static_assert(!std::is_reference_v<T>,
                  "a reference to an item is gone when the next one is made");

public:
    using value_type = T;

    explicit shared_generator(async_generator<T> from)
        : shared_(std::make_shared<state>(std::move(from))) {}
    explicit shared_generator(generator<T> from)
        : shared_generator(detail::awaited(std::move(from))) {}

    /// The next item that nobody else has got; empty at the end.
    [[nodiscard]] task<std::optional<T>> next() const { return advance(shared_); }

private:
    struct state {
        explicit state(async_generator<T> g) noexcept : from(std::move(g)) {}
        mutex turn;
        async_generator<T> from;
    };
    static task<std::optional<T>> advance(std::shared_ptr<state> s) {
        guard<mutex> mine = co_await s->turn.scoped();
        auto step = weft::shield(s->from.next());
        co_return co_await std::move(step);
    }

    std::shared_ptr<state> shared_;
};

} // namespace weft
