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

bool ring_waits_for(const loop& l) noexcept {
    // Relaxed: a hint, and who comes too late is told by the kernel as well.
    return contains(l.options().features, ring_futexes) &&
           ring_knows_futexes.load(std::memory_order_relaxed);
}
} // namespace

int futex_wake(const futex_word& word, int n) noexcept {
    // The one error that there can be is that the word isn't mapped any more: nobody waits there.
    int woken = static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAKE, n, nullptr, nullptr, 0));
    woken = woken < 0 ? 0 : woken;
    if (loop* l = woken < n ? this_loop_or_null() : nullptr; l != nullptr && l->wake_kept(word))
        ++woken;
    return woken;
}

int futex_sleepers(const futex_word& word) noexcept {
    // To move them from the word to itself leaves them where they are, and counts them.
    int moved =
        static_cast<int>(::syscall(SYS_futex, &word, FUTEX_REQUEUE, 0, everybody, &word, 0));
    const loop* l = this_loop_or_null();
    return (moved < 0 ? 0 : moved) + (l != nullptr && l->keeps(word) ? 1 : 0);
}

void futex_operation::arm(const futex_word& w, std::uint32_t while_it_is) {
    waiter_.word = &w;
    waiter_.expected = while_it_is;
    disarmed_ = false;
    loop& l = io_loop();
    if (ring_waits_for(l) && l.keep(*this)) // a thread would mix up who came first
        where_ = place::kept;
    else
        hand_over();
}

void futex_operation::hand_over() {
    loop& l = io_loop();
    if (ring_waits_for(l)) {
        where_ = place::ring;
        l.submit(*this, {.opcode = opcode::futex_wait,
                         .fd = shared_word_of_32_bits,
                         .offset = armed_value(),
                         .address = address_of(&armed_word()),
                         .address3 = every_bit});
    } else {
        where_ = place::thread;
        waiter_.home = &l;
        waiter_.operation = this;
        start_futex_wait(waiter_);
        ++l.waits_elsewhere_;
    }
}

void futex_operation::hand_over_or_end() noexcept {
    std::int32_t r = -ENOMEM;
    try {
        hand_over();
        return;
    } catch (const std::system_error& e) { // no ring, no thread
        r = -e.code().value();
    } catch (...) {
    }
    end_(*this, r);
}

void futex_operation::disarm() noexcept {
    if (disarmed_)
        return;
    disarmed_ = true;
    switch (where_) {
    case place::ring:
        cancel();
        return;
    case place::kept:
        if (io_loop().drop_kept()) {
            end_(*this, 0);
            return;
        }
        break;
    case place::thread:
        if (!withdraw_futex_wait(waiter_))
            return;
        --io_loop().waits_elsewhere_;
        break;
    }
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
            op.hand_over_or_end();
            return;
        }
        r = -ECANCELED;
    }
    op.end_(op, r);
}

void futex_operation::told(work& w) noexcept {
    auto& waiter = static_cast<futex_waiter&>(w);
    --waiter.operation->io_loop().waits_elsewhere_;
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
