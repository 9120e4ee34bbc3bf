// SPDX-License-Identifier: MIT
// What a mutex and a recursive mutex between processes are made of: a lock_word, and a note of
// which task of the holder's process has it, how often.
//
//     class door {
//     public:
//         bool try_lock() { return held_.try_lock(); }
//         weft::ipc::detail::held_word held_{weft::ipc::detail::relock::waits};
//     };
//
// Threads:      all members, from any thread and process, but for `depth`, `restore`: who has it.
// Cancellation: see lock_attempt.
// Errors:       as said at each member.
// Cost:         that of a lock_word and of current_identity(); a try that fails looks whether the
//               holder is dead.
// Source:       none.
#pragma once
#include <weft/ipc/detail/lock_word.hpp>
#include <weft/ipc/detail/process_mark.hpp>
#include <weft/ipc/detail/shared_wait.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/identity.hpp>

#include <bit>
#include <cstddef>
#include <type_traits>

namespace weft::ipc::detail {

/// What becomes of who locks what it has locked already.
enum class relock : std::uint8_t { waits, passes };

class held_word {
public:
    held_word(const held_word&) = delete;
    held_word& operator=(const held_word&) = delete;
    explicit held_word(relock again) noexcept : again_(again) {}

    /// At once, or not. Finds a holder that is dead.
    [[nodiscard]] taking try_take() noexcept {
        taking t = pass_now();
        return t == taking::not_free ? take_after_all() : t;
    }
    /// The same without a look at the holder.
    [[nodiscard]] taking pass_now() noexcept {
        if (again_ == relock::passes && noted_here()) {
            depth_.store(depth() + 1, std::memory_order_relaxed);
            return taking::taken;
        }
        taking t = state_.try_take(this_process(), false);
        if (t == taking::taken)
            restore(1);
        return t;
    }

    /// Throws state_error if it isn't locked, or not by the caller who would have to be.
    void unlock();
    /// False: it isn't locked.
    [[nodiscard]] bool give_back() noexcept;
    /// For a guard.
    void give_back_guarded() noexcept {
        bool was_locked = give_back() || is_lost(); // by a wait of a condition
        WEFT_ASSERT(was_locked, "a lock was unlocked while a guard held it");
    }
    /// All levels at once. Precondition: the caller has it.
    void release() noexcept;
    /// Throws state_error unless the caller has it.
    void mark_consistent();

    /// Whether the caller has it.
    [[nodiscard]] bool noted_here() const noexcept {
        return word::mark_in(state_.state()) == this_process() &&
               who_.load(std::memory_order_relaxed) == weft::detail::current_identity();
    }
    [[nodiscard]] bool locked() const noexcept {
        return word::holder_in(state_.state()) != 0 &&
               word::holder_in(state_.state()) != word::reserved;
    }
    [[nodiscard]] std::uint32_t depth() const noexcept {
        return depth_.load(std::memory_order_relaxed);
    }
    /// The caller has it, so often.
    void restore(std::uint32_t depth) noexcept {
        depth_.store(depth, std::memory_order_relaxed);
        who_.store(weft::detail::current_identity(), std::memory_order_relaxed);
    }
    void restore(std::uint32_t depth, weft::detail::identity who) noexcept {
        depth_.store(depth, std::memory_order_relaxed);
        who_.store(who, std::memory_order_relaxed);
    }
    [[nodiscard]] bool is_lost() const noexcept {
        return word::holder_in(state_.state()) == word::lost;
    }
    /// How many sleep before it.
    [[nodiscard]] std::size_t waiting() const noexcept;

private:
    friend class lock_attempt;
    using word = lock_word<>;

    taking take_after_all() noexcept;
    taking take_from_the_dead() noexcept;
    [[nodiscard]] const weft::detail::futex_word& futex() const noexcept {
        // The kernel compares 32 bits: the lower half.
        const auto* half = reinterpret_cast<const weft::detail::futex_word*>(&state_);
        return half[std::endian::native == std::endian::little ? 0 : 1];
    }

    word state_;
    std::atomic<weft::detail::identity> who_{0}; // of the holder's process: see identity.hpp
    std::atomic<std::uint32_t> depth_{0};
    relock again_;
};

/// One who wants the lock, over all its tries.
class lock_attempt {
public:
    /// For shared_wait::advance(). True: see `how`; the lock isn't noted to be the caller's yet.
    bool advance(held_word& l, sleeping_place& at, bool slept, bool woken,
                 bool suspicious) noexcept;
    /// For shared_wait::may_pass().
    [[nodiscard]] static bool may_pass(const held_word& l) noexcept {
        return held_word::word::free_for(l.state_.state(), false);
    }
    /// For shared_wait::must_look().
    [[nodiscard]] static bool must_look(held_word& l, std::uint32_t armed_value) noexcept;
    /// It doesn't want it any more.
    void leave(held_word& l, bool used_wake_up) noexcept;

    taking how = taking::not_free;

private:
    bool overtaken_ = false;
};

/// Throws what a lock says that wasn't simply taken. `give_back` unlocks it.
void check_taken(taking how, void* lock, void (*give_back)(void*) noexcept);
[[noreturn]] void throw_lock_is_own(const char* what, const std::source_location& where);

/// Waits for a lock.
class lock_wait : public shared_wait {
public:
    template <weft::detail::weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (at_->noted_here() && time_limit().endless()) [[unlikely]]
            throw_lock_is_own("ipc::mutex", where);
        return shared_wait::await_suspend(h, where);
    }
    [[nodiscard]] bool await_ready() noexcept {
        tried_.how = time_limit().only_try() ? at_->try_take() : at_->pass_now();
        noted_ = tried_.how == taking::taken;
        return time_limit().only_try() || tried_.how == taking::taken || tried_.how == taking::lost;
    }

protected:
    lock_wait(held_word& l, const weft::detail::operation_type& t, limit time) noexcept
        : shared_wait(t, time, first_try::takes), at_(&l) {}
    lock_wait(lock_wait&&) = default;
    ~lock_wait() = default;

    /// Whether it has the lock; throws owner_dead and not_recoverable.
    bool result(void* lock, void (*give_back)(void*) noexcept) {
        if (tried_.how == taking::not_free)
            return false;
        if (!noted_ && tried_.how != taking::lost)
            at_->restore(1);
        if (tried_.how != taking::taken) [[unlikely]]
            check_taken(tried_.how, lock, give_back);
        return true;
    }

private:
    bool advance(sleeping_place& at) noexcept final;
    bool may_pass() noexcept final { return lock_attempt::may_pass(*at_); }
    bool must_look() noexcept final;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;

    held_word* at_;
    lock_attempt tried_;
    bool noted_ = false;
};

template <class Lock>
bool try_lock(Lock& l) {
    taking how = l.held_.try_take();
    if (how == taking::taken_from_the_dead || how == taking::lost) [[unlikely]] {
        if (how == taking::taken_from_the_dead)
            l.held_.restore(1);
        check_taken(how, &l, [](void* p) noexcept { static_cast<Lock*>(p)->give_back(); });
    }
    return how == taking::taken;
}

/// What the operations of a lock give: nothing; whether it has it; a guard, which is empty if it
/// hasn't.
template <class Lock, class Result>
class [[nodiscard]] lock_op final : public lock_wait {
public:
    lock_op(Lock& l, limit time = limit::at(never)) noexcept
        : lock_wait(l.held_, kind, time), lock_(&l) {}
    lock_op(lock_op&&) = default;

    Result await_resume() {
        bool has = result(lock_, [](void* l) noexcept { static_cast<Lock*>(l)->give_back(); });
        if constexpr (std::is_same_v<Result, bool>)
            return has;
        else if constexpr (!std::is_void_v<Result>)
            return has ? Result(*lock_) : Result();
    }

private:
    static constexpr weft::detail::operation_type kind{shared_wait::cancel_wait, Lock::name};
    Lock* lock_;
};

} // namespace weft::ipc::detail
