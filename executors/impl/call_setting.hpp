// SPDX-License-Identifier: MIT
// What goes with a call to a worker besides its arguments: the deadline, the context variables that
// travel, how far a sequence may be ahead, and from which level on lines of the log are wanted. It
// stands behind the arguments, with its length at the end, if there is any of it.
//
// Threads:      append, who submits; the rest, the worker's.
// Cancellation: none.
// Errors:       what the codecs of variables throw; codec_error, std::bad_alloc.
// Cost:         nothing but a look at what is current, if there is nothing. Source: none.
#pragma once
#include <weft/executors/detail/stream_window.hpp>
#include <weft/ipc/archive.hpp>
#include <weft/ipc/log.hpp>
#include <weft/runtime/time.hpp>

#include <span>

namespace weft::detail {

class call_setting {
public:
    /// Adds what there is to the end of a message. False: nothing.
    static bool append(ipc::archive_writer& message, time_point deadline,
                       const stream_window& window);

    /// Of a call without any.
    call_setting() noexcept = default;
    /// Reads what append() wrote.
    explicit call_setting(std::span<const std::byte> message);

    [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
    [[nodiscard]] ipc::log_level least_logged() const noexcept { return least_logged_; }
    [[nodiscard]] const stream_window& window() const noexcept { return window_; }
    /// How long the setting is, at the end of the message.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Sets the variables, in the caller's context.
    void set_variables() const;

private:
    time_point deadline_ = never;
    stream_window window_;
    ipc::log_level least_logged_ = ipc::log_level::nothing;
    std::size_t size_ = 0;
    std::span<const std::byte> variables_;
};

} // namespace weft::detail
