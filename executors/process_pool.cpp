// SPDX-License-Identifier: MIT
#include <weft/executors/process_pool.hpp>

#include "impl/pool_frame.hpp"
#include "impl/pool_hub.hpp"

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>

#include <utility>

namespace weft {

process_pool::process_pool(const process_pool_options& options) {
    ipc::detail::require_worker_entry("process_pool");
    hub_ = std::make_shared<detail::pool_hub>(this_loop(), options);
    detail::pool_hub::start(hub_);
}

process_pool::process_pool(const process_pool_options& options,
                           const ipc::function_entry& initialiser, ipc::archive_writer call) {
    ipc::detail::require_worker_entry("process_pool");
    initialiser.check();
    hub_ = std::make_shared<detail::pool_hub>(this_loop(), options, call.take());
    detail::pool_hub::start(hub_);
}

process_pool::~process_pool() { hub_->terminate(); }

void process_pool::terminate() noexcept { hub_->terminate(); }

process_pool_statistics process_pool::statistics() const { return hub_->statistics(); }

detail::pool_shutdown_op process_pool::shutdown() noexcept { return shutdown_until(never); }

detail::pool_shutdown_op process_pool::shutdown_until(time_point deadline) noexcept {
    return detail::pool_shutdown_op(hub_, deadline);
}

namespace detail {

ipc::archive_writer call_message(const ipc::function_entry& function) {
    ipc::archive_writer out(sizeof(frame_header));
    out.write_value(function.id());
    out.write_value(function.signature());
    return out;
}

// --- A call --------------------------------------------------------------------------------------

const operation_type pool_call_base::kind{cancel_call, "a process pool's answer"};

pool_call_base::homecoming::homecoming(pool_call_base& c) noexcept
    : work([](work& w) noexcept { static_cast<homecoming&>(w).call.arrive(); }), call(c) {}

pool_call_base::pool_call_base(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                               const submit_options& options)
    : operation(kind), arguments_(call_message(function)), hub_(std::move(hub)), homecoming_(*this),
      takes_stop_(function.takes_stop()) {
    function.check();
    priority = static_cast<std::uint8_t>(options.priority);
    retries = options.retry;
    tag = options.tag;
    grace = options.stop_grace < duration::zero() ? hub_->stop_grace() : options.stop_grace;
}

pool_call_base::pool_call_base(pool_call_base&& other) noexcept
    : operation(std::move(other)), pool_task(other), arguments_(std::move(other.arguments_)),
      hub_(std::move(other.hub_)), homecoming_(*this), takes_stop_(other.takes_stop_) {}

pool_call_base::~pool_call_base() = default;

void pool_call_base::start() noexcept {
    message_ = arguments_.take();
    switch (hub_->submit(*this)) {
    case pool_machine::answer::accepted:
        return;
    case pool_machine::answer::full:
        refused_ = refusal::full;
        break;
    case pool_machine::answer::closed:
        refused_ = refusal::closed;
        break;
    case pool_machine::answer::broken:
        refused_ = refusal::broken;
        break;
    }
    complete();
}

void pool_call_base::cancel_call(operation& op) noexcept {
    auto& self = static_cast<pool_call_base&>(op);
    if (self.refused_ == refusal::none && self.hub_->cancel(self))
        self.stopped();
}

void pool_call_base::leave_pool() noexcept {
    runner* home = owner().run_by;
    if (home == runner::current())
        arrive();
    else
        home->post(homecoming_);
}

void pool_call_base::arrive() noexcept {
    if (counts_as_stopped())
        stopped();
    else
        complete();
}

bool pool_call_base::counts_as_stopped() const noexcept {
    if (outcome == task_outcome::stopped)
        return true;
    // A function that could see the stop and returned after it gave up half-way; what it returned
    // is no result.
    if (outcome != task_outcome::finished || !cancel_asked || !stop_seen_ || !takes_stop_)
        return false;
    if (!answer_is_error_)
        return true;
    try {
        ipc::archive_reader in(answer_.bytes());
        std::rethrow_exception(ipc::decode_error(in));
    } catch (const cancelled_error&) {
        return true;
    } catch (...) { // an error all the same
        return false;
    }
}

std::span<const std::byte> pool_call_base::check() {
    switch (refused_) {
    case refusal::full:
        throw limit_error("the process pool has as many tasks waiting as it may have");
    case refusal::closed:
        throw state_error("the process pool was shut down and takes no more tasks");
    case refusal::broken:
        hub_->throw_broken();
    case refusal::none:
        break;
    }
    switch (outcome) {
    case task_outcome::finished:
        if (answer_is_error_) {
            ipc::archive_reader in(answer_.bytes());
            std::rethrow_exception(ipc::decode_error(in));
        }
        if (stop_seen_ && takes_stop_)
            throw ipc::pool_terminated(); // the pool asked it to stop, and it did
        return answer_.bytes();
    case task_outcome::lost:
        throw ipc::worker_lost(pid, status);
    case task_outcome::terminated:
        throw ipc::pool_terminated();
    case task_outcome::broken:
        hub_->throw_broken();
    case task_outcome::no_worker:
        throw_errno(error_number, "process_pool: starting a worker", "/proc/self/exe");
    case task_outcome::stopped:
    case task_outcome::none:
        break;
    }
    WEFT_ASSERT(false, "a call came back from its pool without an outcome");
    return {};
}

// --- Shutdown ------------------------------------------------------------------------------------

const operation_type pool_shutdown_op::kind{cancel_wait, "the end of a process pool"};

pool_shutdown_op::homecoming::homecoming(pool_shutdown_op& o) noexcept
    : work([](work& w) noexcept { static_cast<homecoming&>(w).op.complete(); }), op(o) {}

pool_shutdown_op::pool_shutdown_op(std::shared_ptr<pool_hub> hub, time_point deadline) noexcept
    : operation(kind), hub_(std::move(hub)), deadline_(deadline), homecoming_(*this) {}

pool_shutdown_op::pool_shutdown_op(pool_shutdown_op&& other) noexcept
    : operation(std::move(other)), hub_(std::move(other.hub_)), deadline_(other.deadline_),
      homecoming_(*this) {}

pool_shutdown_op::~pool_shutdown_op() = default;

void pool_shutdown_op::start() noexcept {
    if (!hub_->shut_down(*this))
        complete();
}

void pool_shutdown_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<pool_shutdown_op&>(op);
    if (self.hub_->forget(self))
        self.stopped();
}

void pool_shutdown_op::leave_pool(const runner& pools) noexcept {
    runner* home = owner().run_by;
    if (home == &pools)
        complete();
    else
        home->post(homecoming_);
}

} // namespace detail
} // namespace weft
