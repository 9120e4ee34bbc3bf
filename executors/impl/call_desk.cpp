// SPDX-License-Identifier: MIT
#include "call_desk.hpp"

#include "worker_voice.hpp"

#include <weft/runtime/introspect.hpp>

#include <utility>

namespace weft::detail {

std::stop_token call_desk::begin(std::uint64_t id, bool takes_stop, const stream_window& window) {
    std::stop_token token;
    {
        std::lock_guard lock(mutex_);
        running_ = id;
        source_ = takes_stop ? std::stop_source() : std::stop_source(std::nostopstate);
        if (stopped_ == id) // the stop was faster than the task
            source_.request_stop();
        window_ = window;
        untaken_.clear();
        untaken_bytes_ = 0;
        token = source_.get_token();
    }
    if (window.items != 0)
        wakes_.emplace(token, waker{changed_});
    return token;
}

bool call_desk::end() {
    wakes_.reset();
    std::lock_guard lock(mutex_);
    running_ = 0;
    return std::exchange(source_, std::stop_source(std::nostopstate)).stop_requested();
}

void call_desk::stop(std::uint64_t id) {
    source_to_stop(id).request_stop(); // runs callbacks of the task, so not under the lock
}

std::stop_source call_desk::source_to_stop(std::uint64_t id) {
    std::lock_guard lock(mutex_);
    stopped_ = id;
    return running_ == id ? source_ : std::stop_source(std::nostopstate);
}

void call_desk::credit(std::uint64_t id, std::uint32_t items) {
    {
        std::lock_guard lock(mutex_);
        if (running_ != id)
            return; // it has ended
        for (; items != 0 && !untaken_.empty(); --items) {
            untaken_bytes_ -= untaken_.front();
            untaken_.pop_front();
        }
    }
    changed_.set();
}

void call_desk::runs_on(loop* l) {
    std::lock_guard lock(mutex_);
    loop_ = l;
}

void call_desk::tell_tasks(std::uint64_t question) {
    {
        std::lock_guard lock(mutex_);
        if (loop_ != nullptr) {
            loop_->post(
                [question] { worker_voice::tell_tasks(question, to_string(capture_tasks())); });
            return;
        }
    }
    worker_voice::tell_tasks(question, {});
}

void call_desk::sent(std::size_t bytes) {
    std::lock_guard lock(mutex_);
    untaken_.push_back(bytes);
    untaken_bytes_ += bytes;
}

bool call_desk::has_room() {
    std::lock_guard lock(mutex_);
    return untaken_.size() < window_.items && untaken_bytes_ < window_.bytes;
}

task<> call_desk::room() {
    std::stop_token stop;
    {
        std::lock_guard lock(mutex_);
        stop = source_.get_token();
    }
    while (true) {
        changed_.clear(); // what happens from here on sets it
        if (has_room() || stop.stop_requested())
            break;
        co_await changed_.wait();
    }
}

} // namespace weft::detail
