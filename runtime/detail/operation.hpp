// SPDX-License-Identifier: MIT
// Base of everything that a coroutine suspends on in the end: a timer, an I/O request, a place in a
// wait list.
//
//     class park_op : public detail::operation { // suspends until someone calls release()
//     public:
//         park_op() noexcept : operation(type_of<park_op>("parked")) {}
//         bool await_ready() const noexcept { return false; }
//         template <detail::weft_promise P>
//         bool await_suspend(std::coroutine_handle<P> h,
//                            std::source_location at = std::source_location::current()) noexcept {
//             begin(h, at);        // false: a stop is pending, and the frames get unwound
//             return true;
//         }
//         void await_resume() const noexcept {}
//         void release() noexcept { complete(); }           // on the loop's thread
//         void cancel() noexcept { stopped(); }             // a stop was asked
//     };
//
// Threads:      begin, complete and stopped on the runner's thread; wake_from_anywhere from any,
//               once.
// Cancellation: the runner calls `cancel` (at most once for a suspension, never after complete or
//               stopped on the same thread). The operation then ends by itself, sooner or later,
//               with complete() if it has a result: a result that exists wins.
// Errors:       none. Cost: four stores to suspend. Source: the split of roles follows
//               std::execution's operation states.
#pragma once
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/promise.hpp>

namespace weft {
struct task_info;
}

namespace weft::detail {

class operation;

/// What the tree of tasks may ask of an operation, by kind.
struct operation_type {
    void (*cancel)(operation&) noexcept;
    const char* name; // what a dump of the task tree says that the task waits for
    /// Adds notes to what it says; on the thread of the operation. Null: there is nothing more.
    void (*describe)(const operation&, task_info&) = nullptr;
};

class operation {
public:
    // Before it has begun, an operation may be moved to where it is awaited.
    operation(operation&& other) noexcept : type_(other.type_) {
        WEFT_ASSERT(other.strand_ == nullptr, "an operation was moved while it ran");
    }
    operation& operator=(operation&&) = delete;

    [[nodiscard]] const operation_type& type() const noexcept { return *type_; }

protected:
    explicit operation(const operation_type& t) noexcept : type_(&t) {}
    ~operation() = default;

    /// Suspends the strand of `h` on this operation. False: it is being stopped; don't start
    /// anything.
    template <weft_promise P>
    bool begin(std::coroutine_handle<P> h, std::source_location where) noexcept {
        promise_base& p = h.promise();
        suspend(*p.in, h, p, where);
        if (strand_->stop_pending()) [[unlikely]] {
            strand_->run_by->transfer_unwind(*strand_);
            return false;
        }
        return true;
    }

    /// The same without a look at the stop state, for scopes that must do something on every way
    /// out.
    void suspend(strand& s, std::coroutine_handle<> frame, promise_base& p,
                 std::source_location where) noexcept {
        strand_ = &s;
        s.frame = frame;
        s.promise = &p;
        s.awaiting_at = where;
        s.leaf = this;
    }

    /// For one of several operations that a strand is suspended on: see sync/select.hpp.
    void belong_to(strand& s) noexcept { strand_ = &s; }

    /// The operation has its result: the coroutine goes on, from the runner's queue.
    void complete() noexcept { strand_->run_by->wake(*strand_); }

    /// The operation ended because of a stop: the frames get unwound, from the runner's queue.
    void stopped() noexcept {
        strand_->flags |= strand::unwinding;
        strand_->run_by->wake(*strand_);
    }

    /// complete(), from any thread. Whoever calls it must have claimed the operation against
    /// `cancel`.
    void wake_from_anywhere() noexcept { wake(*strand_); }

    [[nodiscard]] strand& owner() const noexcept { return *strand_; }
    [[nodiscard]] bool has_begun() const noexcept { return strand_ != nullptr; }
    /// Those of its thread.
    [[nodiscard]] timer_heap& timers() const noexcept { return strand_->run_by->timers(); }
    /// Throws state_error on a thread that has none: a worker of a pool.
    [[nodiscard]] loop& io_loop() const {
        loop* l = strand_->run_by->io();
        if (l == nullptr) [[unlikely]]
            refuse_without_loop();
        return *l;
    }

    template <class Op>
    static void call_cancel(operation& op) noexcept {
        static_cast<Op&>(op).cancel();
    }

private:
    [[noreturn]] static void refuse_without_loop();

    const operation_type* type_;
    strand* strand_ = nullptr;
};

} // namespace weft::detail
