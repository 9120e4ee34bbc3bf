// SPDX-License-Identifier: MIT
// Permits that tasks wait for, first come, first served: whose turn it is to send, or that there is
// something to take.
//
// The primitives of sync/ do the same and more, but stand beside this module, not below it.
//
// Threads:      any. Cancellation: who is stopped while waiting leaves no trace; who has been given
//               a permit goes on with it.
// Errors:       none. Cost: a lock and no allocation. Source: none.
#pragma once
#include <weft/runtime/detail/wait_list.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

namespace weft::ipc::detail {

class take_permit_op;

class permits {
public:
    explicit permits(std::size_t n) noexcept : left_(n) {}
    permits(const permits&) = delete;
    permits& operator=(const permits&) = delete;

    [[nodiscard]] bool try_take() noexcept {
        std::scoped_lock held(lock_);
        return left_ != 0 && left_-- != 0;
    }
    [[nodiscard]] take_permit_op take() noexcept;
    /// Lets the first who waits go on, or the next who comes.
    void give() noexcept;
    /// Lets everybody go on who waits.
    void give_all() noexcept;

private:
    friend class take_permit_op;
    bool enter(weft::detail::waiter& w) noexcept;
    bool leave(weft::detail::waiter& w) noexcept;

    std::mutex lock_;
    std::size_t left_;
    weft::detail::wait_list line_;
};

/// Gives a permit back.
class permit {
public:
    explicit permit(permits& of) noexcept : of_(&of) {}
    permit(permit&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    permit& operator=(permit&&) = delete;
    ~permit() {
        if (of_ != nullptr)
            of_->give();
    }
    /// It is used up.
    void keep() noexcept { of_ = nullptr; }

private:
    permits* of_;
};

class [[nodiscard]] take_permit_op : public weft::detail::line_op<take_permit_op> {
public:
    static constexpr const char* name = "turn";
    explicit take_permit_op(permits& of) noexcept
        : line_op(weft::detail::line_kind<take_permit_op>), of_(&of) {}
    bool pass_now() noexcept { return of_->try_take(); }
    bool line_up() noexcept { return of_->enter(*this); }
    bool leave() noexcept { return of_->leave(*this); }
    permit await_resume() const noexcept { return permit(*of_); }

private:
    permits* of_;
};

inline take_permit_op permits::take() noexcept { return take_permit_op(*this); }

} // namespace weft::ipc::detail
