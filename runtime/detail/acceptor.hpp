// SPDX-License-Identifier: MIT
// The accepting half of a listener: one request that stays with the kernel, the sockets that came
// before anyone asked for them, and the line of those who ask.
//
// The request outlives the listener: what it names is freed with its final completion, and the
// socket is closed then.
//
// Threads:      the loop that accepts; another may take over when no request is under way.
// Cancellation: a stopped accept leaves the line; what the kernel has accepted stays for the next
//               one.
// Errors:       shortage (descriptors, memory) is waited out: 5 ms, doubling to 1 s. Others come
//               out of every accept that waits.
// Cost:         one allocation for each listener. Source: io_uring_prep_multishot_accept(3).
#pragma once
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/detail/operation.hpp>

#include <cstdint>

namespace weft::detail {

class acceptor;

/// Owns an acceptor on behalf of a listener.
class acceptor_handle {
public:
    acceptor_handle() noexcept = default;
    /// `ahead`: how many accepted sockets may wait before the kernel is told to pause.
    acceptor_handle(descriptor listening, unsigned ahead);
    acceptor_handle(acceptor_handle&& other) noexcept : its_(std::exchange(other.its_, nullptr)) {}
    acceptor_handle& operator=(acceptor_handle&& other) noexcept {
        std::swap(its_, other.its_);
        return *this;
    }
    ~acceptor_handle();

    [[nodiscard]] int fd() const noexcept;
    [[nodiscard]] acceptor* get() const noexcept { return its_; }

private:
    acceptor* its_ = nullptr;
};

class accept_base : public operation {
public:
    [[nodiscard]] bool await_ready();
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where))
            start();
        return true;
    }

protected:
    explicit accept_base(acceptor* from) noexcept : operation(kind), from_(from) {}
    accept_base(accept_base&&) = default;
    /// The socket. Throws what the kernel said instead.
    [[nodiscard]] descriptor take() const;

private:
    friend class acceptor;
    void start();
    static void cancel_accept(operation& op) noexcept;
    static const operation_type kind;
    acceptor* from_;
    accept_base* next_ = nullptr;
    accept_base* previous_ = nullptr;
    std::int32_t result_ = 0; // a descriptor, or a negative errno
};

/// Gives a socket as a `Stream`.
template <class Stream>
class [[nodiscard]] accept_op : public accept_base {
public:
    explicit accept_op(acceptor* from) noexcept : accept_base(from) {}
    Stream await_resume() { return Stream(take()); }
};

/// Waits until the kernel has let go of the listener, and closes it.
class [[nodiscard]] stop_accepting_op : public operation {
public:
    explicit stop_accepting_op(acceptor_handle&& a) noexcept
        : operation(kind), held_(std::move(a)) {}
    [[nodiscard]] bool await_ready() noexcept;
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() const noexcept {}

private:
    friend class acceptor;
    void start() noexcept;
    static const operation_type kind;
    acceptor_handle held_;
};

} // namespace weft::detail
