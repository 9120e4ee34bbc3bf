// SPDX-License-Identifier: MIT
#include "acceptor.hpp"

#include "ring.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/socket.hpp>

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>

namespace weft::detail {

namespace {
constexpr duration shortest_pause = std::chrono::milliseconds(5);
constexpr duration longest_pause = std::chrono::seconds(1);

enum class trouble { none, of_one_connection, shortage, of_the_listener };

trouble judge(std::int32_t result) noexcept {
    switch (-result) {
    case EMFILE:  // this process has no descriptor left
    case ENFILE:  // the system has none
    case ENOBUFS: // no memory for a socket
    case ENOMEM:
    case EPERM: // a firewall or a filter of system calls says no: it may say so for ever
        return trouble::shortage;
    case EINTR:
    case EAGAIN:
    case ECONNABORTED: // gone before we came to it. accept(2) has the rest: one connection failed
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ETIMEDOUT:
        return trouble::of_one_connection;
    default:
        return result < 0 ? trouble::of_the_listener : trouble::none;
    }
}
} // namespace

acceptor::acceptor(descriptor listening, unsigned ahead) noexcept
    : completion_target(completed), timer(backed_off), fd_(std::move(listening)),
      ahead_(std::max(ahead, 1u)) {}

acceptor::~acceptor() {
    while (!queued_.empty())
        ::close(queued_.pop());
}

int acceptor::take_queued() noexcept { return queued_.empty() ? -1 : queued_.pop(); }

void acceptor::wait(accept_base& op, loop& on) {
    if (on_ != nullptr && on_ != &on && (armed_ || first_ != nullptr))
        throw state_error("a listener was used on two loops at once");
    on_ = &on;
    if (!armed_ && !timer::active())
        arm();
    op.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &op;
    last_ = &op;
}

void acceptor::leave(accept_base& op) noexcept {
    (op.previous_ != nullptr ? op.previous_->next_ : first_) = op.next_;
    (op.next_ != nullptr ? op.next_->previous_ : last_) = op.previous_;
    // A pause is for those who wait; and a loop may end when nobody does.
    if (first_ == nullptr)
        on_->remove_timer(*this);
}

void acceptor::arm() {
    bool many = contains(on_->features(), kernel_feature::multishot_accept);
    on_->submit(*this, {.opcode = opcode::accept,
                        .ioprio = static_cast<std::uint16_t>(many ? IORING_ACCEPT_MULTISHOT : 0),
                        .fd = fd_.get(),
                        .operation_flags = SOCK_CLOEXEC});
    armed_.store(true, std::memory_order_relaxed); // only this thread clears it
    withdrawn_ = false;
}

void acceptor::withdraw() noexcept {
    if (!withdrawn_)
        withdrawn_ = on_->try_cancel(*this);
}

void acceptor::completed(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept {
    auto& self = static_cast<acceptor&>(t);
    bool over = (flags & IORING_CQE_F_MORE) == 0;
    if (result >= 0) {
        self.pause_ = duration::zero();
        self.serve(result);
    }
    if (!over) {
        if (self.queued_.size() >= self.ahead_)
            self.withdraw();
        return;
    }
    if (self.first_ == nullptr) {
        self.over(); // the next accept asks again
        return;
    }
    self.armed_.store(false, std::memory_order_relaxed);
    bool wanted = result >= 0 || result == -ECANCELED; // a pause that is no longer needed
    switch (wanted ? trouble::none : judge(result)) {
    case trouble::shortage:
        self.back_off();
        return;
    case trouble::of_the_listener:
        self.fail_all(result);
        return;
    case trouble::none:
    case trouble::of_one_connection:
        break;
    }
    try {
        self.arm();
    } catch (const std::exception&) { // no memory for the request
        self.back_off();
    }
}

// The final completion came, and nobody is in line.
void acceptor::over() noexcept {
    bool retired = retired_;
    bool retrying = retrying_;
    stop_accepting_op* stopper = std::exchange(stopper_, nullptr);
    armed_.store(false, std::memory_order_release); // pairs with the acquire in retire()
    if (stopper != nullptr)
        stopper->complete();
    else if (retired && !retrying)
        delete this;
}

void acceptor::serve(std::int32_t fd) noexcept {
    if (accept_base* op = first_) {
        leave(*op);
        op->result_ = fd;
        op->complete();
        return;
    }
    try {
        if (!retired_ && !closing_) {
            queued_.push(fd);
            return;
        }
    } catch (const std::bad_alloc&) { // the peer sees a connection that was closed at once
        static_cast<void>(fd);
    }
    ::close(fd);
}

void acceptor::fail_all(std::int32_t result) noexcept {
    while (accept_base* op = first_) {
        leave(*op);
        op->result_ = result;
        op->complete();
    }
}

void acceptor::back_off() noexcept {
    pause_ = std::clamp(pause_ * 2, shortest_pause, longest_pause);
    try {
        on_->add_timer(*this, saturated_sum(on_->now(), pause_));
    } catch (const std::bad_alloc&) { // not even memory for a timer: now those who wait must know
        fail_all(-ENOMEM);
    }
}

void acceptor::backed_off(timer& t) noexcept {
    auto& self = static_cast<acceptor&>(t);
    try {
        self.arm();
    } catch (const std::exception&) {
        self.back_off();
    }
}

void acceptor::stop_for(stop_accepting_op& op) noexcept {
    closing_ = true;
    fail_all(-ECANCELED);
    if (!armed_.load(std::memory_order_relaxed)) {
        op.complete();
        return;
    }
    stopper_ = &op;
    withdraw_surely();
}

void acceptor::retire() noexcept {
    WEFT_ASSERT(first_ == nullptr, "a listener was destroyed while a task accepts from it");
    // pairs with the release in over()
    if (armed_.load(std::memory_order_acquire) && this_loop_or_null() != on_)
        on_->post(retire_);
    else
        retire_here();
}

void acceptor::retire_from_elsewhere(work& w) noexcept {
    static_cast<message&>(w).to.retire_here();
}

void acceptor::retire_here() noexcept {
    retired_ = true;
    if (armed_.load(std::memory_order_relaxed))
        withdraw_surely();
    else if (!retrying_)
        delete this;
}

void acceptor::withdraw_surely() noexcept {
    withdraw();
    if (!withdrawn_ && !retrying_) { // the queue of submissions has no room: once more when it has
        retrying_ = true;
        on_->push_when_room(retry_);
    }
}

void acceptor::retry(work& w) noexcept {
    acceptor& self = static_cast<message&>(w).to;
    self.retrying_ = false;
    if (self.armed_.load(std::memory_order_relaxed))
        self.withdraw_surely();
    else if (self.retired_)
        delete &self;
}

// --- The operations ------------------------------------------------------------------------------

acceptor_handle::acceptor_handle(descriptor listening, unsigned ahead)
    : its_(new acceptor(std::move(listening), ahead)) {}

acceptor_handle::~acceptor_handle() {
    if (its_ != nullptr)
        its_->retire();
}

int acceptor_handle::fd() const noexcept { return its_ == nullptr ? -1 : its_->fd(); }

const operation_type accept_base::kind{cancel_accept, "accept"};

bool accept_base::await_ready() {
    if (from_ == nullptr)
        throw state_error("accept on a listener that was closed");
    result_ = from_->take_queued();
    return result_ >= 0;
}

void accept_base::start() {
    try {
        from_->wait(*this, io_loop());
    } catch (...) {
        owner().leaf = nullptr;
        throw;
    }
}

void accept_base::cancel_accept(operation& op) noexcept {
    auto& self = static_cast<accept_base&>(op);
    self.from_->leave(self);
    self.stopped();
}

descriptor accept_base::take() const {
    if (result_ == -ECANCELED)
        throw state_error("the listener was closed while a task accepted from it");
    if (result_ < 0)
        throw_errno(-result_, "accept on", local_address(from_->fd()).to_string());
    return descriptor(result_);
}

const operation_type stop_accepting_op::kind{[](operation&) noexcept {}, "close listener"};

bool stop_accepting_op::await_ready() noexcept { return held_.get() == nullptr; }

void stop_accepting_op::start() noexcept { held_.get()->stop_for(*this); }

} // namespace weft::detail
