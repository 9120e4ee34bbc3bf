// SPDX-License-Identifier: MIT
#include <weft/executors/detail/pool_stream.hpp>

#include "../impl/pool_hub.hpp"

#include <stdexcept>

namespace weft::detail {

const pool_request_type pool_stream::type{begins, returns, leaves, gives};
const operation_type pool_stream::wait_op::kind{cancel_wait, "an item from a process pool"};

pool_stream::pool_stream(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                         ipc::archive_writer call, const stream_window& window)
    : pool_request(std::move(hub), function, std::move(call), type), window_(window) {
    if (window.items == 0 || window.bytes == 0)
        throw std::invalid_argument("process_pool: a sequence that may not be ahead of its reader");
    ask_for_items(window);
}

void pool_stream::start() {
    started_ = true;
    holders_.store(2, std::memory_order_relaxed); // the pool doesn't know it yet
    if (hand_in())
        return;
    holders_.store(1, std::memory_order_relaxed);
    ended_ = true;
    static_cast<void>(check());
}

std::optional<pool_message> pool_stream::take() {
    std::optional<pool_message> item;
    bool left = false;
    {
        std::lock_guard lock(mutex_);
        left = ended_;
        if (!items_.empty()) {
            item = std::move(items_.front());
            items_.pop_front();
        }
    }
    if (!item) {
        static_cast<void>(check());
        return std::nullopt;
    }
    ++taken_;
    taken_bytes_ += item->size();
    // Not each time, and before a worker that waits for it would have nothing left that can be
    // taken.
    if (!left && (taken_ * 2 >= window_.items || taken_bytes_ * 2 >= window_.bytes)) {
        grant(std::exchange(taken_, 0));
        taken_bytes_ = 0;
    }
    return item;
}

void pool_stream::drop() noexcept {
    bool pool_has_it = false;
    {
        std::lock_guard lock(mutex_);
        pool_has_it = started_ && !ended_;
        dropped_ = true;
        items_.clear();
    }
    const bool pool_gave_it_back = pool_has_it && withdraw_from_pool(); // then it won't leave
    release(pool_gave_it_back ? 2 : 1);
}

void pool_stream::release(int holders) noexcept {
    // acq_rel: who destroys it has to see what the other one did.
    if (holders_.fetch_sub(holders, std::memory_order_acq_rel) == holders)
        delete this;
}

pool_stream::wait_op* pool_stream::claim_reader() noexcept {
    return std::exchange(reader_, nullptr);
}

bool pool_stream::begins(pool_request& r) noexcept {
    auto& self = static_cast<pool_stream&>(r);
    std::lock_guard lock(self.mutex_);
    return !self.dropped_;
}

void pool_stream::returns(pool_request&) noexcept {} // nothing had come of it

bool pool_stream::gives(pool_request& r, pool_message item) noexcept {
    auto& self = static_cast<pool_stream&>(r);
    std::lock_guard lock(self.mutex_);
    if (self.dropped_)
        return true;
    try {
        self.items_.push_back(std::move(item));
    } catch (...) { // no memory for it, and the sequence has a gap
        return false;
    }
    if (wait_op* reader = self.claim_reader())
        reader->come();
    return true;
}

void pool_stream::leaves(pool_request& r) noexcept {
    auto& self = static_cast<pool_stream&>(r);
    {
        std::lock_guard lock(self.mutex_);
        self.ended_ = true;
        if (wait_op* reader = self.claim_reader())
            reader->come();
    }
    self.release();
}

bool pool_stream::wait_op::await_ready() const noexcept {
    std::lock_guard lock(stream_.mutex_);
    return stream_.ended_ || !stream_.items_.empty();
}

void pool_stream::wait_op::start() noexcept {
    std::lock_guard lock(stream_.mutex_);
    if (stream_.ended_ || !stream_.items_.empty())
        complete();
    else
        stream_.reader_ = this;
}

void pool_stream::wait_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<wait_op&>(op);
    {
        std::lock_guard lock(self.stream_.mutex_);
        if (self.stream_.reader_ != &self)
            return; // it has been told
        self.stream_.reader_ = nullptr;
    }
    self.stopped();
}

} // namespace weft::detail
