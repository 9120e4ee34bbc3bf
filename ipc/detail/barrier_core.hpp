// SPDX-License-Identifier: MIT
// What a barrier between processes is apart from its action.
//
//     weft::task<std::size_t> meet(weft::ipc::detail::barrier_core& b) {
//         co_return co_await weft::ipc::detail::arrive_op(b);
//     }
//
// All but what waiters sleep on is guarded by a lock that is held for a few instructions. Whoever
// finds its holder dead can't know how far that one came, and breaks the barrier. Each of those who
// wait looks now and then whether the one in the next place lives, so that the death of any of them
// is found if one is left.
//
// Threads:      all members, from any thread and process.
// Cancellation: who is stopped while waiting hasn't come.
// Errors:       as barrier's.
// Cost:         as barrier's. Source: none.
#pragma once
#include <weft/ipc/detail/lock_word.hpp>
#include <weft/ipc/detail/process_mark.hpp>
#include <weft/ipc/detail/shared_wait.hpp>

#include <cstddef>

namespace weft::ipc::detail {

class barrier_core {
public:
    static constexpr std::size_t most_parties = 64;

    barrier_core(std::ptrdiff_t parties, bool acts);
    barrier_core(const barrier_core&) = delete;
    barrier_core& operator=(const barrier_core&) = delete;

    void abort() noexcept;
    void reset() noexcept;
    /// By whom arriving made the last. False: it has been broken meanwhile.
    bool end_action(bool well) noexcept;

    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
    [[nodiscard]] std::size_t waiting() const noexcept {
        return acting_.load(guarded) == 0 ? came_.load(guarded) : 0;
    }
    [[nodiscard]] bool broken() const noexcept { return broken_.load(guarded) != 0; }

private:
    friend class arrive_op;
    static constexpr std::memory_order guarded = std::memory_order_relaxed; // by the lock
    using number = std::atomic<std::uint32_t>;

    class hold;
    void interrupt() noexcept;
    void next_cycle() noexcept;
    [[nodiscard]] bool is_place_dead(std::size_t after) const noexcept;

    lock_word<> lock_;
    weft::detail::futex_word turns_{0}; // changes when those who wait have something to see
    std::uint32_t parties_;
    std::uint32_t acts_;
    number came_{0};
    number broken_{0};
    number acting_{0};
    // A cycle is known by how many have ended well before it, and how many interruptions there
    // were.
    number ended_{0};
    number interruptions_{0};
    static constexpr std::uint32_t remembered = 8;
    number ended_before_[remembered] = {}; // the last interruptions
    std::atomic<process_mark> places_[most_parties] = {};
};

/// Gives the number of the caller.
class [[nodiscard]] arrive_op final : public shared_wait {
public:
    explicit arrive_op(barrier_core& b, limit time = limit::at(never)) noexcept
        : shared_wait(kind, time), at_(&b) {}
    arrive_op(arrive_op&&) = default;

    [[nodiscard]] bool await_ready() noexcept;
    std::size_t await_resume() {
        if (broken_)
            throw_broken();
        return place_;
    }
    /// Whether it was the last, and is to act.
    [[nodiscard]] bool acts() const noexcept { return acts_; }

private:
    enum class outcome : int { waits, goes, broken };

    bool advance(sleeping_place& at) noexcept override;
    bool must_look() noexcept override;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept override;
    outcome arrive() noexcept;
    [[nodiscard]] outcome look() const noexcept;
    bool ends_with(outcome o) noexcept;
    [[noreturn]] static void throw_broken();
    static const weft::detail::operation_type kind;

    barrier_core* at_;
    std::uint32_t place_ = 0;
    std::uint32_t ended_ = 0;
    std::uint32_t interruptions_ = 0;
    std::uint32_t turn_ = 0;
    bool came_ = false;
    bool acts_ = false;
    bool broken_ = false;
};

} // namespace weft::ipc::detail
