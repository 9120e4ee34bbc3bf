// SPDX-License-Identifier: MIT
// The last few of a sequence of items that everybody may see: what broadcast and watch are made of.
// Items have numbers; who reads knows the number of the next one that it hasn't seen, so readers
// cost nothing while they don't wait. Whoever waits has seen everything, and is handed the next
// item by whoever publishes it.
//
// Threads:      all members, from any thread; a reader's number is for one task at a time.
// Cancellation: who is stopped leaves the line, and has seen nothing.
// Errors:       none but those of the items' memory, before anything changes.
// Cost:         one exchange; publishing is O(those who wait).
// Source:       the ring of numbered items follows tokio's broadcast channel.
#pragma once
#include <weft/sync/detail/queue_state.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace weft::detail {

[[noreturn]] void throw_no_capacity();

template <class T, class Atomics>
class next_op;

template <class T, class Atomics = std_atomics>
class publication {
public:
    using pointer = std::shared_ptr<const T>;
    using value_type = T;

    explicit publication(std::size_t kept) : ring_(std::make_unique<pointer[]>(kept)), kept_(kept) {
        if (kept == 0)
            throw_no_capacity();
    }
    ~publication() {
        short_hold held(lock_);
        WEFT_ASSERT(line_.empty(), "something was destroyed while somebody waited for its items");
    }
    publication(const publication&) = delete;
    publication& operator=(const publication&) = delete;

    [[nodiscard]] std::size_t kept() const noexcept { return kept_; }

    /// Gives the item to all who wait, and keeps it for the others. False: it is closed.
    bool publish(pointer item) noexcept;
    void close() noexcept;

    /// The first item from number `at` on that is kept; `at` becomes the one after it. `missed`
    /// tells how many came before it that are gone.
    queue_outcome look(std::uint64_t& at, pointer& item, std::uint64_t& missed) noexcept {
        short_hold held(lock_);
        return see(at, item, missed);
    }
    /// The same, but `waits` means that the operation stands in line, or is done with waiting by
    /// its choice: it isn't touched any more.
    queue_outcome enter(next_op<T, Atomics>& op) noexcept;
    bool leave(waiter& w) noexcept {
        short_hold held(lock_);
        return line_.remove_if_there(w);
    }

    // Snapshots.
    [[nodiscard]] pointer latest() const noexcept {
        short_hold held(lock_);
        return end_ == 0 ? pointer() : ring_[(end_ - 1) % kept_];
    }
    /// How many items there were.
    [[nodiscard]] std::uint64_t count() const noexcept {
        short_hold held(lock_);
        return end_;
    }
    [[nodiscard]] bool is_closed() const noexcept {
        short_hold held(lock_);
        return closed_;
    }
    [[nodiscard]] std::size_t waiting() const noexcept {
        short_hold held(lock_);
        return line_.size();
    }

private:
    queue_outcome see(std::uint64_t& at, pointer& item, std::uint64_t& missed) noexcept {
        if (at == end_)
            return closed_ ? queue_outcome::shut_down : queue_outcome::waits;
        std::uint64_t oldest = end_ > kept_ ? end_ - kept_ : 0;
        missed = at < oldest ? oldest - at : 0;
        at += missed;
        item = ring_[at % kept_];
        ++at;
        return queue_outcome::done;
    }

    mutable short_lock<Atomics> lock_;
    std::unique_ptr<pointer[]> ring_;
    std::size_t kept_;
    template <class X>
    using guarded = typename Atomics::template plain<X>; // by the lock
    guarded<std::uint64_t> end_{0};                      // the number of the next item
    guarded<wait_list> line_;                            // who has seen everything before it
    guarded<bool> closed_{false};
};

/// Waits for an item that its reader hasn't seen.
template <class T, class Atomics>
class [[nodiscard]] next_op : public line_op<next_op<T, Atomics>> {
public:
    static constexpr const char* name = "next item";
    static constexpr bool selectable = true;
    using core = publication<T, Atomics>;

    next_op(core& from, std::uint64_t& at, const operation_type& t = line_kind<next_op>) noexcept
        : line_op<next_op>(t), from_(&from), at_(&at) {}
    next_op(next_op&& other) noexcept
        : line_op<next_op>(std::move(other)), from_(other.from_), at_(other.at_) {}

    // A reader that always finds something must not keep others from running.
    [[nodiscard]] bool await_ready() noexcept { return !turn_is_over() && pass_now(); }
    bool pass_now() noexcept {
        outcome_ = from_->look(*at_, item_, missed_);
        return outcome_ != queue_outcome::waits;
    }
    bool line_up() noexcept {
        bool rests = turn_is_over();
        queue_outcome how = from_->enter(*this);
        if (how == queue_outcome::waits)
            return true;
        outcome_ = how;
        if (!rests)
            return false;
        this->complete_without_line();
        return true;
    }
    bool leave() noexcept { return from_->leave(*this); }

protected:
    ~next_op() = default;
    [[nodiscard]] queue_outcome how() const noexcept { return outcome_; }
    /// If it is done.
    typename core::pointer take() noexcept {
        // Whoever handed it over doesn't touch the reader's number.
        if (was_handed_)
            ++*at_;
        return std::move(item_);
    }
    [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

private:
    friend core;
    [[nodiscard]] bool turn_is_over() const noexcept { return *at_ % 256 == 255; }

    core* from_;
    std::uint64_t* at_;
    typename core::pointer item_;
    std::uint64_t missed_ = 0;
    queue_outcome outcome_ = queue_outcome::waits;
    bool was_handed_ = false;
};

// -------------------------------------------------------------------------------------------------

template <class T, class Atomics>
bool publication<T, Atomics>::publish(pointer item) noexcept {
    woken_list woken;
    pointer old; // destroyed without the lock
    {
        short_hold held(lock_);
        if (closed_)
            return false;
        while (waiter* w = line_.claim_first()) {
            auto& op = static_cast<next_op<T, Atomics>&>(*w);
            op.item_ = item;
            op.was_handed_ = true;
            op.outcome_ = queue_outcome::done;
            woken.take(line_, op);
        }
        old = std::exchange(ring_[end_ % kept_], std::move(item));
        end_ += 1;
    }
    woken.wake();
    return true;
}

template <class T, class Atomics>
void publication<T, Atomics>::close() noexcept {
    woken_list woken;
    {
        short_hold held(lock_);
        closed_ = true;
        while (waiter* w = line_.claim_first()) {
            static_cast<next_op<T, Atomics>&>(*w).outcome_ = queue_outcome::shut_down;
            woken.take(line_, *w);
        }
    }
    woken.wake();
}

template <class T, class Atomics>
queue_outcome publication<T, Atomics>::enter(next_op<T, Atomics>& op) noexcept {
    short_hold held(lock_);
    if (*op.at_ == end_ && !closed_) {
        line_.push(op);
        return queue_outcome::waits;
    }
    if (!op.claim())
        return queue_outcome::waits;
    return see(*op.at_, op.item_, op.missed_);
}

} // namespace weft::detail
