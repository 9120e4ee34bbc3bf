// SPDX-License-Identifier: MIT
// The call that a worker runs, for the thread that hears what the pool says meanwhile: that it
// should stop, and how many items of its sequence were taken.
//
// Threads:      begin, end and the window's members, the main thread; stop and credit, the watching
//               one.
// Cancellation: stop() runs callbacks of the function.
// Errors:       std::bad_alloc from begin and sent.
// Cost:         a lock for each. Source: none.
#pragma once
#include <weft/executors/detail/stream_window.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/task.hpp>
#include <weft/sync/event.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>

namespace weft::detail {

class call_desk {
public:
    /// The token that the task `id` is to run with.
    [[nodiscard]] std::stop_token begin(std::uint64_t id, bool takes_stop,
                                        const stream_window& window);
    /// The task has returned. Gives whether a stop was asked of it.
    bool end();

    void stop(std::uint64_t id);
    void credit(std::uint64_t id, std::uint32_t items);
    /// Has the pool told what the tasks of the call do: now if it has none, else when its loop
    /// comes to it.
    void tell_tasks(std::uint64_t question);

    /// The loop that the call's tasks run on; null: none.
    void runs_on(loop* l);

    // Of a sequence.

    /// An item of so many bytes is on its way.
    void sent(std::size_t bytes);
    [[nodiscard]] bool has_room();
    /// Waits until there is room, or a stop is asked.
    [[nodiscard]] task<> room();

private:
    struct waker {
        event& changed;
        void operator()() const noexcept { changed.set(); }
    };
    [[nodiscard]] std::stop_source source_to_stop(std::uint64_t id);

    std::mutex mutex_;
    std::stop_source source_{std::nostopstate};
    std::uint64_t running_ = 0;
    std::uint64_t stopped_ = 0;
    loop* loop_ = nullptr;
    stream_window window_;
    std::deque<std::size_t> untaken_; // the sizes of items
    std::size_t untaken_bytes_ = 0;
    event changed_;                                  // for who waits for room
    std::optional<std::stop_callback<waker>> wakes_; // of the main thread
};

} // namespace weft::detail
