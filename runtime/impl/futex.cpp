// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/futex.hpp>

#include "futex_thread.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <cerrno>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

namespace weft::detail {

namespace {
// As futex_wait(2) of the ring wants it: FUTEX2_SIZE_U32, and for all processes.
constexpr std::int32_t shared_word_of_32_bits = 2;
constexpr std::uint64_t every_bit = 0xffffffff;
std::atomic<bool> ring_knows_futexes{true}; // until the kernel says otherwise
} // namespace

int futex_wake(const futex_word& word, int n) noexcept {
    // The one error that there can be is that the word isn't mapped any more: nobody waits there.
    long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, n, nullptr, nullptr, 0);
    return woken < 0 ? 0 : static_cast<int>(woken);
}

int futex_sleepers(const futex_word& word) noexcept {
    // To move them from the word to itself leaves them where they are, and counts them.
    long moved = ::syscall(SYS_futex, &word, FUTEX_REQUEUE, 0, everybody, &word, 0);
    return moved < 0 ? 0 : static_cast<int>(moved);
}

void futex_operation::arm(const futex_word& w, std::uint32_t while_it_is) {
    waiter_.word = &w;
    waiter_.expected = while_it_is;
    disarmed_ = false;
    loop& l = io_loop();
    // Relaxed: a hint, and who comes too late is told by the kernel as well.
    on_ring_ = contains(l.options().features, ring_futexes) &&
               ring_knows_futexes.load(std::memory_order_relaxed);
    if (on_ring_) {
        submit({.opcode = opcode::futex_wait,
                .fd = shared_word_of_32_bits,
                .offset = while_it_is,
                .address = address_of(&w),
                .address3 = every_bit});
    } else {
        waiter_.home = &l;
        waiter_.operation = this;
        start_futex_wait(waiter_);
    }
}

void futex_operation::disarm() noexcept {
    if (disarmed_)
        return;
    disarmed_ = true;
    if (on_ring_)
        cancel();
    else if (withdraw_futex_wait(waiter_))
        end_(*this, -ECANCELED);
}

void futex_operation::completed(completion_target& t, std::int32_t r,
                                std::uint32_t flags) noexcept {
    auto& op = static_cast<futex_operation&>(static_cast<io_operation&>(t));
    op.note(r, flags);
    if (interrupted(r))
        r = -EINTR;
    if (r == -EINVAL) { // the kernel doesn't know the operation: there is nothing else to refuse
        ring_knows_futexes.store(false, std::memory_order_relaxed);
        if (!op.disarmed_) {
            try {
                op.arm(op.armed_word(), op.armed_value());
                return;
            } catch (const std::system_error& e) { // no thread
                r = -e.code().value();
            } catch (...) {
                r = -ENOMEM;
            }
        } else {
            r = -ECANCELED;
        }
    }
    op.end_(op, r);
}

void futex_operation::told(work& w) noexcept {
    auto& waiter = static_cast<futex_waiter&>(w);
    waiter.operation->end_(*waiter.operation, waiter.outcome);
}

const operation_type futex_wait_op::kind{cancel_wait, "futex"};

void futex_wait_op::start() {
    try {
        arm(*at_, while_);
    } catch (...) { // the coroutine goes on with the exception
        owner().leaf = nullptr;
        throw;
    }
}

void futex_wait_op::ended(futex_operation& op, std::int32_t result) noexcept {
    auto& self = static_cast<futex_wait_op&>(op);
    if (self.stopping_) {
        if (result == 0)
            futex_wake(*self.at_, 1);
        self.stopped();
        return;
    }
    self.result_ = result;
    self.complete();
}

void futex_wait_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<futex_wait_op&>(op);
    self.stopping_ = true;
    self.disarm();
}

void futex_wait_op::check_end() const {
    switch (-result_) {
    case EAGAIN:    // the word was another
    case EINTR:     // a stopped process went on
    case ECANCELED: // the loop gives up what is left at its end
        return;
    default:
        throw_errno(-result_, "futex_wait");
    }
}

} // namespace weft::detail
