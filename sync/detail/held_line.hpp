// SPDX-License-Identifier: MIT
// What a mutex and a recursive mutex are made of: a turnstile with one permit, and a note of who
// passed it, how often.
//
//     class door {
//     public:
//         static constexpr const char* name = "door";
//         using lock_op = weft::detail::lock_op<door>;
//         lock_op lock() noexcept { return lock_op(*this); }
//         weft::detail::held_line line_{weft::detail::relock::waits};
//     };
//
// The note is written by who has the lock, and taken away before it is given back. So who finds its
// own number there has the lock, unless somebody else gave it back: that is seen for certain only
// after a look at the line. Between being given the lock and going on, who has it isn't noted.
//
// Threads:      all members, from any thread, but for `taken`, `depth` and `restore`: who has the
//               lock.
// Cancellation: see wait_list.
// Errors:       as said at each member.
// Cost:         that of a turnstile, and of current_identity().
// Source:       none.
#pragma once
#include <weft/runtime/detail/identity.hpp>
#include <weft/sync/detail/lock_watch.hpp>
#include <weft/sync/detail/turnstile.hpp>
#include <weft/sync/stats.hpp>

namespace weft::detail {

/// What becomes of who locks what it has locked already.
enum class relock : std::uint8_t {
    waits,  // and for ever, which is an error
    passes, // and has to unlock it as often
};

class held_line {
public:
    explicit held_line(relock again) noexcept : again_(again) {}
    held_line(const held_line&) = delete;
    held_line& operator=(const held_line&) = delete;

    /// Takes the lock if it is free, or if it may be passed again.
    bool try_pass() noexcept {
        return (again_ == relock::passes && noted_here()) || line_.try_pass(1);
    }
    [[nodiscard]] bool try_lock() noexcept {
        bool passed = try_pass();
        if (passed)
            taken();
        return passed;
    }
    /// After each way of getting the lock: notes that the caller has it, once more.
    void taken() noexcept {
        identity me = current_identity();
        if (holder_.load(std::memory_order_relaxed) == me) {
            depth_.store(depth() + 1, std::memory_order_relaxed);
        } else {
            depth_.store(1, std::memory_order_relaxed);
            holder_.store(me, std::memory_order_relaxed); // read by others as a hint only
        }
    }
    /// Gives the lock to the first who waits, or frees it. False: it wasn't locked.
    bool release() noexcept {
        holder_.store(0, std::memory_order_relaxed);
        return line_.release(1, 1);
    }
    void unlock() {
        if (again_ == relock::passes) {
            if (!noted_here()) [[unlikely]]
                throw_not_locked_here();
            release_level();
        } else if (!release()) [[unlikely]] {
            throw_not_locked();
        }
    }
    /// For a guard, which may have come to somebody else.
    void give_back() noexcept {
        bool was_locked = again_ == relock::passes ? release_level() : release();
        WEFT_ASSERT(was_locked, "a lock was unlocked while a guard held it");
    }

    // For who gives it back while waiting for something, and gets it again.
    [[nodiscard]] std::uint32_t depth() const noexcept {
        return depth_.load(std::memory_order_relaxed);
    }
    void restore(identity holder, std::uint32_t depth) noexcept {
        depth_.store(depth, std::memory_order_relaxed);
        holder_.store(holder, std::memory_order_relaxed);
    }

    bool enter(waiter& w) noexcept { return line_.enter(w, 1); }
    void note_passed() const noexcept { line_.note_passed(); }
    bool leave(waiter& w) noexcept { return line_.leave(w); }
    [[nodiscard]] bool stands(const waiter& w) const noexcept { return line_.stands(w); }

    /// Whether the note says that the caller has it.
    [[nodiscard]] bool noted_here() const noexcept { return holder() == current_identity(); }
    /// Whether the caller has it for certain.
    [[nodiscard]] bool held_here() const noexcept {
        // The second look sees it if somebody else gave the lock back.
        return noted_here() && line_.settled_permits() == 0 && noted_here();
    }

    // Snapshots.
    [[nodiscard]] identity holder() const noexcept {
        return holder_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool locked() const noexcept { return line_.permits() == 0; }
    [[nodiscard]] bool has_waiters() const noexcept { return line_.has_waiters(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return line_.waiting(); }
    [[nodiscard]] primitive_stats stats(const char* kind) const noexcept {
        bool is_free = !locked();
        return {kind, holder(), is_free ? 0 : depth(), is_free ? 1u : 0u, waiting()};
    }

private:
    bool release_level() noexcept {
        std::uint32_t levels = depth();
        if (levels == 0)
            return false;
        depth_.store(levels - 1, std::memory_order_relaxed);
        return levels != 1 || release();
    }
    [[noreturn]] static void throw_not_locked();
    [[noreturn]] static void throw_not_locked_here();

    turnstile<> line_{1};
    relock again_;
    std::atomic<std::uint32_t> depth_{0}; // belongs to the holder; others only look
    std::atomic<identity> holder_{0};
};

/// Throws std::system_error, resource_deadlock_would_occur: who has the lock waits for it.
[[noreturn]] void throw_self_deadlock(const char* what, const std::source_location& where);

/// Waits at the line of a lock, its member `line_`.
template <class Lock>
class [[nodiscard]] lock_op : public line_op<lock_op<Lock>> {
public:
    static constexpr const char* name = Lock::name;
    static constexpr bool selectable = true;

    explicit lock_op(Lock& l, const operation_type& t = line_kind<lock_op>) noexcept
        : line_op<lock_op>(t), at_(&l) {}
    lock_op(lock_op&&) = default;
    ~lock_op() { unwatch(); }

    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (at_->line_.held_here()) [[unlikely]]
            throw_self_deadlock(name, where);
        if (lock_watch_on()) [[unlikely]]
            watched_ = watch_wait(at_->line_, name, where);
        return line_op<lock_op>::await_suspend(h, where);
    }

    bool pass_now() noexcept { return at_->line_.try_pass(); }
    bool line_up() noexcept { return at_->line_.enter(*this); }
    bool leave() noexcept { return at_->line_.leave(*this); }
    void await_resume() noexcept { result(true); }
    bool result(bool passed) noexcept {
        unwatch();
        if (passed) {
            if (this->has_begun())
                at_->line_.note_passed();
            at_->line_.taken();
        }
        return passed;
    }

protected:
    Lock* at_;

private:
    void unwatch() noexcept {
        if (watched_ != 0) [[unlikely]]
            unwatch_wait(std::exchange(watched_, 0));
    }
    identity watched_ = 0; // who is noted to wait
};

/// The same with a guard as its result; an empty one if a deadline came before.
template <class Lock>
class [[nodiscard]] scoped_lock_op : public lock_op<Lock> {
public:
    explicit scoped_lock_op(Lock& l, const operation_type& t = line_kind<scoped_lock_op>) noexcept
        : lock_op<Lock>(l, t) {}

    guard<Lock> await_resume() noexcept { return result(true); }
    [[nodiscard]] guard<Lock> result(bool passed) noexcept {
        return lock_op<Lock>::result(passed) ? guard<Lock>(*this->at_) : guard<Lock>();
    }
};

} // namespace weft::detail
