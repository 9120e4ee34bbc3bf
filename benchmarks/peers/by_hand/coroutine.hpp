// SPDX-License-Identifier: MIT
// The least that a coroutine needs to return a value to whoever awaits it: no stop, no loop, no
// recycled memory, no tree. What a library costs on top of the language is measured against this.
#pragma once
#include <coroutine>
#include <exception>
#include <utility>

namespace by_hand {

template <class T>
class task {
public:
    struct promise_type {
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            std::coroutine_handle<>
            await_suspend(std::coroutine_handle<promise_type> h) const noexcept {
                return h.promise().awaiting;
            }
            void await_resume() const noexcept {}
        };
        task get_return_object() noexcept {
            return task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        final_awaiter final_suspend() const noexcept { return {}; }
        void return_value(T v) noexcept { value = v; }
        void unhandled_exception() noexcept { std::terminate(); }

        std::coroutine_handle<> awaiting;
        T value;
    };

    explicit task(std::coroutine_handle<promise_type> h) noexcept : frame_(h) {}
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (frame_)
            frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) const noexcept {
        frame_.promise().awaiting = h;
        return frame_;
    }
    T await_resume() const noexcept { return frame_.promise().value; }

private:
    std::coroutine_handle<promise_type> frame_;
};

/// A coroutine that belongs to nobody: it frees itself when it ends.
struct detached {
    struct promise_type {
        detached get_return_object() noexcept {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }

        promise_type* next = nullptr; // in the queue
    };
    std::coroutine_handle<promise_type> frame;
};

/// The ready coroutines of one thread, first in, first out.
class ready_queue {
public:
    using handle = std::coroutine_handle<detached::promise_type>;

    void push(handle h) noexcept {
        h.promise().next = nullptr;
        if (head_ == nullptr)
            head_ = &h.promise();
        else
            tail_->next = &h.promise();
        tail_ = &h.promise();
    }
    std::coroutine_handle<> pop() noexcept {
        if (head_ == nullptr)
            return std::noop_coroutine();
        handle h = handle::from_promise(*head_);
        head_ = head_->next;
        return h;
    }
    void run() noexcept {
        while (head_ != nullptr)
            pop().resume();
    }

private:
    detached::promise_type* head_ = nullptr;
    detached::promise_type* tail_ = nullptr;
};

/// Goes to the end of the queue and on to whoever is at its front.
class yield {
public:
    explicit yield(ready_queue& q) noexcept : queue_(q) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(ready_queue::handle h) const noexcept {
        queue_.push(h);
        return queue_.pop();
    }
    void await_resume() const noexcept {}

private:
    ready_queue& queue_;
};

} // namespace by_hand
