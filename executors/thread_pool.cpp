// SPDX-License-Identifier: MIT
#include <weft/executors/thread_pool.hpp>

#include <weft/ipc/error.hpp>

#include "impl/thread_pool_state.hpp"

namespace weft::detail {

// --- A call --------------------------------------------------------------------------------------

const operation_type thread_call_base::kind{cancel_call, "a thread pool's answer"};

thread_call_base::homecoming::homecoming(thread_call_base& c) noexcept
    : work([](work& w) noexcept { static_cast<homecoming&>(w).call.stopped(); }), call(c) {}

thread_call_base::thread_call_base(thread_pool_state& pool, const work_options& o,
                                   call_function f) noexcept
    : operation(kind), pool_work(take_turn), pool_(pool), call_(f), homecoming_(*this) {
    priority = o.priority;
    blocks = o.blocks;
}

thread_call_base::thread_call_base(thread_call_base&& other) noexcept
    : operation(std::move(other)), pool_work(take_turn), stop_(std::move(other.stop_)),
      pool_(other.pool_), call_(other.call_), homecoming_(*this) {
    priority = other.priority;
    blocks = other.blocks;
}

void thread_call_base::start() noexcept {
    pool_work::stop = stop_ ? &*stop_ : nullptr;
    setting_.emplace();
    try {
        pool_.post(*this);
    } catch (...) {
        error_ = std::current_exception();
        complete();
    }
}

void thread_call_base::cancel_call(operation& op) noexcept {
    auto& self = static_cast<thread_call_base&>(op);
    if (self.pool_.withdraw(self)) {
        self.stopped();
    } else if (self.stop_) {
        self.cancelled_.store(true,
                              std::memory_order_release); // pairs with the acquire in take_turn
        self.stop_->request_stop(); // runs callbacks; the frame can't be resumed before we return
    }
}

// A function that could see a stop and returned after it gave up half-way: it has no result.
bool thread_call_base::given_up() const noexcept {
    if (!stop_ || !stop_->stop_requested())
        return false;
    if (!error_)
        return true;
    try {
        std::rethrow_exception(error_);
    } catch (const cancelled_error&) {
        return true;
    } catch (...) { // an error all the same
        return false;
    }
}

void thread_call_base::take_turn(pool_work& w, pool_turn turn) noexcept {
    auto& self = static_cast<thread_call_base&>(w);
    if (turn == pool_turn::gone)
        self.error_ = reason_of_end(self.pool_);
    else
        self.setting_->run(
            [](void* c) {
                auto& call = *static_cast<thread_call_base*>(c);
                call.call_(call);
            },
            &self);
    if (self.given_up()) {
        // acquire: pairs with the release in cancel_call
        if (self.cancelled_.load(std::memory_order_acquire)) {
            self.owner().run_by->post(self.homecoming_); // a strand's flags are its own thread's
            return;
        }
        self.error_ = std::make_exception_ptr(ipc::pool_terminated()); // it was the pool that asked
    }
    self.wake_from_anywhere();
}

void post(thread_pool_state& pool, pool_work& w) { pool.post(w); }

std::exception_ptr reason_of_end(const thread_pool_state& pool) noexcept {
    return pool.reason_of_end();
}

bool withdraw(thread_pool_state& pool, pool_work& w) noexcept { return pool.withdraw(w); }

void drop_pending(thread_pool_state& pool) noexcept { pool.drop_pending(); }

void leave(thread_pool_state& pool, pool_work& w) noexcept { pool.leave(w); }

void announce_stop(thread_pool_state& pool) noexcept { pool.announce_stop(); }

std::vector<fork_runner*> threads_of(thread_pool_state& pool) { return pool.threads(); }

// --- Shutdown ------------------------------------------------------------------------------------

const operation_type thread_pool_shutdown_op::kind{cancel_wait, "the end of a thread pool"};

thread_pool_shutdown_op::thread_pool_shutdown_op(thread_pool_state& pool) noexcept
    : operation(kind), pool_(pool) {}

thread_pool_shutdown_op::thread_pool_shutdown_op(thread_pool_shutdown_op&& other) noexcept
    : operation(std::move(other)), pool_(other.pool_) {}

void thread_pool_shutdown_op::start() noexcept {
    if (!pool_.shut_down(*this))
        complete();
}

void thread_pool_shutdown_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<thread_pool_shutdown_op&>(op);
    if (self.pool_.forget(self))
        self.stopped();
}

void thread_pool_shutdown_op::await_resume() noexcept { pool_.join(); }

} // namespace weft::detail

namespace weft {

thread_pool::thread_pool(const thread_pool_options& options) : thread_pool(options, nullptr) {}

thread_pool::thread_pool(const thread_pool_options& options, std::function<void()> initialiser)
    : state_(std::make_unique<detail::thread_pool_state>(options, std::move(initialiser))) {}

thread_pool::~thread_pool() = default;

detail::thread_pool_shutdown_op thread_pool::shutdown() noexcept {
    return detail::thread_pool_shutdown_op(*state_);
}

task<> thread_pool::shutdown(shutdown_options how) {
    state_->stop_accepting();
    if (how.cancel_pending) {
        drops_.store(true, std::memory_order_relaxed);
        state_->drop_pending();
    }
    if (how.wait)
        co_await shutdown();
}

unsigned thread_pool::size() const noexcept { return state_->size(); }

thread_pool_statistics thread_pool::statistics() const { return state_->statistics(); }

} // namespace weft
