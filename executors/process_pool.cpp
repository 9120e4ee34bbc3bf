// SPDX-License-Identifier: MIT
#include <weft/executors/process_pool.hpp>

#include "impl/pool_hub.hpp"

#include <weft/executors/error.hpp>
#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/loop.hpp>

#include <algorithm>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace weft {

namespace {
// The caller's loop, with the ring through which it hears of workers: one that can't have a ring
// says so here.
loop& loop_of_pool() {
    loop& l = this_loop();
    static_cast<void>(l.features());
    return l;
}
} // namespace

process_pool::process_pool(const process_pool_options& options) {
    ipc::detail::require_worker_entry("process_pool");
    hub_ = std::make_shared<detail::pool_hub>(loop_of_pool(), options);
    detail::pool_hub::start(hub_);
}

process_pool::process_pool(const process_pool_options& options,
                           const ipc::function_entry& initialiser, ipc::archive_writer call) {
    ipc::detail::require_worker_entry("process_pool");
    initialiser.check();
    hub_ = std::make_shared<detail::pool_hub>(loop_of_pool(), options, call.take());
    detail::pool_hub::start(hub_);
}

process_pool::~process_pool() { hub_->terminate(); }

void process_pool::terminate(duration grace) noexcept { hub_->terminate(grace); }

void process_pool::close() noexcept { hub_->close(); }

detail::pool_shutdown_op process_pool::join() {
    if (!hub_->ends())
        throw state_error("join of a process pool that was neither closed nor terminated");
    return shutdown_until(never);
}

process_pool_statistics process_pool::statistics() const { return hub_->statistics(); }

namespace {
task<process_pool_statistics> inspect_pool(std::shared_ptr<detail::pool_hub> hub,
                                           time_point until) {
    std::shared_ptr<detail::pool_question> q = hub->ask();
    co_await q->answered.wait_until(until);
    process_pool_statistics s = hub->statistics();
    q->put_into(s);
    co_return s;
}

std::string line_of(const process_pool_statistics::worker& w) {
    using state = process_pool_statistics::state;
    switch (w.is) {
    case state::starting:
        return fmt::format("worker {} starts", w.pid);
    case state::idle:
        return fmt::format("worker {} is idle, {} tasks done", w.pid, w.tasks_done);
    case state::ending:
        return fmt::format("worker {} ends", w.pid);
    case state::running:
        break;
    }
    const std::chrono::duration<double> age = w.task_age;
    return fmt::format("worker {} runs {} for {:.3f} s", w.pid, w.function, age.count());
}
} // namespace

std::vector<std::string> lines_of(const process_pool_statistics& s) {
    std::vector<std::string> lines;
    lines.reserve(s.workers.size());
    for (const process_pool_statistics::worker& w : s.workers)
        lines.push_back(line_of(w));
    return lines;
}

std::string to_string(const process_pool_statistics& s) {
    std::string text;
    for (const process_pool_statistics::worker& w : s.workers) {
        text.append(line_of(w)).append("\n");
        std::string_view rest = w.tasks;
        while (!rest.empty()) {
            const std::size_t n = std::min(rest.find('\n'), rest.size());
            text.append("  ").append(rest.substr(0, n)).append("\n");
            rest.remove_prefix(std::min(n + 1, rest.size()));
        }
    }
    return text;
}

task<process_pool_statistics> process_pool::inspect(duration within) {
    return inspect_pool(hub_, deadline_after(within));
}

namespace {
// A worker may have a pool of its own, and tell of its end.
[[maybe_unused]] const bool broken_travels = ipc::register_error<broken_process_pool>();
} // namespace

unsigned process_pool::size() const noexcept { return hub_->size(); }

namespace {
task<> shut_down_pool(std::shared_ptr<detail::pool_hub> hub, shutdown_options how) {
    hub->close();
    if (how.cancel_pending)
        hub->drop_pending();
    if (how.wait)
        co_await detail::pool_shutdown_op(hub, never);
}
} // namespace

task<> process_pool::shutdown(shutdown_options how) { return shut_down_pool(hub_, how); }

detail::pool_shutdown_op process_pool::shutdown() noexcept { return shutdown_until(never); }

detail::pool_shutdown_op process_pool::shutdown_until(time_point deadline) noexcept {
    return detail::pool_shutdown_op(hub_, deadline);
}

namespace detail {

// --- A call --------------------------------------------------------------------------------------

const operation_type pool_call_base::kind{cancel_call, "a process pool's answer"};
const pool_request_type pool_call_base::type{begins, returns, leaves};

pool_call_base::homecoming::homecoming(pool_call_base& c) noexcept
    : work([](work& w) noexcept { static_cast<homecoming&>(w).call.arrive(); }), call(c) {}

pool_call_base::pool_call_base(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                               ipc::archive_writer call)
    : operation(kind), pool_request(std::move(hub), function, std::move(call), type),
      homecoming_(*this) {}

pool_call_base::pool_call_base(pool_call_base&& other) noexcept
    : operation(std::move(other)), pool_request(std::move(other)), homecoming_(*this) {}

pool_call_base::~pool_call_base() = default;

void pool_call_base::start() noexcept {
    if (!hand_in())
        complete();
}

void pool_call_base::cancel_call(operation& op) noexcept {
    auto& self = static_cast<pool_call_base&>(op);
    if (self.withdraw_from_pool())
        self.stopped();
}

bool pool_call_base::begins(pool_request&) noexcept { return true; }

void pool_call_base::returns(pool_request&) noexcept {}

void pool_call_base::leaves(pool_request& r) noexcept {
    auto& self = static_cast<pool_call_base&>(r);
    runner* home = self.owner().run_by;
    if (home == runner::current())
        self.arrive();
    else
        home->post(self.homecoming_);
}

void pool_call_base::arrive() noexcept {
    if (counts_as_stopped())
        stopped();
    else
        complete();
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
