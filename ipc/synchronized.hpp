// SPDX-License-Identifier: MIT
// A value, or an array of them, that several processes see, with a lock beside it.
//
//     struct progress { int done, failed; };
//     using shared_progress = weft::ipc::synchronized<weft::ipc::shared<progress>>;
//
//     weft::task<> note(shared_progress& p, bool well) {
//         auto now = co_await p.scoped();         // with the lock, until `now` goes
//         ++(well ? now->done : now->failed);
//     }
//     weft::task<int> how_many(shared_progress& p) {
//         progress seen = co_await p.load();      // a copy, taken with the lock
//         co_return seen.done;
//     }
//
// load() and store() take the lock each for itself: a load, a sum and a store are three steps,
// between which others may store. scoped() and get_lock() hold it for longer; the lock is
// recursive, so that load() and store() work meanwhile. get_obj() is the value without the lock.
// It is an argument of a process that is made (passing.hpp). The lock may be one that is there
// already, for several values; it then stays the caller's to hand over, as memory() does.
//
// Threads:      as the lock's; load, store and scoped from any. Processes: each sees the memory
//               that memory() hands over; when one dies with the lock, see lock_error.hpp.
// Cancellation: who is stopped while waiting for the lock leaves no trace.
// Errors:       as recursive_mutex's and shared_memory's; std::invalid_argument for memory that is
//               too small, and for an array of nothing; std::out_of_range for a place that isn't
//               there.
// Cost:         that of the lock, and a frame. 64 bytes for a lock of its own.
// Source:       multiprocessing's Value, Array and synchronized.
#pragma once
#include <weft/ipc/passing.hpp>
#include <weft/ipc/recursive_mutex.hpp>
#include <weft/ipc/shared.hpp>

#include <weft/runtime/task.hpp>

#include <utility>

namespace weft::ipc {

/// What scoped() gives: the value, with the lock.
template <class T>
class [[nodiscard]] synchronized_ref {
public:
    synchronized_ref(guard<recursive_mutex> held, T* value) noexcept
        : held_(std::move(held)), value_(value) {}
    synchronized_ref(synchronized_ref&&) noexcept = default;
    synchronized_ref& operator=(synchronized_ref&&) = delete;

    /// Of an array, the first; the others follow.
    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    [[nodiscard]] T* operator->() const noexcept { return value_; }
    [[nodiscard]] T& operator[](std::size_t i) const noexcept { return value_[i]; }

private:
    guard<recursive_mutex> held_;
    T* value_;
};

namespace detail {

/// The memory: a lock, and values behind it; or values, and a lock elsewhere.
class synchronized_memory {
public:
    static constexpr std::size_t room_for_lock = 64;

    synchronized_memory(std::size_t n, std::size_t size);
    synchronized_memory(shared_memory m, std::size_t size);
    synchronized_memory(shared_memory values, recursive_mutex& lock) noexcept
        : memory_(std::move(values)), lock_(&lock) {}

    [[nodiscard]] recursive_mutex& lock() const noexcept {
        return lock_ != nullptr ? *lock_
                                : *reinterpret_cast<recursive_mutex*>(memory_.bytes().data());
    }
    [[nodiscard]] std::span<std::byte> values() const noexcept {
        return lock_ != nullptr ? memory_.bytes() : memory_.bytes().subspan(room_for_lock);
    }
    [[nodiscard]] shared_memory& memory() noexcept { return memory_; }
    /// With the lock in it. Throws codec_error if the lock lies elsewhere.
    [[nodiscard]] const shared_memory& whole() const;

private:
    shared_memory memory_;
    recursive_mutex* lock_ = nullptr; // null: it stands in front of the values
};
static_assert(sizeof(recursive_mutex) <= synchronized_memory::room_for_lock);

} // namespace detail

/// Of shared<T> or shared_array<T>.
template <class Shared>
class synchronized;

template <shareable T>
    requires(alignof(T) <= detail::synchronized_memory::room_for_lock)
class synchronized<shared<T>> {
public:
    using value_type = T;

    /// Of zero bytes.
    synchronized() : memory_(1, sizeof(T)) {}
    explicit synchronized(const T& value)
        requires std::is_copy_constructible_v<T>
        : synchronized() {
        ::new (static_cast<void*>(memory_.values().data())) T(value);
    }
    /// The one that is there.
    explicit synchronized(shared_memory m) : memory_(std::move(m), sizeof(T)) {}
    /// With a lock that others use, too, and that stays where it is.
    synchronized(shared<T> value, recursive_mutex& lock) noexcept
        : memory_(std::move(value.memory()), lock) {}

    [[nodiscard]] task<T> load() {
        auto held = co_await get_lock().scoped();
        co_return get_obj();
    }
    [[nodiscard]] task<> store(T value) {
        auto held = co_await get_lock().scoped();
        get_obj() = value;
    }
    [[nodiscard]] task<synchronized_ref<T>> scoped() {
        auto held = co_await get_lock().scoped();
        co_return synchronized_ref<T>(std::move(held), &get_obj());
    }

    [[nodiscard]] recursive_mutex& get_lock() const noexcept { return memory_.lock(); }
    /// Without the lock.
    [[nodiscard]] T& get_obj() const noexcept {
        return *reinterpret_cast<T*>(memory_.values().data());
    }
    /// To hand over.
    [[nodiscard]] shared_memory& memory() noexcept { return memory_.memory(); }

private:
    friend struct codec<synchronized>;
    detail::synchronized_memory memory_;
};

template <shareable T>
    requires(alignof(T) <= detail::synchronized_memory::room_for_lock)
class synchronized<shared_array<T>> {
public:
    using value_type = T;

    /// `n` of them, of zero bytes.
    explicit synchronized(std::size_t n) : memory_(n, sizeof(T)) {}
    /// Copies of these.
    explicit synchronized(std::span<const T> values)
        requires std::is_copy_constructible_v<T>
        : synchronized(values.size()) {
        std::copy(values.begin(), values.end(), data());
    }
    /// Those that are there: as many as fit.
    explicit synchronized(shared_memory m) : memory_(std::move(m), sizeof(T)) {}
    /// With a lock that others use, too, and that stays where it is.
    synchronized(shared_array<T> values, recursive_mutex& lock) noexcept
        : memory_(std::move(values.memory()), lock) {}

    [[nodiscard]] task<T> load(std::size_t i) {
        auto held = co_await get_lock().scoped();
        co_return at(i);
    }
    [[nodiscard]] task<> store(std::size_t i, T value) {
        auto held = co_await get_lock().scoped();
        at(i) = value;
    }
    /// Precondition for its []: there is such a place.
    [[nodiscard]] task<synchronized_ref<T>> scoped() {
        auto held = co_await get_lock().scoped();
        co_return synchronized_ref<T>(std::move(held), data());
    }

    [[nodiscard]] std::size_t size() const noexcept { return memory_.values().size() / sizeof(T); }
    [[nodiscard]] recursive_mutex& get_lock() const noexcept { return memory_.lock(); }
    /// Without the lock.
    [[nodiscard]] std::span<T> get_obj() const noexcept { return {data(), size()}; }
    /// To hand over.
    [[nodiscard]] shared_memory& memory() noexcept { return memory_.memory(); }

private:
    [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(memory_.values().data()); }
    [[nodiscard]] T& at(std::size_t i) const {
        if (i >= size())
            detail::shared_no_such_place();
        return data()[i];
    }

    friend struct codec<synchronized>;
    detail::synchronized_memory memory_;
};

/// To give to a process when it is made, if the lock is its own.
template <class Shared>
struct codec<synchronized<Shared>> {
    static constexpr std::size_t least_size = codec<shared_memory>::least_size;
    static void encode(archive_writer& out, const synchronized<Shared>& s) {
        ipc::encode<shared_memory>(out, s.memory_.whole());
    }
    static synchronized<Shared> decode(archive_reader& in) {
        return synchronized<Shared>(ipc::decode<shared_memory>(in));
    }
};

} // namespace weft::ipc
