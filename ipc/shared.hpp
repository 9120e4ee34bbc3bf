// SPDX-License-Identifier: MIT
// A value, or an array of them, that several processes see and change in place.
//
//     struct progress { std::uint32_t done, total; };
//
//     weft::task<> begin(weft::ipc::connection& worker) {
//         weft::ipc::shared<progress> p(progress{0, 100});
//         const int descriptors[] = {p.memory().fd()};
//         co_await worker.send_descriptors(descriptors);
//         fmt::print("{} of {}\n", p->done, p->total);
//     }
//     weft::task<> work(weft::ipc::connection& parent) {
//         auto d = co_await parent.receive_descriptors();
//         auto m = weft::ipc::shared_memory::adopt(std::move(d.at(0)));
//         weft::ipc::shared<progress> p(std::move(m));
//         p->done = 1;
//     }
//
// A process that is made gets it as an argument (passing.hpp). There is no lock: who shares it
// agrees on who writes when, or shares std::atomic.
//
// Threads:      as the value's. Processes: each sees the value at an address of its own; the death
//               of one leaves the value as it was at that moment.
// Cancellation: none; nothing here waits.
// Errors:       as shared_memory.hpp's; std::invalid_argument for memory that is too small, and for
//               an array of nothing; std::out_of_range from at().
// Cost:         that of shared_memory; then that of a pointer.
// Source:       multiprocessing's RawValue and RawArray.
#pragma once
#include <weft/ipc/shared_memory.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weft::ipc {

namespace detail {
[[noreturn]] void shared_too_small(std::size_t has, std::size_t needs);
[[noreturn]] void shared_no_such_place();
/// How many bytes n values of a size take.
[[nodiscard]] std::size_t shared_size(std::size_t n, std::size_t size);
template <class T>
inline constexpr bool is_atomic = false;
template <class T>
inline constexpr bool is_atomic<std::atomic<T>> = true;
template <class T>
inline constexpr bool is_lock_free_atomic = false;
template <class T>
inline constexpr bool is_lock_free_atomic<std::atomic<T>> = std::atomic<T>::is_always_lock_free;
} // namespace detail

/// What means the same in every process: bytes that can be copied, and no pointers (of which those
/// inside of a structure can't be seen from here). And atomics, if they are without a lock, and
/// structures that can neither be copied nor moved, because they hold such, or locks.
template <class T>
concept shareable =
    detail::is_lock_free_atomic<T> ||
    (!detail::is_atomic<T> &&
     (std::is_trivially_copyable_v<T> ||
      (std::is_standard_layout_v<T> && !std::is_copy_constructible_v<T> &&
       !std::is_move_constructible_v<T>)) &&
     std::is_trivially_destructible_v<T> && !std::is_const_v<T> && !std::is_pointer_v<T> &&
     !std::is_member_pointer_v<T> && !std::is_reference_v<T> && alignof(T) <= 4096);

/// Several of them, in memory without a name unless it is given one.
template <shareable T>
class shared_array {
public:
    using value_type = T;
    using iterator = T*;

    /// `n` of them, of zero bytes.
    explicit shared_array(std::size_t n)
        : memory_(shared_memory::create_nameless(detail::shared_size(n, sizeof(T)))), size_(n) {}
    /// Copies of these.
    explicit shared_array(std::span<const T> values)
        requires std::is_copy_constructible_v<T>
        : shared_array(values.size()) {
        std::copy(values.begin(), values.end(), data());
    }
    /// Those that are there: as many as fit.
    explicit shared_array(shared_memory m)
        : memory_(std::move(m)), size_(memory_.size() / sizeof(T)) {
        if (size_ == 0)
            detail::shared_too_small(memory_.size(), sizeof(T));
    }

    [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(memory_.bytes().data()); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<T> values() const noexcept { return {data(), size_}; }
    [[nodiscard]] T* begin() const noexcept { return data(); }
    [[nodiscard]] T* end() const noexcept { return data() + size_; }
    /// Precondition: there is such a place.
    [[nodiscard]] T& operator[](std::size_t i) const noexcept { return data()[i]; }
    [[nodiscard]] T& at(std::size_t i) const {
        if (i >= size_)
            detail::shared_no_such_place();
        return data()[i];
    }

    /// Of characters: what stands before the first null.
    [[nodiscard]] std::string_view text() const noexcept
        requires std::is_same_v<T, char>
    {
        return {data(), ::strnlen(data(), size_)};
    }

    /// The same values in memory of their own.
    [[nodiscard]] shared_array copy() const
        requires std::is_copy_constructible_v<T>
    {
        return shared_array(std::span<const T>(values()));
    }

    [[nodiscard]] shared_memory& memory() noexcept { return memory_; }
    [[nodiscard]] const shared_memory& memory() const noexcept { return memory_; }

private:
    shared_memory memory_;
    std::size_t size_;
};

/// One value.
template <shareable T>
class shared {
public:
    using value_type = T;

    /// Of zero bytes.
    shared() : array_(std::size_t{1}) {}
    explicit shared(const T& value)
        requires std::is_copy_constructible_v<T>
        : array_(std::span<const T>(&value, 1)) {}
    /// Made there, of these arguments: for what zero bytes aren't yet, as a semaphore.
    template <class... Args>
    explicit shared(std::in_place_t, Args&&... args)
        requires std::is_constructible_v<T, Args...>
        : shared() {
        ::new (static_cast<void*>(array_.data())) T(std::forward<Args>(args)...);
    }
    /// The one that is there.
    explicit shared(shared_memory m) : array_(std::move(m)) {}

    [[nodiscard]] T& operator*() const noexcept { return *array_.data(); }
    [[nodiscard]] T* operator->() const noexcept { return array_.data(); }
    /// The same value in memory of its own.
    [[nodiscard]] shared copy() const
        requires std::is_copy_constructible_v<T>
    {
        return shared(**this);
    }

    [[nodiscard]] shared_memory& memory() noexcept { return array_.memory(); }
    [[nodiscard]] const shared_memory& memory() const noexcept { return array_.memory(); }

private:
    shared_array<T> array_;
};

} // namespace weft::ipc
