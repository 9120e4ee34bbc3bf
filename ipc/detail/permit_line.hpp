// SPDX-License-Identifier: MIT
// What the semaphores between processes are made of: a permit_word, and those who sleep on it.
//
//     bool let_in(weft::ipc::detail::permit_line& seats) { return seats.try_take(); }
//
// Threads:      all members, from any thread and process.
// Cancellation: who is stopped leaves no trace.
// Errors:       none.
// Cost:         that of a permit_word. Source: none.
#pragma once
#include <weft/ipc/detail/permit_word.hpp>
#include <weft/ipc/detail/shared_wait.hpp>
#include <weft/runtime/guard.hpp>

#include <cstddef>
#include <type_traits>

namespace weft::ipc::detail {

class permit_line {
public:
    static constexpr std::uint32_t most = permit_word<>::most;

    explicit permit_line(std::uint32_t permits) noexcept : word_(permits) {}
    permit_line(const permit_line&) = delete;
    permit_line& operator=(const permit_line&) = delete;

    [[nodiscard]] bool try_take() noexcept {
        return word_.try_take(false).taken || (word_.is_kept() && take_kept());
    }
    /// False: it would be more than `limit`.
    [[nodiscard]] bool release(std::uint32_t n, std::uint32_t limit) noexcept;
    [[nodiscard]] std::uint32_t permits() const noexcept { return word_.permits(); }
    [[nodiscard]] std::size_t waiting() const noexcept;

private:
    friend class permit_wait;
    bool take_kept() noexcept;
    [[nodiscard]] const weft::detail::futex_word& futex() const noexcept {
        return const_cast<permit_word<>&>(word_).atomic();
    }

    permit_word<> word_;
};

/// Waits for a permit.
class permit_wait : public shared_wait {
public:
    [[nodiscard]] bool await_ready() noexcept {
        has_ = at_->try_take();
        return has_ || time_limit().only_try();
    }

protected:
    permit_wait(permit_line& l, const weft::detail::operation_type& t, limit time) noexcept
        : shared_wait(t, time, first_try::takes), at_(&l) {}
    permit_wait(permit_wait&&) = default;
    ~permit_wait() = default;
    [[nodiscard]] bool has_permit() const noexcept { return has_; }

private:
    bool advance(sleeping_place& at) noexcept final;
    bool may_pass() noexcept final { return at_->word_.is_free(); }
    bool must_look() noexcept final;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;

    permit_line* at_;
    bool overtaken_ = false;
    bool has_ = false;
};

/// What acquiring gives: nothing; whether it has one; a guard, which is empty if it hasn't.
template <class Semaphore, class Result>
class [[nodiscard]] acquire_op final : public permit_wait {
public:
    acquire_op(Semaphore& s, limit time = limit::at(never)) noexcept
        : permit_wait(s.line_, kind, time), from_(&s) {}
    acquire_op(acquire_op&&) = default;

    Result await_resume() noexcept {
        if constexpr (std::is_same_v<Result, bool>)
            return has_permit();
        else if constexpr (!std::is_void_v<Result>)
            return has_permit() ? Result(*from_) : Result();
    }

private:
    static constexpr weft::detail::operation_type kind{shared_wait::cancel_wait, Semaphore::name};
    Semaphore* from_;
};

} // namespace weft::ipc::detail
