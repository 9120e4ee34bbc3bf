// SPDX-License-Identifier: MIT
// A sequence that a coroutine makes on demand, without awaiting. For sequences whose items take
// time see async_generator.
//
//     weft::generator<int> squares(int n) {
//         for (int i = 0; i < n; ++i)
//             co_yield i * i;
//     }
//     int sum_of_even_squares() {
//         int sum = 0;
//         for (int s : squares(10) | std::views::filter([](int v) { return v % 2 == 0; }))
//             sum += s;
//         return sum;
//     }
//
// An item of a generator<T> is a T&& to what was yielded, which the consumer may move from: an
// lvalue that the body yields is copied for it. A generator<T&> or generator<const T&> gives the
// lvalue itself.
//
// Threads:      one at a time, any.
// Cancellation: destroying the generator destroys the body where it stands; its destructors run.
// Errors:       what the body throws comes out of begin() or ++, and the sequence has ended.
// Cost:         one frame from the thread's recycler; an item is a resumption, without allocation.
// Source:       std::generator of C++23, without the recursive form.
#pragma once
#include <weft/runtime/detail/frame_pool.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

namespace weft {

template <class T>
class [[nodiscard]] generator : public std::ranges::view_interface<generator<T>> {
public:
    class promise_type;
    class iterator;
    using value_type = std::remove_cvref_t<T>;
    using reference = std::conditional_t<std::is_reference_v<T>, T, T&&>;

    generator(generator&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
    generator& operator=(generator&& other) noexcept {
        generator(std::move(other)).swap(*this);
        return *this;
    }
    ~generator() {
        if (body_)
            body_.destroy();
    }
    void swap(generator& other) noexcept { std::swap(body_, other.body_); }

    /// Runs the body to its first item. Precondition: wasn't called before; the sequence can be
    /// read once.
    iterator begin() {
        body_.promise().advance(body_);
        return iterator(body_);
    }
    std::default_sentinel_t end() const noexcept { return std::default_sentinel; }

private:
    explicit generator(std::coroutine_handle<promise_type> b) noexcept : body_(b) {}
    std::coroutine_handle<promise_type> body_;
};

template <class T>
class generator<T>::promise_type {
    using pointer = std::add_pointer_t<reference>;

    // Keeps the copy of a yielded lvalue for as long as the body is suspended there.
    struct copy {
        explicit copy(const value_type& v) : value(v) {}
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> body) noexcept {
            body.promise().item_ = std::addressof(value);
        }
        void await_resume() const noexcept {}
        value_type value;
    };

public:
    generator get_return_object() noexcept {
        return generator(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_always final_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_always yield_value(reference item) noexcept {
        item_ = std::addressof(item);
        return {};
    }
    [[nodiscard]] copy yield_value(const value_type& item)
        requires(!std::is_reference_v<T> && std::copy_constructible<value_type>)
    {
        return copy(item);
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }
    /// A generator can't wait: that would suspend whoever reads it.
    template <class A>
    void await_transform(A&&) = delete;

    static void* operator new(std::size_t size) { return detail::allocate_frame(size); }
    static void operator delete(void* block, std::size_t size) noexcept {
        detail::release_frame(block, size);
    }

private:
    friend class generator;
    friend class iterator;
    void advance(std::coroutine_handle<promise_type> body) {
        body.resume();
        if (error_) [[unlikely]]
            std::rethrow_exception(std::exchange(error_, nullptr));
    }
    pointer item_ = nullptr;
    std::exception_ptr error_;
};

template <class T>
class generator<T>::iterator {
public:
    using value_type = generator::value_type;
    using difference_type = std::ptrdiff_t;

    iterator(iterator&& other) noexcept = default;
    iterator& operator=(iterator&& other) noexcept = default;

    reference operator*() const noexcept { return static_cast<reference>(*body_.promise().item_); }
    iterator& operator++() {
        body_.promise().advance(body_);
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
        return i.body_.done();
    }

private:
    friend class generator;
    explicit iterator(std::coroutine_handle<promise_type> b) noexcept : body_(b) {}
    std::coroutine_handle<promise_type> body_;
};

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::ranges::view<generator<int>>);

} // namespace weft
