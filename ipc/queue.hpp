// SPDX-License-Identifier: MIT
// A queue between the tasks of several processes, first in, first out: in memory that they share.
//
//     struct order { std::uint32_t number; std::string text; };
//
//     weft::task<> work(weft::ipc::queue<order> orders) {
//         while (true) {
//             order next = co_await orders.get();
//             fmt::print("{}: {}\n", next.number, next.text);
//             orders.task_done();
//         }
//     }
//     weft::task<> hand_out() {
//         weft::ipc::queue<order> orders(100);
//         weft::ipc::process worker({.daemon = true}, weft::fn<&work>, orders);
//         co_await worker.start();
//         for (std::uint32_t i = 0; i != 1000; ++i) {
//             order next{i, "more of the same"};
//             co_await orders.put(std::move(next));       // waits while there are 100
//         }
//         co_await orders.join();
//     }
//
// Any number of processes put and get. What one task puts comes out in its order, and each item
// once. It is there for everybody when put() has returned: nothing is flushed later, and whoever
// ends, or is killed, leaves in the queue what it has put. The queue is gone with the last process
// that has it. Others get it as an argument when they are made (see passing.hpp), or by the
// descriptor of its memory; they are of the same program.
//
// Threads:      all members but the moves, from any thread; a task goes on on its own loop. With
//               one_to_one, one thread at a time puts, and one gets.
// Processes:    the death of one at any moment delays the others for a tenth of a second at most.
//               An item that it had got is gone with it; one that it was about to get is got by
//               another. An item larger than the memory goes through it in parts: of those, a death
//               loses the one that was being put or got. A process that is stopped (SIGSTOP) in the
//               middle of a copy holds the others up until it goes on.
// Cancellation: a stopped get has taken no item, a stopped put has added none. Who has begun to get
//               an item in parts gets all of it first, also past its deadline, unless who puts it
//               gives up.
// Errors:       as sync/queue.hpp: queue_shut_down, queue_empty, queue_full,
//               std::invalid_argument. codec_error from a put of what can't travel, which adds
//               nothing. state_error after close(). protocol_error for memory that holds no such
//               queue, or is damaged; its numbers are checked before they are used.
//               std::system_error and std::invalid_argument when it is made. std::bad_alloc from a
//               get leaves the item, if that wasn't in parts. A queue must not be destroyed while
//               somebody of the same process waits; close() it, and they end.
// Cost:         putting and getting: two exchanges each (with one_to_one, one) and a copy, some 25
//               ns for 64 bytes; get_some: two for all that it takes. A system call only if
//               somebody sleeps, or has to; of several items that come together, only the first
//               wakes somebody, who wakes the next. Who finds nothing looks out for a moment before
//               it sleeps, if that has been worth it lately. Numbers, structures of them, strings
//               and vectors of them are decoded where they lie; other items take an allocation.
// Source:       meaning after multiprocessing's Queue and JoinableQueue, and weft::queue; the ring
//               is in detail/record_ring.hpp.
#pragma once
#include <weft/ipc/codec.hpp>
#include <weft/ipc/detail/queue_core.hpp>
#include <weft/ipc/detail/type_name.hpp>
#include <weft/ipc/passing.hpp>
#include <weft/ipc/shared_memory.hpp>
#include <weft/runtime/queue_error.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace weft::ipc {

namespace detail {

template <class T>
class queue_get_of;
template <class T>
class queue_get_some_of;
template <class T>
class queue_put_of;
template <class T>
class queue_put_view_of;

/// Items that go in and out by the shortest way.
template <class T>
concept small_item = plain<T> && sizeof(T) <= 1024;

/// Strings and vectors whose elements are sent as they lie in memory.
template <class T>
concept block_of_values = contiguous_sequence<T> && plain<typename T::value_type> &&
                          requires { typename codec<T>::element; };

/// What is decoded where it lies, by codecs that read each byte once.
template <class T>
concept read_in_place = plain<T> || block_of_values<T>;

} // namespace detail

template <class T>
class queue {
public:
    using value_type = T;
    using put_op = detail::queue_put_of<T>;
    using get_op = detail::queue_get_of<T>;
    using get_some_op = detail::queue_get_some_of<T>;
    using join_op = detail::queue_join_op;

    /// Makes one. A capacity of 0: as many items as its memory holds.
    explicit queue(std::size_t capacity = 0, const queue_options& options = {})
        : core_(std::make_unique<detail::queue_core>(capacity, options, type_id())) {}
    /// The one that another process has made.
    explicit queue(shared_memory m)
        : core_(std::make_unique<detail::queue_core>(std::move(m), type_id())) {}

    /// Puts an item; waits while the queue is full.
    put_op put(T item) { return put_op(*core_, limit::at(never), std::move(item)); }
    /// Waits until `deadline` at most, then throws queue_full.
    put_op put_until(T item, time_point deadline) {
        return put_op(*core_, limit::at(deadline), std::move(item));
    }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    put_op put_for(T item, std::chrono::duration<Rep, Period> d) {
        return put_op(*core_, limit_of(d), std::move(item));
    }
    /// Puts an item if there is room.
    [[nodiscard]] bool try_put(const T& item);

    /// Puts a copy of what lies elsewhere, and must stay there until this has ended.
    template <class View>
        requires detail::block_of_values<T> &&
                 std::convertible_to<View, std::span<const typename T::value_type>> &&
                 (!std::convertible_to<View, T>)
    auto put(View view) {
        return detail::queue_put_view_of<T>(*core_, limit::at(never), view);
    }

    /// Takes the next item; waits while there is none.
    get_op get() noexcept { return get_op(*core_, limit::at(never)); }
    /// Waits until `deadline` at most, then throws queue_empty.
    get_op get_until(time_point deadline) noexcept { return get_op(*core_, limit::at(deadline)); }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    get_op get_for(std::chrono::duration<Rep, Period> d) {
        return get_op(*core_, limit_of(d));
    }
    /// Takes the next item, as get(), and those with it that are there, up to `most` in all: at
    /// once, and at less cost for each.
    get_some_op get_some(std::size_t most)
        requires detail::read_in_place<T>
    {
        if (most == 0)
            detail::throw_none_wanted();
        return get_some_op(*core_, limit::at(never), most);
    }
    /// Takes the next item if it is there, all of it.
    [[nodiscard]] std::optional<T> try_get();

    /// Says that an item that was got is done. Any process may.
    void task_done() { core_->note_done(); }
    /// Waits until every item that was put is done. Gives true.
    join_op join() noexcept { return join_op(*core_, limit::at(never)); }
    /// With a deadline. Gives whether everything was done.
    join_op join_until(time_point deadline) noexcept {
        return join_op(*core_, limit::at(deadline));
    }
    template <class Rep, class Period>
    join_op join_for(std::chrono::duration<Rep, Period> d) noexcept {
        return join_op(*core_, limit::in(d));
    }

    /// From now on nobody can put; who waits to put throws queue_shut_down, and so does who gets
    /// when nothing is left. `immediate` also throws away what is left, as if it had been got and
    /// done. With one_to_one only who puts should call it: an item that is being put meanwhile may
    /// be overlooked.
    void shutdown(bool immediate = false) noexcept { core_->shut_down(immediate); }
    [[nodiscard]] bool is_shutdown() const noexcept { return core_->is_shut_down(); }

    /// This process puts and gets no more: doing so is a state_error, also for who waits. Others go
    /// on.
    void close() noexcept { core_->close(); }
    [[nodiscard]] bool is_closed() const noexcept { return core_->is_closed(); }
    /// Throws state_error if it is.
    void check_open() const { core_->check_open(); }

    // Snapshots: others may change them before the caller looks at the answer.
    [[nodiscard]] std::size_t size() const noexcept { return core_->size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    /// Whether it holds as many items as it may. One that is bounded by its memory alone never is.
    [[nodiscard]] bool full() const noexcept { return capacity() != 0 && size() == capacity(); }
    /// 0: no bound but its memory.
    [[nodiscard]] std::size_t capacity() const noexcept { return core_->capacity(); }
    /// Items that were put and aren't done.
    [[nodiscard]] std::size_t unfinished() const noexcept { return core_->unfinished(); }

    /// To hand over.
    [[nodiscard]] const shared_memory& memory() const noexcept { return core_->memory(); }

private:
    using limit = weft::detail::wait_limit;

    static std::uint64_t type_id() noexcept { return detail::hash_of_name(typeid(T).name()); }
    template <class Rep, class Period>
    static limit limit_of(std::chrono::duration<Rep, Period> d) {
        if (d < d.zero())
            detail::throw_negative_wait();
        return limit::in(d);
    }

    std::unique_ptr<detail::queue_core> core_; // operations know where it is
};

/// task_done() and join() are there for every queue.
template <class T>
using joinable_queue = queue<T>;

/// As an argument of a process.
template <class T>
struct codec<queue<T>> {
    static constexpr std::size_t least_size = least_size_of<shared_memory>();
    static void encode(archive_writer& out, const queue<T>& q) {
        ipc::encode<shared_memory>(out, q.memory());
    }
    static queue<T> decode(archive_reader& in) { return queue<T>(ipc::decode<shared_memory>(in)); }
};

// -------------------------------------------------------------------------------------------------

namespace detail {

/// The bytes of an item, for as long as the item and this stay where they are.
template <class T>
class item_bytes {
public:
    std::span<const std::span<const std::byte>> of(const T& item) {
        if constexpr (plain<T>) {
            one_ = std::as_bytes(std::span(&item, 1));
            return {&one_, 1};
        } else {
            ipc::encode<T>(out_, item);
            all_ = out_.pieces();
            return all_;
        }
    }
    template <class E>
    std::span<const std::span<const std::byte>> of_block(std::span<const E> elements) {
        encode_block<E>(out_, elements);
        all_ = out_.pieces();
        return all_;
    }

private:
    struct none {
        explicit none(archive_writer::gather_t) noexcept {}
    };
    std::span<const std::byte> one_;
    std::conditional_t<plain<T>, none, archive_writer> out_{archive_writer::gather};
    std::vector<std::span<const std::byte>> all_;
};

/// An item on its way out of the bytes.
template <class T>
class taken_item {
public:
    /// What lies there isn't needed any more afterwards.
    void take(std::span<const std::byte> item, byte_buffer& parts) {
        if constexpr (in_place) {
            value_.emplace(ipc::decode<T>(item));
        } else if (item.data() == parts.data()) {
            value_ = std::move(parts);
        } else {
            value_.shrink(0);
            if (!item.empty())
                std::memcpy(value_.extend(item.size()), item.data(), item.size());
        }
    }
    /// The bytes of a plain one.
    void copy(const std::byte* item) noexcept {
        std::array<std::byte, sizeof(T)> bytes;
        std::memcpy(bytes.data(), item, sizeof(T));
        value_.emplace(std::bit_cast<T>(bytes));
    }
    T value() {
        if constexpr (in_place)
            return std::move(*value_);
        else
            return ipc::decode<T>(value_.bytes());
    }

private:
    static constexpr bool in_place = read_in_place<T>;
    std::conditional_t<in_place, std::optional<T>, byte_buffer> value_;
};

template <class T>
class [[nodiscard]] queue_put_of : public queue_put_op {
public:
    queue_put_of(queue_core& q, limit l, T item) : queue_put_op(q, l), item_(std::move(item)) {}
    queue_put_of(queue_put_of&&) = default;

    [[nodiscard]] bool await_ready() {
        if constexpr (small_item<T>) {
            if (pass_small<sizeof(T)>(&item_)) [[likely]]
                return true;
        }
        return pass_now(bytes_.of(item_));
    }
    void await_resume() const { check_end(); }

private:
    T item_;
    item_bytes<T> bytes_;
};

template <class T>
class [[nodiscard]] queue_put_view_of : public queue_put_op {
public:
    using view = std::span<const typename T::value_type>;
    queue_put_view_of(queue_core& q, limit l, view v) noexcept : queue_put_op(q, l), view_(v) {}
    queue_put_view_of(queue_put_view_of&&) = default;

    [[nodiscard]] bool await_ready() { return pass_now(bytes_.of_block(view_)); }
    void await_resume() const { check_end(); }

private:
    view view_;
    item_bytes<T> bytes_;
};

template <class T>
class [[nodiscard]] queue_get_of : public queue_get_op {
public:
    queue_get_of(queue_core& q, limit l) noexcept : queue_get_op(q, l) {}
    queue_get_of(queue_get_of&&) = default;

    [[nodiscard]] bool await_ready() {
        if constexpr (small_item<T>) {
            if (pass_small<sizeof(T)>([this](const std::byte* item) { taken_.copy(item); }))
                [[likely]]
                return true;
            if (waits())
                return false;
        }
        return pass_now();
    }
    T await_resume() {
        check_end();
        return taken_.value();
    }

private:
    void take(std::span<const std::byte> item) override {
        try {
            taken_.take(item, parts);
        } catch (const codec_error&) {
            fail_with_current(); // the item is got, but it isn't one
        }
    }
    taken_item<T> taken_;
};

template <class T>
class [[nodiscard]] queue_get_some_of : public queue_get_op {
public:
    queue_get_some_of(queue_core& q, limit l, std::size_t most) noexcept
        : queue_get_op(q, l), most_(most) {}
    queue_get_some_of(queue_get_some_of&&) = default;

    [[nodiscard]] bool await_ready() { return pass_now(); }
    std::vector<T> await_resume() {
        check_end();
        constexpr std::size_t at_once = std::size_t{1} << 30;
        from().get_more(static_cast<std::uint32_t>(std::min(most_ - 1, at_once)),
                        [this](const std::byte* item, std::size_t size) noexcept {
                            try {
                                items_.push_back(ipc::decode<T>({item, size}));
                                return true;
                            } catch (...) { // it stays, for a get() that tells why
                                return false;
                            }
                        });
        return std::move(items_);
    }

private:
    void take(std::span<const std::byte> item) override {
        try {
            items_.push_back(ipc::decode<T>(item));
        } catch (const codec_error&) {
            fail_with_current(); // the item is got, but it isn't one
        }
    }
    std::size_t most_;
    std::vector<T> items_;
};

template <class T>
class try_taker final : public item_taker {
public:
    try_taker() noexcept { may_wait = false; }
    void take(std::span<const std::byte> item) override {
        try {
            taken.take(item, parts);
        } catch (const codec_error&) {
            wrong = std::current_exception();
        }
    }
    taken_item<T> taken;
    std::exception_ptr wrong;
};

} // namespace detail

template <class T>
bool queue<T>::try_put(const T& item) {
    core_->check_open();
    detail::item_bytes<T> bytes;
    return core_->try_put(bytes.of(item));
}

template <class T>
std::optional<T> queue<T>::try_get() {
    core_->check_open();
    detail::try_taker<T> taker;
    detail::ring_outcome how = core_->get(taker);
    if (taker.wrong)
        std::rethrow_exception(std::move(taker.wrong));
    if (how == detail::ring_outcome::done)
        return taker.taken.value();
    detail::check_outcome(how);
    return std::nullopt;
}

} // namespace weft::ipc
