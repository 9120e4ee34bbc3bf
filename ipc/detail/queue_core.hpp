// SPDX-License-Identifier: MIT
// What a queue between processes is apart from the type of its items: memory that they share, with
// a ring of records in it and the bells at which they sleep; and the operations, which wait for
// room, or for an item.
//
//     std::size_t waiting(const weft::ipc::detail::queue_core& q) { return q.size(); }
//
// Threads:      all of queue_core, from any thread and process; in a lane, one at each end.
// Cancellation: who is stopped has put nothing, and got nothing: a wake-up that it was given goes
//               to the next one. Who has begun to get an item in parts goes on with that.
// Errors:       as said at ipc/queue.hpp.
// Cost:         that of record_ring; two loads for the bells. No allocation, but for items in
//               parts, and for those that aren't decoded where they lie.
// Source:       see record_ring.hpp, doorbell.hpp and shared_wait.hpp.
#pragma once
#include <weft/ipc/archive.hpp>
#include <weft/ipc/detail/doorbell.hpp>
#include <weft/ipc/detail/lookout.hpp>
#include <weft/ipc/detail/process_mark.hpp>
#include <weft/ipc/detail/record_ring.hpp>
#include <weft/ipc/detail/shared_wait.hpp>
#include <weft/ipc/shared_memory.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <span>

namespace weft::ipc {

struct queue_options {
    /// Memory for the items that wait, rounded up to a power of two. A larger item goes through it
    /// in parts.
    std::size_t bytes = std::size_t{1} << 20;
    /// One puts at a time, and one gets: that is faster. It must be so.
    bool one_to_one = false;
};

namespace detail {

/// What is in the first page of the memory.
struct queue_page { // NOLINT(clang-analyzer-optin.performance.Padding)
    std::uint64_t magic;
    std::uint64_t type; // of the items
    std::uint32_t granules;
    std::uint32_t capacity;
    std::uint32_t lane;
    ring_control<> ring;
    // Read for each item, and written only by those who go to sleep.
    alignas(64) doorbell<> items; // there are some
    doorbell<> room;
    doorbell<> all_done;
    doorbell<> back_free; // nobody is at work there, or engaged
    doorbell<> front_free;
};

/// Somebody who puts an item, over all its tries.
struct put_attempt {
    std::span<const std::span<const std::byte>> pieces;
    std::size_t size = 0; // of all of them
    std::size_t done = 0; // of an item in parts

    explicit put_attempt(std::span<const std::span<const std::byte>> all = {}) noexcept
        : pieces(all) {
        for (std::span<const std::byte> p : all)
            size += p.size();
    }
    [[nodiscard]] bool began() const noexcept { return done != 0; }
};

/// Somebody who gets one.
class item_taker {
public:
    /// Gets all of an item, which lies there as long as the call lasts. What it throws leaves the
    /// item in the queue, if that wasn't in parts.
    virtual void take(std::span<const std::byte> item) = 0;

    bool began = false; // has got some parts, but not all
    bool may_wait = true;
    byte_buffer parts;

protected:
    item_taker() = default;
    item_taker(item_taker&&) = default;
    ~item_taker() = default;
};

class queue_core {
public:
    /// Makes one, in memory of its own.
    queue_core(std::size_t capacity, const queue_options& options, std::uint64_t type)
        : queue_core(make(capacity, options, type), type) {}
    /// The one that is there.
    queue_core(shared_memory m, std::uint64_t type);
    queue_core(const queue_core&) = delete;
    queue_core& operator=(const queue_core&) = delete;

    /// One try, with some patience for who is at work there. In parts, as many as find room.
    ring_outcome put(put_attempt& a) noexcept;
    /// Whether a try would find no room now.
    [[nodiscard]] bool has_no_room_for(const put_attempt& a) const noexcept;
    /// The short way for an item that is small: once, without patience.
    template <std::size_t Size>
    ring_outcome put_small(const void* item) noexcept {
        ring_outcome how = ring_.put(this_process(), record_kind::whole, Size,
                                     [item](std::byte* to) { std::memcpy(to, item, Size); });
        if (how == ring_outcome::done)
            ring_after_put();
        return how;
    }
    /// Gives it to `receive(const std::byte*)`. `refused`: it is another one.
    template <std::size_t Size, class Receive>
    ring_outcome get_small(Receive receive) noexcept {
        const bool waited = ring_.knows_of_none() && for_items.gather();
        ring_outcome how =
            ring_.get(this_process(), false,
                      [&receive](record_kind kind, const std::byte* from, std::uint32_t size) {
                          if (kind != record_kind::whole || size != Size)
                              return false;
                          receive(from);
                          return true;
                      });
        if (waited)
            for_items.note_gathered(how == ring_outcome::done ? ring_.known_items() + 1 : 0);
        ring_after_get();
        return how;
    }
    /// As record_ring's.
    template <class Receive>
    void get_more(std::uint32_t most, Receive receive) noexcept {
        if (ring_.get_more(this_process(), most, receive) != 0)
            ring_after_get();
    }
    /// Once, and not in parts. False: there is no room.
    [[nodiscard]] bool try_put(std::span<const std::span<const std::byte>> pieces);
    ring_outcome get(item_taker& t);
    /// The item in parts isn't put on.
    void break_off(put_attempt& a) noexcept;
    /// Who was woken to get an item has done so, or doesn't want one.
    void pass_on_item() noexcept;

    void note_done();
    [[nodiscard]] std::uint32_t unfinished() const noexcept { return ring_.unfinished(); }
    void shut_down(bool immediate) noexcept;
    [[nodiscard]] bool is_shut_down() const noexcept { return ring_.closed() != 0; }

    /// This process has no more to do with it.
    void close() noexcept;
    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_relaxed);
    }
    /// Throws state_error if it is closed.
    void check_open() const {
        if (is_closed()) [[unlikely]]
            refuse_closed();
    }

    /// Looks whether somebody died who holds something. Gives whether that was so.
    bool bury_the_dead() noexcept;

    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] std::size_t capacity() const noexcept { return ring_.capacity(); }
    [[nodiscard]] const record_ring<>& ring() const noexcept { return ring_; }
    [[nodiscard]] queue_page& page() noexcept { return *page_; }
    [[nodiscard]] const shared_memory& memory() const noexcept { return memory_; }

    /// Whether it is worth looking out. Guesses of this process alone.
    lookout for_items, for_room;

    /// Whether as many were put, or got, in a row that others have their turn.
    [[nodiscard]] bool put_turn_is_over() noexcept { return turn_is_over(puts_); }
    [[nodiscard]] bool get_turn_is_over() noexcept { return turn_is_over(gets_); }
    /// The same, which doesn't count.
    [[nodiscard]] bool put_turn_ends() const noexcept { return turn_ends(puts_); }
    [[nodiscard]] bool get_turn_ends() const noexcept { return turn_ends(gets_); }

private:
    static constexpr std::uint32_t turn = 256;

    [[noreturn]] static void refuse_closed();
    static bool turn_ends(const std::atomic<std::uint32_t>& n) noexcept {
        return n.load(std::memory_order_relaxed) % turn == turn - 1;
    }
    static bool turn_is_over(std::atomic<std::uint32_t>& n) noexcept {
        const bool over = turn_ends(n);
        // Lost counts don't matter.
        n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return over;
    }
    void ring_after_put() noexcept {
        if (page_->items.may_be_asleep()) [[unlikely]]
            ring_for_item();
        // Who stores that the lock is free doesn't see for certain that somebody has begun to sleep
        // for that; such a one looks again by itself.
        if (page_->back_free.may_be_asleep()) [[unlikely]]
            ring_all(page_->back_free);
    }
    void ring_after_get() noexcept {
        if (page_->room.may_be_asleep()) [[unlikely]]
            ring_all(page_->room);
        if (page_->front_free.may_be_asleep()) [[unlikely]] // as above
            ring_all(page_->front_free);
    }
    void ring_for_item() noexcept;
    static void ring_all(doorbell<>& bell) noexcept;
    template <class Try>
    ring_outcome patiently(Try once);
    void ring_everybody() noexcept;

    class mirror {
    public:
        mirror(int fd, std::size_t offset, std::size_t size);
        mirror(const mirror&) = delete;
        mirror& operator=(const mirror&) = delete;
        ~mirror();
        [[nodiscard]] std::byte* begin() const noexcept { return begin_; }

    private:
        explicit mirror(std::size_t size) noexcept : size_(size) {}
        std::byte* begin_ = nullptr;
        std::size_t size_;
    };
    /// What was found there, or put there, and is used from then on.
    struct shape {
        std::uint32_t granules;
        std::uint32_t capacity;
        bool lane;
    };
    queue_core(shared_memory& m, const shape& s); // takes it
    static shared_memory make(std::size_t capacity, const queue_options& options,
                              std::uint64_t type);
    static shape check(const shared_memory& m, std::uint64_t type);

    shared_memory memory_;
    queue_page* page_;
    mirror records_;
    record_ring<> ring_;
    std::atomic<bool> closed_{false};
    std::atomic<std::uint32_t> puts_{0};
    std::atomic<std::uint32_t> gets_{0};
};

/// Puts an item; its pieces are known when it begins.
class queue_put_op : public shared_wait {
protected:
    queue_put_op(queue_core& q, limit l) noexcept;
    queue_put_op(queue_put_op&&) = default;
    ~queue_put_op() = default;

    /// Whether it needn't wait.
    bool pass_now(std::span<const std::span<const std::byte>> pieces);
    /// The same, for an item that is small. False: pass_now().
    template <std::size_t Size>
    bool pass_small(const void* item) noexcept {
        if (to_->is_closed() || to_->put_turn_ends() ||
            to_->put_small<Size>(item) != ring_outcome::done)
            return false;
        static_cast<void>(to_->put_turn_is_over());
        how_ = ring_outcome::done;
        return true;
    }
    /// What it throws is how it ended.
    void check_end() const;

private:
    bool advance(sleeping_place& at) noexcept final;
    bool must_look() noexcept final;
    lookout& habit() noexcept final { return to_->for_room; }
    bool others_first() noexcept final { return turn_over_; }
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;

    queue_core* to_;
    put_attempt attempt_;
    ring_outcome how_ = ring_outcome::full;
    bool turn_over_ = false;
};

class queue_get_op : public shared_wait, protected item_taker {
protected:
    queue_get_op(queue_core& q, limit l) noexcept;
    queue_get_op(queue_get_op&&) = default;
    ~queue_get_op() = default;

    bool pass_now();
    /// The same, for an item that is small. False: see whether it is to wait, or for pass_now().
    template <std::size_t Size, class Receive>
    bool pass_small(Receive receive) noexcept {
        if (from_->is_closed() || from_->get_turn_ends())
            return false;
        how_ = from_->get_small<Size>(receive);
        if (how_ == ring_outcome::empty && !time_limit().only_try() && comes_soon())
            how_ = from_->get_small<Size>(receive);
        if (how_ != ring_outcome::done)
            return false;
        static_cast<void>(from_->get_turn_is_over());
        return true;
    }
    /// After pass_small(): it found nothing, and may wait.
    [[nodiscard]] bool waits() const noexcept { return looked_out_; }
    void check_end();
    [[nodiscard]] queue_core& from() const noexcept { return *from_; }
    /// What was got isn't an item: that is how it ends.
    void fail_with_current() noexcept { failure_ = std::current_exception(); }

private:
    bool advance(sleeping_place& at) noexcept final;
    bool must_look() noexcept final;
    lookout& habit() noexcept final { return from_->for_items; }
    bool others_first() noexcept final { return turn_over_; }
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;
    ring_outcome try_once() noexcept;
    bool comes_soon() noexcept;

    queue_core* from_;
    ring_outcome how_ = ring_outcome::empty;
    bool looked_out_ = false;
    bool turn_over_ = false;
    std::exception_ptr failure_; // of taking it
};

class [[nodiscard]] queue_join_op : public shared_wait {
public:
    queue_join_op(queue_core& q, limit l) noexcept;
    queue_join_op(queue_join_op&&) = default;

    [[nodiscard]] bool await_ready();
    /// Whether everything was done.
    bool await_resume() const;

private:
    bool advance(sleeping_place& at) noexcept final;
    bool must_look() noexcept final;
    leaving leave(bool by_deadline, bool used_wake_up) noexcept final;

    queue_core* at_;
};

[[noreturn]] void throw_negative_wait();
[[noreturn]] void throw_none_wanted();
/// What a try gave that is neither done nor to be repeated.
void check_outcome(ring_outcome how);

} // namespace detail
} // namespace weft::ipc
