// SPDX-License-Identifier: MIT
// A call that a process pool is asked for, from its encoding to its answer, whoever waits for it: a
// task that awaits it, or a future.
//
// Threads:      made and handed in by any; in between it belongs to the pool and its lock; `leaves`
//               is called on the pool's loop.
// Cancellation: see impl/pool_machine.hpp.
// Errors:       those of process_pool.hpp, from check().
// Cost:         the encoded arguments, and the answer. Source: none.
#pragma once
#include <weft/executors/detail/pool_message.hpp>
#include <weft/executors/detail/pool_task.hpp>
#include <weft/executors/detail/stream_window.hpp>
#include <weft/executors/future.hpp>
#include <weft/ipc/registry.hpp>

#include <memory>
#include <span>

namespace weft::detail {

class pool_hub;
class pool_request;

/// The beginning of a message that asks for a call; the arguments follow.
[[nodiscard]] ipc::archive_writer call_message(const ipc::function_entry& function);
/// The same, where large ones lie in the pool's memory.
[[nodiscard]] ipc::archive_writer call_message(pool_hub& hub, const ipc::function_entry& function);

struct pool_request_type {
    /// A worker is about to get it for the first time. False: nobody wants it any more.
    bool (*begins)(pool_request&) noexcept;
    /// The worker didn't begin: it waits again. Under the pool's lock.
    void (*returns)(pool_request&) noexcept;
    /// The pool is done with it.
    void (*leaves)(pool_request&) noexcept;
    /// An item of its sequence has come; the pool is locked. False: it can't be kept. Null: none
    /// are expected.
    bool (*gives)(pool_request&, pool_message item) noexcept = nullptr;
};

class pool_request : public pool_task {
protected:
    /// `call`: a call_message() with the arguments.
    pool_request(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                 ipc::archive_writer call, const pool_request_type& type);
    pool_request(pool_request&& other) noexcept = default;
    pool_request& operator=(pool_request&&) = delete;
    ~pool_request() = default;

    /// Hands it to the pool. False: it was refused, and check() says why.
    [[nodiscard]] bool hand_in() noexcept;
    /// True: it waited, is withdrawn, and won't leave. False: it was refused, or leaves later.
    [[nodiscard]] bool withdraw_from_pool() noexcept;
    /// The function noticed that it was to stop, and did; or was stopped.
    [[nodiscard]] bool counts_as_stopped() const noexcept;
    /// The encoded result. Throws whatever came instead.
    [[nodiscard]] std::span<const std::byte> check();
    [[nodiscard]] bool begun() const noexcept { return begun_; }
    /// It is a sequence, and may be ahead so far.
    void ask_for_items(const stream_window& w) noexcept { window_ = w; }
    /// So many items were taken.
    void grant(std::uint32_t items) noexcept;
    void forget_messages() noexcept {
        message_ = ipc::byte_buffer();
        answer_ = pool_message();
    }

private:
    friend class pool_hub;
    friend class worker_channel;

    /// Of an answer that is an error.
    [[nodiscard]] bool says_cancelled() const noexcept;

    std::shared_ptr<pool_hub> hub_;
    const pool_request_type* type_;
    const ipc::function_entry* function_;
    ipc::archive_writer call_;
    ipc::byte_buffer message_;
    pool_message answer_;
    std::exception_ptr own_refusal_;
    stream_window window_;
    std::uint32_t credit_ = 0; // items that were taken, for the worker; guarded by the pool's lock
    enum class refusal : std::uint8_t { none, full, closed, broken, own } refused_ = refusal::none;
    bool in_setting_ = false; // the message ends with a call_setting
    bool begun_ = false;
    bool answer_is_error_ = false;
    bool stop_seen_ = false;
    bool takes_stop_ = false;
};

/// A request whose answer a future gets. It holds the record that it is part of while the pool may
/// come to it.
class pool_submission_base : public pool_request {
public:
    /// Throws what the pool has against it.
    void post();

protected:
    pool_submission_base(future_record& of, std::shared_ptr<pool_hub> hub,
                         const ipc::function_entry& function, ipc::archive_writer call);
    ~pool_submission_base() = default;

    /// The future was cancelled before it began.
    void cancelled() noexcept;
    /// Nobody wants it any more, whether or not it has begun.
    void asked_to_stop() noexcept;

private:
    virtual void decode(std::span<const std::byte> answer) = 0;
    static bool begins(pool_request& r) noexcept;
    static void returns(pool_request& r) noexcept;
    static void leaves(pool_request& r) noexcept;
    static const pool_request_type type;

    future_record& of_;
};

template <class R>
class pool_submission final : public future_record_of<R>, public pool_submission_base {
public:
    pool_submission(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                    ipc::archive_writer call)
        : pool_submission_base(static_cast<future_record&>(*this), std::move(hub), function,
                               std::move(call)) {}

private:
    void decode([[maybe_unused]] std::span<const std::byte> answer) override {
        if constexpr (!std::is_void_v<R>)
            this->value.set_value(ipc::decode<R>(answer));
    }
    void withdraw() noexcept override { cancelled(); }
    void ask_to_stop() noexcept override { asked_to_stop(); }
};

} // namespace weft::detail
