// SPDX-License-Identifier: MIT
// What a function that runs in a worker of a process pool is connected with: for coroutines, whose
// end tells whether they were stopped, and for sequences, whose items go to the caller one by one.
//
// Threads:      the worker's main thread.
// Cancellation: room() ends when a stop was asked.
// Errors:       state_error from current() elsewhere than in a worker. std::bad_alloc.
// Cost:         an item is a message. Source: none.
#pragma once
#include <weft/ipc/archive.hpp>
#include <weft/runtime/task.hpp>

#include <optional>

namespace weft {
class loop;
}

namespace weft::detail {

class worker_call {
public:
    worker_call(const worker_call&) = delete;
    worker_call& operator=(const worker_call&) = delete;

    /// The one that this thread runs.
    [[nodiscard]] static worker_call& current();

    /// Says how the function ended: because it was to stop, or not. Otherwise each end after a stop
    /// was asked counts as one because of it.
    void ended(bool by_stop) noexcept { by_stop_ = by_stop; }

    /// Where its tasks run; null: there are none any more.
    virtual void runs_on(loop* l) = 0;

    // Of a sequence.

    [[nodiscard]] virtual ipc::archive_writer new_item() const = 0;
    virtual void send_item(ipc::archive_writer& item) = 0;
    /// Whether one more item may be made.
    [[nodiscard]] virtual bool has_room() = 0;
    /// Waits until that is so, or a stop is asked.
    [[nodiscard]] virtual task<> room() = 0;

protected:
    worker_call() noexcept;
    ~worker_call();
    std::optional<bool> by_stop_;

private:
    worker_call* outer_;
};

} // namespace weft::detail
