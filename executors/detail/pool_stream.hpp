// SPDX-License-Identifier: MIT
// A call whose items come from a worker one by one, and the sequence that its caller reads. What
// came and wasn't taken waits here; the worker is told what was taken, and makes more.
//
// Threads:      the reader's members, one task at a time, on any thread; the rest, the pool's.
// Cancellation: who lets go of the sequence before its end has the worker asked to stop, and
//               doesn't wait for that.
// Errors:       those of a call, after the items that had come; what the items' codec throws.
// Cost:         an item is a message, and a buffer until it is taken; so many items, or half of
//               that, one message to the worker. Source: none.
#pragma once
#include <weft/executors/detail/pool_request.hpp>
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/detail/operation.hpp>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace weft::detail {

class pool_stream final : public pool_request, public recycled {
public:
    class wait_op;

    /// Throws std::invalid_argument for a window without room.
    pool_stream(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                ipc::archive_writer call, const stream_window& window);
    pool_stream(const pool_stream&) = delete;
    pool_stream& operator=(const pool_stream&) = delete;

    // The reader's.

    /// Hands the call in. Throws what the pool has against it.
    void start();
    /// Waits until an item is there, or the end.
    [[nodiscard]] wait_op wait() noexcept;
    /// The item, encoded, or nothing at the end. Throws what ended it.
    [[nodiscard]] std::optional<pool_message> take();
    /// The reader goes away; the record with it, unless the pool has it.
    void drop() noexcept;

private:
    ~pool_stream() = default;
    void release(int holders = 1) noexcept;
    [[nodiscard]] wait_op* claim_reader() noexcept; // under the lock
    static bool begins(pool_request& r) noexcept;
    static void returns(pool_request& r) noexcept;
    static bool gives(pool_request& r, pool_message item) noexcept;
    static void leaves(pool_request& r) noexcept;
    static const pool_request_type type;

    const stream_window window_;
    bool started_ = false;
    std::uint32_t taken_ = 0; // items that the worker wasn't told of
    std::size_t taken_bytes_ = 0;
    std::atomic<int> holders_{1}; // the reader, and the pool

    std::mutex mutex_; // for what follows; may be taken under the pool's
    std::deque<pool_message> items_;
    wait_op* reader_ = nullptr;
    bool ended_ = false;
    bool dropped_ = false;
};

class [[nodiscard]] pool_stream::wait_op : public operation {
public:
    explicit wait_op(pool_stream& s) noexcept : operation(kind), stream_(s) {}
    [[nodiscard]] bool await_ready() const noexcept;
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() const noexcept {}

private:
    friend class pool_stream;
    void start() noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;
    void come() noexcept { wake_from_anywhere(); }
    pool_stream& stream_;
};

inline pool_stream::wait_op pool_stream::wait() noexcept { return wait_op(*this); }

/// The reader's handle.
class pool_stream_handle {
public:
    explicit pool_stream_handle(pool_stream* s) noexcept : it_(s) {}
    pool_stream_handle(pool_stream_handle&& other) noexcept
        : it_(std::exchange(other.it_, nullptr)) {}
    pool_stream_handle& operator=(pool_stream_handle&&) = delete;
    ~pool_stream_handle() {
        if (it_ != nullptr)
            it_->drop();
    }
    pool_stream* operator->() const noexcept { return it_; }

private:
    pool_stream* it_;
};

template <class T>
async_generator<T> streamed(pool_stream_handle from) {
    from->start();
    while (true) {
        co_await from->wait();
        std::optional<pool_message> item = from->take();
        if (!item)
            break;
        T value = ipc::decode<T>(item->bytes());
        item.reset();
        co_yield std::move(value);
    }
}

} // namespace weft::detail
