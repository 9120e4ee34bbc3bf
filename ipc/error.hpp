// SPDX-License-Identifier: MIT
// What can go wrong between processes, besides what the kernel says.
//
//     std::string why(const std::exception_ptr& e) {
//         try {
//             std::rethrow_exception(e);
//         } catch (const weft::ipc::worker_lost& lost) {
//             return fmt::format("worker {} {}", lost.pid(), lost.status().text());
//         } catch (const weft::ipc::remote_error& remote) {
//             return fmt::format("{}: {}\n{}", remote.type_name(), remote.text(), remote.trace());
//         }
//     }
//
// Threads:      any. Copies share their text, and copying never throws.
// Cancellation: none of these: cancelled work is no error.
// Errors:       making one allocates its text.
// Cost:         that of an exception.
// Source:       the split into lost, broken and terminated follows Python's pools.
#pragma once
#include <weft/ipc/exit_status.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::ipc {

/// Bytes that don't hold what they should, or a value that can't travel.
class codec_error : public error {
public:
    using error::error;
    ~codec_error() override;
};

/// An exception in another process whose type isn't known here. Nested inside of one whose type is
/// known, it carries the trace.
class remote_error : public error {
public:
    /// Longer texts and traces are cut at this many bytes.
    static constexpr std::size_t longest_text = 64 * 1024;

    remote_error(std::string_view type_name, std::string_view text, std::string_view trace = {});
    ~remote_error() override;

    [[nodiscard]] const std::string& type_name() const noexcept { return said_->type_name; }
    /// What what() said over there.
    [[nodiscard]] const std::string& text() const noexcept { return said_->text; }
    /// The stack at the throw, a frame per line; empty if it couldn't be had.
    [[nodiscard]] const std::string& trace() const noexcept { return said_->trace; }

private:
    struct said {
        std::string type_name, text, trace;
    };
    std::shared_ptr<const said> said_;
};

/// Base of what goes wrong between processes that talk to each other.
class process_error : public error {
public:
    using error::error;
    ~process_error() override;
};

/// A message didn't fit into the room that was given for it. It has been read, and is here.
class buffer_too_short : public process_error {
public:
    buffer_too_short(std::span<const std::byte> message, std::size_t room);
    ~buffer_too_short() override;
    /// All of it.
    [[nodiscard]] const std::vector<std::byte>& message() const noexcept { return *message_; }

private:
    std::shared_ptr<const std::vector<std::byte>> message_;
};

/// The peer could not show that it knows the key, or is somebody who isn't let in.
class authentication_error : public process_error {
public:
    using process_error::process_error;
    ~authentication_error() override;
};

/// A worker process ended while it held the task. Nothing is known about how far the task came.
/// what() says all of this on one line.
class worker_lost : public error {
public:
    struct details {
        /// The kernel killed it because memory ran out.
        bool out_of_memory = false;
        /// What it ran: the function's name, the submitter's number for the task, and how long.
        std::string_view function = {};
        std::uint64_t tag = 0;
        duration ran_for = duration::zero();
        /// The last that it wrote to its standard error.
        std::string_view last_words = {};
    };

    worker_lost(int pid, exit_status status) : worker_lost(pid, status, details()) {}
    worker_lost(int pid, exit_status status, const details& d);
    ~worker_lost() override;

    [[nodiscard]] int pid() const noexcept { return pid_; }
    [[nodiscard]] exit_status status() const noexcept { return status_; }
    /// The kernel killed it because memory ran out. (Where only the address space is limited, an
    /// allocation fails with std::bad_alloc, and the worker lives.)
    [[nodiscard]] bool out_of_memory() const noexcept { return out_of_memory_; }
    /// The function that it ran, as the compiler calls it; empty if that isn't known.
    [[nodiscard]] const std::string& function() const noexcept { return said_->function; }
    /// The submitter's number for the task; 0 if it gave none.
    [[nodiscard]] std::uint64_t tag() const noexcept { return tag_; }
    /// How long it had been running the task.
    [[nodiscard]] duration ran_for() const noexcept { return ran_for_; }
    /// The last that it wrote to its standard error, 4 KiB at most.
    [[nodiscard]] const std::string& last_words() const noexcept { return said_->last_words; }

private:
    struct said {
        std::string function, last_words;
    };
    int pid_;
    exit_status status_;
    bool out_of_memory_;
    std::uint64_t tag_;
    duration ran_for_;
    std::shared_ptr<const said> said_;
};

/// The pool was ended before the task had its turn, or while it ran.
class pool_terminated : public error {
public:
    using error::error;
    pool_terminated() : error("the pool was ended before the task was done") {}
    ~pool_terminated() override;
};

} // namespace weft::ipc
