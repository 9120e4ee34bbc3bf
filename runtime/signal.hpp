// SPDX-License-Identifier: MIT
// Signals as values that are awaited.
//
//     weft::task<> until_told_to_end(weft::task<> (*serve)()) {
//         weft::signal_set stop(SIGINT, SIGTERM);
//         co_await weft::with_task_group([&](weft::task_group& g) -> weft::task<> {
//             g.spawn(serve());
//             int n = co_await stop.next();
//             fmt::print("signal {}: good night\n", n);
//             g.cancel();
//         });
//     }
//
// While a set lives, its signals are blocked in the thread that made it and come out of next(). The
// kernel gives a signal of the process to any thread that doesn't block it: make the set before
// other threads start, which then inherit the mask. weft's own threads block all signals. No
// handler is installed, and without a set nothing is changed.
//
// Threads:      a set is made, awaited and destroyed on one thread.
// Cancellation: a stopped next() takes no signal.
// Errors:       std::system_error.
// Cost:         a descriptor; two system calls to make and three to end one.
// Source:       signalfd(2). Several signals of one kind may arrive as one, as ever.
#pragma once
#include <weft/runtime/descriptor.hpp>

#include <concepts>
#include <csignal>
#include <cstdint>
#include <span>

namespace weft {

namespace detail {
class [[nodiscard]] next_signal_op : public request_operation<next_signal_op> {
public:
    explicit next_signal_op(int fd) noexcept : request_operation(kind), fd_(fd) {}
    int await_resume() const;
    [[nodiscard]] request fill() noexcept {
        return {.opcode = opcode::read,
                .fd = fd_,
                .address = address_of(info_),
                .length = sizeof info_};
    }

private:
    static const operation_type kind;
    int fd_;
    alignas(8) std::byte info_[128]; // signalfd_siginfo
};
} // namespace detail

class signal_set {
public:
    /// Blocks these signals and collects them from now on.
    template <std::same_as<int>... More>
    explicit signal_set(int first, More... more) {
        const int signals[] = {first, more...};
        open(signals);
    }
    explicit signal_set(std::span<const int> signals) { open(signals); }
    signal_set(const signal_set&) = delete;
    signal_set& operator=(const signal_set&) = delete;
    /// Drops what has arrived and wasn't asked for, and unblocks what the set had blocked.
    ~signal_set();

    /// The next signal's number.
    [[nodiscard]] detail::next_signal_op next() noexcept {
        return detail::next_signal_op(fd_.get());
    }

private:
    void open(std::span<const int> signals);
    descriptor fd_;
    std::uint64_t signals_ = 0; // bit n - 1 for signal n
};

} // namespace weft
