// SPDX-License-Identifier: MIT
// Runs a call that would block the loop on one of a few threads of the process: looking up names,
// reading directories. A stopped wait abandons the call: if it hasn't begun it never will, else its
// result is thrown away when it comes.
//
// Threads:      awaited on a loop; the function runs elsewhere, so it must own what it uses.
// Cancellation: at once. Errors: what the function throws; std::system_error if there can be no
//               thread at all.
// Cost:         one allocation, two wake-ups. At most eight threads, which end when nothing came
//               for ten seconds.
// Source:       none.
#pragma once
#include <weft/runtime/detail/operation.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace weft::detail {

class helper_op_base;

/// One call, shared by the operation that waits for it and the thread that runs it.
struct helper_job {
    enum state : int { waiting, finished, abandoned };

    helper_job() noexcept = default;
    helper_job(const helper_job&) = delete;
    helper_job& operator=(const helper_job&) = delete;
    virtual ~helper_job() = default;
    virtual void run() noexcept = 0;

    void release() noexcept {
        if (owners.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

    std::atomic<int> owners{2};
    std::atomic<int> phase{waiting}; // whoever changes it first has the say
    helper_op_base* waiter = nullptr;
    helper_job* next = nullptr; // this and the next two: under the lock of the threads
    helper_job* previous = nullptr;
    bool queued = false;
};

/// Starts a detached thread of that name which no signal of the process finds. Throws
/// std::system_error.
void start_quiet_thread(const char* name, void (*f)(void*), void* argument);

void start_on_helper(helper_job& job);
/// Takes it back if it hasn't begun. Gives whether it hadn't.
bool withdraw_from_helper(helper_job& job) noexcept;

class helper_op_base : public operation {
public:
    void finished() noexcept { wake_from_anywhere(); }

protected:
    explicit helper_op_base(const operation_type& t) noexcept : operation(t) {}
    helper_op_base(helper_op_base&&) = default;
    ~helper_op_base() = default;
    void start(helper_job& job) {
        try {
            start_on_helper(job);
        } catch (...) {
            owner().leaf = nullptr;
            throw;
        }
    }
    void abandon(helper_job& job) noexcept {
        int expected = helper_job::waiting;
        // acq_rel: pairs with the thread's exchange; one of the two sees the other's.
        if (!job.phase.compare_exchange_strong(expected, helper_job::abandoned,
                                               std::memory_order_acq_rel))
            return; // its result is on the way
        if (withdraw_from_helper(job))
            job.release();
        stopped();
    }
};

template <class F>
class [[nodiscard]] helper_op : public helper_op_base {
public:
    using value_type = std::invoke_result_t<F&>;

    helper_op(const operation_type& t, F f) : helper_op_base(t), job_(new job(std::move(f))) {}
    helper_op(const helper_op&) = delete;
    helper_op& operator=(const helper_op&) = delete;
    ~helper_op() {
        if (!started_)
            job_->release(); // for the thread that never came
        job_->release();
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        if (begin(h, where)) {
            job_->waiter = this;
            start(*job_);
            started_ = true;
        }
        return true;
    }
    value_type await_resume() {
        if (job_->error)
            std::rethrow_exception(std::move(job_->error));
        return std::move(*job_->result);
    }
    static void cancel(operation& op) noexcept {
        auto& self = static_cast<helper_op&>(op);
        self.abandon(*self.job_);
    }

private:
    struct job : helper_job {
        explicit job(F f) : function(std::move(f)) {}
        void run() noexcept override {
            try {
                result.emplace(function());
            } catch (...) {
                error = std::current_exception();
            }
        }
        F function;
        std::optional<value_type> result;
        std::exception_ptr error;
    };
    job* job_;
    bool started_ = false;
};

} // namespace weft::detail
