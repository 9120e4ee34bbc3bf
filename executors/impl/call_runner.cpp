// SPDX-License-Identifier: MIT
#include "call_runner.hpp"

#include "call_setting.hpp"
#include "worker_voice.hpp"

#include <weft/executors/detail/pool_function.hpp>
#include <weft/ipc/detail/stack_trace.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/registry.hpp>
#include <weft/runtime/context.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/timeout.hpp>

#include <new>
#include <utility>

namespace weft::detail {

namespace {
constinit thread_local worker_call* current_call = nullptr;
} // namespace

worker_call::worker_call() noexcept : outer_(std::exchange(current_call, this)) {}
worker_call::~worker_call() { current_call = outer_; }

worker_call& worker_call::current() {
    if (current_call == nullptr)
        throw state_error("a worker's function was called elsewhere than in a worker");
    return *current_call;
}

namespace {
// Lets the loop be seen while a task runs there.
class loop_in_use {
public:
    explicit loop_in_use(worker_call& c) : call_(c) { call_.runs_on(&this_loop()); }
    loop_in_use(const loop_in_use&) = delete;
    loop_in_use& operator=(const loop_in_use&) = delete;
    ~loop_in_use() { call_.runs_on(nullptr); }

private:
    worker_call& call_;
};
task<> on_seen_loop(task<> t, worker_call& call) {
    loop_in_use here(call);
    co_await std::move(t);
}
} // namespace

void run_in_worker(task<> t, const std::stop_token& stop) {
    worker_call& call = worker_call::current();
    try {
        sync_wait(with_stop_token(stop, on_seen_loop(std::move(t), call)));
        call.ended(false);
    } catch (const cancelled_error&) {
        if (!stop.stop_requested())
            throw; // its own idea
        call.ended(true);
    }
}

class call_runner::running final : public worker_call {
public:
    running(call_runner& of, const frame_header& h) noexcept : of_(of), header_(h) {}
    ~running() = default;

    // Throws what the function throws.
    void run(const worker_link::message& m, ipc::archive_writer& answer) {
        if (m.lacks_payload)
            throw std::bad_alloc();
        const std::span<const std::byte> message = m.payload;
        call_setting setting;
        if (header_.kind == frame_kind::task_in_setting)
            setting = call_setting(message);
        ipc::archive_reader in(message.first(message.size() - setting.size()));
        const auto id = in.read_value<std::uint64_t>();
        const ipc::function_entry& function =
            ipc::find_function(id, in.read_value<std::uint64_t>());
        const std::stop_token stop =
            of_.desk_.begin(header_.task, function.takes_stop(), setting.window());
        if (header_.kind == frame_kind::initialise) {
            function.invoke(in, answer, stop);
            return;
        }
        // A call sees the variables that the initialiser set, and what it sets ends with it.
        context_scope variables(capture_context());
        deadline_scope until(setting.deadline());
        worker_voice::set_log_level(setting.least_logged());
        setting.set_variables();
        function.invoke(in, answer, stop);
    }
    // After the end.
    [[nodiscard]] bool was_stopped() {
        const bool asked = of_.desk_.end();
        return by_stop_.value_or(asked);
    }

private:
    ipc::archive_writer new_item() const override { return of_.link_.writer(); }
    void send_item(ipc::archive_writer& item) override {
        of_.desk_.sent(item.size());
        of_.link_.send(item, frame_kind::item, header_.task);
    }
    bool has_room() override { return of_.desk_.has_room(); }
    task<> room() override { return of_.desk_.room(); }
    void runs_on(loop* l) override { of_.desk_.runs_on(l); }

    call_runner& of_;
    const frame_header& header_;
};

bool call_runner::is_plain(const worker_link::message& m) noexcept {
    if (m.header.kind != frame_kind::task)
        return false;
    try {
        ipc::archive_reader in(m.payload);
        const auto id = in.read_value<std::uint64_t>();
        return !ipc::find_function(id, in.read_value<std::uint64_t>()).takes_stop();
    } catch (...) { // as run() will find out
        return false;
    }
}

void call_runner::run(const worker_link::message& m) {
    ipc::detail::stack_trace trace;
    bool failed = false;
    ipc::archive_writer answer = link_.writer();
    running call(*this, m.header);
    struct arguments {
        running& call;
        const worker_link::message& message;
        ipc::archive_writer& answer;
    } all{call, m, answer};
    try {
        ipc::detail::call_traced(
            [](void* p) {
                auto& a = *static_cast<arguments*>(p);
                a.call.run(a.message, a.answer);
            },
            &all, trace);
    } catch (...) {
        failed = true;
        answer.rewind(0);
        ipc::encode_error(answer, std::current_exception(), trace.text());
    }
    const bool stopped = call.was_stopped();
    link_.send(answer, failed ? frame_kind::error : frame_kind::result, m.header.task, stopped);
}

} // namespace weft::detail
