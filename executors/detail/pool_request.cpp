// SPDX-License-Identifier: MIT
#include <weft/executors/detail/pool_request.hpp>

#include "../impl/call_setting.hpp"
#include "../impl/function_name.hpp"
#include "../impl/pool_frame.hpp"
#include "../impl/pool_hub.hpp"

#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/timeout.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace weft::detail {

ipc::archive_writer call_message(const ipc::function_entry& function) {
    ipc::archive_writer out(sizeof(frame_header));
    out.write_value(function.id());
    out.write_value(function.signature());
    return out;
}

ipc::archive_writer call_message(pool_hub& hub, const ipc::function_entry& function) {
    ipc::archive_writer out(sizeof(frame_header),
                            ipc::byte_buffer(hub.blocks(), shared_blocks::least));
    out.write_value(function.id());
    out.write_value(function.signature());
    return out;
}

pool_request::pool_request(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                           ipc::archive_writer call, const pool_request_type& type)
    : hub_(std::move(hub)), type_(&type), function_(&function), call_(std::move(call)),
      takes_stop_(function.takes_stop()) {
    function.check();
    grace = hub_->stop_grace();
}

bool pool_request::hand_in() noexcept {
    try {
        in_setting_ = call_setting::append(call_, std::min(deadline, current_deadline()), window_);
    } catch (...) { // a variable that can't travel
        own_refusal_ = std::current_exception();
        refused_ = refusal::own;
        return false;
    }
    message_ = call_.take();
    // Nobody waits behind a sequence either.
    bulky = message_.size() - sizeof(frame_header) > lane_slot::room || window_.items != 0;
    switch (hub_->submit(*this)) {
    case pool_machine::answer::accepted:
        return true;
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
    return false;
}

bool pool_request::withdraw_from_pool() noexcept {
    return refused_ == refusal::none && hub_->cancel(*this);
}

void pool_request::grant(std::uint32_t items) noexcept { hub_->grant(*this, items); }

bool pool_request::counts_as_stopped() const noexcept {
    if (outcome == task_outcome::stopped)
        return true;
    // A function that could see the stop and returned after it gave up half-way; what it returned
    // is no result.
    if (outcome != task_outcome::finished || !cancel_asked || !stop_seen_ || !takes_stop_)
        return false;
    return !answer_is_error_ || says_cancelled();
}

bool pool_request::says_cancelled() const noexcept {
    try {
        ipc::archive_reader in(answer_.bytes());
        std::rethrow_exception(ipc::decode_error(in));
    } catch (const cancelled_error&) {
        return true;
    } catch (...) { // an error all the same
        return false;
    }
}

namespace {

[[noreturn]] void throw_lost(const pool_task& t, const ipc::function_entry& f) {
    const std::string function = function_name(f.name());
    ipc::worker_lost::details d;
    d.function = function;
    d.tag = t.tag;
    d.ran_for = t.ran_for;
    if (!t.end)
        throw ipc::worker_lost(t.pid, ipc::exit_status(), d);
    d.out_of_memory = t.end->out_of_memory;
    d.last_words = t.end->last_words;
    throw ipc::worker_lost(t.pid, t.end->status, d);
}

} // namespace

std::span<const std::byte> pool_request::check() {
    switch (refused_) {
    case refusal::full:
        throw limit_error(
            "the process pool has as many tasks waiting as it may have (max_pending)");
    case refusal::closed:
        throw state_error("the process pool was shut down and takes no more tasks");
    case refusal::broken:
        hub_->throw_broken();
    case refusal::own:
        std::rethrow_exception(std::exchange(own_refusal_, nullptr));
    case refusal::none:
        break;
    }
    switch (outcome) {
    case task_outcome::finished:
        if (late && stop_seen_ && takes_stop_ && (!answer_is_error_ || says_cancelled()))
            throw timeout_error(); // it was asked to stop, and did
        if (answer_is_error_) {
            ipc::archive_reader in(answer_.bytes());
            std::rethrow_exception(ipc::decode_error(in));
        }
        if (stop_seen_ && takes_stop_)
            throw ipc::pool_terminated(); // the same, by the pool
        return answer_.bytes();
    case task_outcome::timed_out:
        throw timeout_error();
    case task_outcome::lost:
        throw_lost(*this, *function_);
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

// --- For a future --------------------------------------------------------------------------------

const pool_request_type pool_submission_base::type{begins, returns, leaves};

pool_submission_base::pool_submission_base(future_record& of, std::shared_ptr<pool_hub> hub,
                                           const ipc::function_entry& function,
                                           ipc::archive_writer call)
    : pool_request(std::move(hub), function, std::move(call), type), of_(of) {
    droppable = true;
}

void pool_submission_base::post() {
    if (hand_in())
        return;
    try {
        static_cast<void>(check());
    } catch (...) {
        of_.release();
        throw;
    }
}

void pool_submission_base::cancelled() noexcept {
    if (withdraw_from_pool()) {
        forget_messages();
        of_.release();
    }
}

void pool_submission_base::asked_to_stop() noexcept {
    if (!withdraw_from_pool())
        return;
    forget_messages();
    if (of_.core.cancel() == future_phase::running) // it waited to be tried again
        of_.core.give_up();
    of_.release();
}

bool pool_submission_base::begins(pool_request& r) noexcept {
    return static_cast<pool_submission_base&>(r).of_.core.start() == future_phase::pending;
}

void pool_submission_base::returns(pool_request& r) noexcept {
    static_cast<pool_submission_base&>(r).of_.core.unclaim(future_phase::pending);
}

void pool_submission_base::leaves(pool_request& r) noexcept {
    auto& self = static_cast<pool_submission_base&>(r);
    future_record& record = self.of_;
    if (!record.ended() && (self.begun() || record.core.start() == future_phase::pending)) {
        if (self.counts_as_stopped()) {
            record.core.give_up();
        } else {
            try {
                self.decode(self.check());
                self.forget_messages();
                record.finish_value();
            } catch (...) {
                self.forget_messages();
                record.finish_error(std::current_exception());
            }
        }
    }
    record.release();
}

} // namespace weft::detail
