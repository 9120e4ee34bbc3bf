// SPDX-License-Identifier: MIT
#include <weft/runtime/receiver.hpp>

#include "impl/buffer_ring.hpp"
#include "impl/kept_queue.hpp"
#include "impl/ring.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <algorithm>
#include <cerrno>
#include <poll.h>

namespace weft::detail {

// Outlives the receiver until the kernel has let go of the request.
//
// A request is made only for a reader that waits, and a reader that is stopped waits on until the
// request has ended. So whenever the reader's coroutine runs, what we have asked for has reached
// the kernel, and its socket may be closed.
class receiver_state : completion_target, buffer_waiter {
public:
    receiver_state(int fd, unsigned ahead) noexcept
        : completion_target(completed), buffer_waiter(let_in), retry_(retry, *this), fd_(fd),
          ahead_(std::max(ahead, 1u)) {}
    receiver_state(const receiver_state&) = delete;
    receiver_state& operator=(const receiver_state&) = delete;

    [[nodiscard]] bool has_something() const noexcept { return !queued_.empty() || ended_; }
    lent_buffer take();
    void wait(receiver_op& op, loop& on);
    void stop_waiting() noexcept;
    void retire() noexcept;

private:
    enum class step : std::uint8_t { idle, receiving, polling, filling };
    struct message : work {
        message(function f, receiver_state& s) noexcept : work(f), to(s) {}
        receiver_state& to;
    };

    ~receiver_state() = default;
    [[nodiscard]] buffer_ring& pool() const { return on_->buffers(); }
    void start();
    void receive();
    void poll();
    void go_on() noexcept;
    void got(std::int32_t result, std::uint32_t flags) noexcept;
    void end_with(std::int32_t result) noexcept;
    void over() noexcept;
    void withdraw() noexcept;
    static void completed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    static void let_in(buffer_waiter& w) noexcept;
    static void retry(work& w) noexcept;

    message retry_;
    loop* on_ = nullptr;
    receiver_op* reader_ = nullptr;
    kept_queue<lent_buffer> queued_;
    std::int32_t result_ = 0; // once ended_: 0 for the end of the stream, or a negative errno
    int fd_;
    unsigned ahead_;
    std::uint16_t own_ = 0;
    std::uint8_t in_vain_ = 0;
    step step_ = step::idle;
    bool ended_ = false;
    bool withdrawn_ = false; // a cancel is on the way
    bool retrying_ = false;  // waits for room, to try again to withdraw
    bool stopping_ = false;  // the reader is to be stopped
    bool retired_ = false;
};

lent_buffer receiver_state::take() {
    if (!queued_.empty())
        return queued_.pop();
    // An error is told once; then the socket is asked again.
    ended_ = false;
    check_socket(std::exchange(result_, 0), "receive from", fd_);
    return {};
}

void receiver_state::wait(receiver_op& op, loop& on) {
    if (reader_ != nullptr)
        throw state_error("a task is receiving from this socket already");
    if (step_ != step::idle && on_ != &on)
        throw state_error("a receiver was used on two loops at once");
    on_ = &on;
    if (step_ == step::idle)
        start();
    reader_ = &op;
}

void receiver_state::start() {
    if (pool().by_kernel() && !pool().has_line())
        receive();
    else
        poll();
}

void receiver_state::receive() {
    bool many = contains(on_->features(), kernel_feature::multishot_receive);
    on_->submit(*this, {.opcode = opcode::recv,
                        .flags = IOSQE_BUFFER_SELECT,
                        .ioprio = static_cast<std::uint16_t>(many ? IORING_RECV_MULTISHOT : 0),
                        .fd = fd_,
                        .length = many ? 0 : pool().size(),
                        .buffer_group = buffer_ring::group});
    step_ = step::receiving;
    withdrawn_ = false;
}

void receiver_state::poll() {
    on_->submit(*this,
                {.opcode = opcode::poll_add, .fd = fd_, .operation_flags = POLLIN | POLLRDHUP});
    step_ = step::polling;
    withdrawn_ = false;
}

void receiver_state::go_on() noexcept {
    try {
        buffer_ring& p = pool();
        if (p.by_kernel()) {
            receive();
            return;
        }
        own_ = p.take();
        p.tried(*this);
        step_ = step::filling;
        withdrawn_ = false;
        on_->submit(*this, {.opcode = opcode::recv,
                            .fd = fd_,
                            .address = address_of(p.data(own_)),
                            .length = p.size()});
    } catch (...) {
        completed(*this, -ENOMEM, 0);
    }
}

void receiver_state::let_in(buffer_waiter& w) noexcept { static_cast<receiver_state&>(w).go_on(); }

void receiver_state::got(std::int32_t result, std::uint32_t flags) noexcept {
    buffer_ring& p = pool();
    std::uint16_t id = own_;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        p.taken();
        id = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    } else if (step_ != step::filling) {
        if (result <= 0)
            end_with(result);
        return;
    }
    lent_buffer data(p, id, p.data(id), result > 0 ? static_cast<std::size_t>(result) : 0);
    if (result <= 0) {
        end_with(result);
        return;
    }
    in_vain_ = 0;
    if (retired_)
        return;
    try {
        queued_.push(std::move(data));
    } catch (const std::bad_alloc&) {
        end_with(-ENOMEM); // bytes are missing from here on, so the stream can't go on
        withdraw();
    }
}

void receiver_state::end_with(std::int32_t result) noexcept {
    ended_ = true;
    if (result_ == 0)
        result_ = result;
}

void receiver_state::completed(completion_target& t, std::int32_t result,
                               std::uint32_t flags) noexcept {
    auto& self = static_cast<receiver_state&>(t);
    bool last = (flags & IORING_CQE_F_MORE) == 0;
    if (self.step_ == step::polling) {
        bool wanted = self.reader_ != nullptr && !self.stopping_;
        if (result >= 0 && wanted) {
            buffer_ring& p = self.pool();
            if (p.available() == 0 || p.has_line())
                p.wait(self);
            else
                self.go_on();
            return;
        }
        self.pool().tried(self);
        if (result < 0 && result != -ECANCELED && !interrupted(result))
            self.end_with(result);
        self.over();
        return;
    }
    constexpr std::uint8_t enough = 100;
    bool none_left = result == -ENOBUFS && self.in_vain_++ < enough;
    if (none_left || result == -ECANCELED || interrupted(result)) {
        if (self.step_ == step::filling)
            self.pool().give_back(self.own_);
        bool wanted = self.reader_ != nullptr && !self.stopping_;
        if (none_left && self.trying && wanted) {
            self.pool().wait(self);
            return;
        }
        self.pool().tried(self);
    } else {
        self.got(result, flags);
        self.pool().tried(self);
    }
    if (last) {
        self.over();
        return;
    }
    if (self.queued_.size() >= self.ahead_ || self.stopping_)
        self.withdraw();
    if (self.reader_ != nullptr && !self.stopping_ && self.has_something())
        std::exchange(self.reader_, nullptr)->complete();
}

// The request has ended: who waits gets something, or another request, or is stopped.
void receiver_state::over() noexcept {
    step_ = step::idle;
    if (retired_) {
        if (!retrying_)
            delete this;
        return;
    }
    if (reader_ == nullptr)
        return;
    bool stop = std::exchange(stopping_, false);
    if (has_something()) {
        std::exchange(reader_, nullptr)
            ->complete(); // also one that is to be stopped: it came first
    } else if (stop) {
        std::exchange(reader_, nullptr)->stopped();
    } else {
        try {
            // Not the kernel's choice when it has just had none: wait for data first.
            if (in_vain_ != 0)
                poll();
            else
                start();
        } catch (...) {
            end_with(-ENOMEM);
            std::exchange(reader_, nullptr)->complete();
        }
    }
}

void receiver_state::stop_waiting() noexcept {
    if (in_line) {
        pool().leave(*this);
        step_ = step::idle;
        std::exchange(reader_, nullptr)->stopped();
        return;
    }
    stopping_ = true;
    withdraw();
}

void receiver_state::retire() noexcept {
    WEFT_ASSERT(reader_ == nullptr, "a receiver was destroyed while a task receives from it");
    retired_ = true;
    queued_.clear();
    if (step_ != step::idle)
        withdraw();
    else if (!retrying_)
        delete this;
}

void receiver_state::withdraw() noexcept {
    if (!withdrawn_)
        withdrawn_ = on_->try_cancel(*this);
    if (!withdrawn_ && !retrying_) { // the queue of submissions has no room: once more when it has
        retrying_ = true;
        on_->push_when_room(retry_);
    }
}

void receiver_state::retry(work& w) noexcept {
    receiver_state& self = static_cast<message&>(w).to;
    self.retrying_ = false;
    if (self.step_ != step::idle)
        self.withdraw();
    else if (self.retired_)
        delete &self;
}

// -------------------------------------------------------------------------------------------------

const operation_type receiver_op::kind{cancel_wait, "receive"};

bool receiver_op::await_ready() noexcept { return state_->has_something(); }

void receiver_op::start() {
    try {
        state_->wait(*this, io_loop());
    } catch (...) {
        owner().leaf = nullptr;
        throw;
    }
}

void receiver_op::cancel_wait(operation& op) noexcept {
    static_cast<receiver_op&>(op).state_->stop_waiting();
}

lent_buffer receiver_op::await_resume() { return state_->take(); }

} // namespace weft::detail

namespace weft {

receiver::receiver(stream_socket& from, const receiver_options& options)
    : state_(new detail::receiver_state(from.fd(), options.ahead)) {}

receiver::~receiver() { state_->retire(); }

} // namespace weft
