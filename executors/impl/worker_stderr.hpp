// SPDX-License-Identifier: MIT
// What a worker writes to its standard error: it comes through a pipe, goes on to the pool's own
// standard error, and its end is kept. A task of the loop reads and writes on, a pipe's content at
// a time; so a worker only waits where it would also wait for a slow terminal of its own. What the
// worker started and left behind may go on writing until the loop ends.
//
// Threads:      the loop's.
// Cancellation: the loop's end ends the reading.
// Errors:       open() throws std::system_error. What can't be written on is dropped.
// Cost:         a pipe, of which one end stays here, and a task for each worker.
// Source:       pipe(7).
#pragma once
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/task.hpp>

#include <memory>
#include <string>

namespace weft::detail {

class worker_stderr {
public:
    /// What is kept of the last that came.
    static constexpr std::size_t tail_size = 4096;

    /// Makes the pipe. `shown`: whether it goes on to descriptor `to`.
    worker_stderr(bool shown, int to);
    worker_stderr(const worker_stderr&) = delete;
    worker_stderr& operator=(const worker_stderr&) = delete;
    ~worker_stderr() = default;

    /// The end for the worker.
    [[nodiscard]] descriptor their_end() { return std::move(theirs_); }
    /// Begins to read.
    static void start(std::shared_ptr<worker_stderr> s);

    /// Once the worker has ended: the last that it wrote. Takes in what lies in the pipe.
    [[nodiscard]] std::string last_words() noexcept;

private:
    static task<> read_on(std::shared_ptr<worker_stderr> s);
    enum class state : std::uint8_t { more, nothing_now, ended };
    state take() noexcept;
    bool write_now() noexcept;

    descriptor ours_, theirs_;
    int to_;
    bool shown_;
    std::string tail_;
    std::string waiting_; // to be written on
};

} // namespace weft::detail
