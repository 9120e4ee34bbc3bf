// SPDX-License-Identifier: MIT
#include <weft/runtime/buffered_stream.hpp>

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <stdexcept>

namespace weft::detail {

// --- Reading -------------------------------------------------------------------------------------

namespace {
// An empty buffer that has grown larger than this is given up.
constexpr std::size_t worth_keeping = std::size_t{128} * 1024;
} // namespace

std::span<std::byte> read_buffer::room(std::size_t n) {
    if (capacity_ - end_ < n) {
        std::size_t have = size();
        if (capacity_ - have >= n && have <= begin_) { // moving is cheaper than growing
            std::memcpy(memory_.get(), memory_.get() + begin_, have);
        } else {
            std::size_t larger = std::max(have + n, capacity_ + capacity_ / 2);
            std::unique_ptr<char[]> m(new char[larger]); // not value-initialised
            if (have != 0)
                std::memcpy(m.get(), memory_.get() + begin_, have);
            memory_ = std::move(m);
            capacity_ = larger;
        }
        begin_ = 0;
        end_ = have;
    }
    return std::as_writable_bytes(std::span(memory_.get() + end_, capacity_ - end_));
}

void read_buffer::drop(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ != end_)
        return;
    begin_ = end_ = 0;
    if (capacity_ > worth_keeping) {
        memory_.reset();
        capacity_ = 0;
    }
}

std::string read_buffer::take(std::size_t n) {
    std::string taken(text().substr(0, n));
    drop(n);
    return taken;
}

delimiter_search::delimiter_search(std::span<const std::string_view> delimiters, std::size_t limit)
    : delimiters_(delimiters), limit_(limit) {
    if (delimiters.empty())
        throw std::invalid_argument("no delimiter to read to");
    for (std::string_view d : delimiters) {
        if (d.empty())
            throw std::invalid_argument("an empty delimiter");
        longest_ = std::max(longest_, d.size());
    }
}

std::size_t delimiter_search::find(std::string_view text) {
    std::size_t begin = text.npos;
    std::size_t end = text.npos;
    for (std::string_view d : delimiters_) {
        std::size_t at = text.find(d, looked_at_);
        if (at != text.npos && at + d.size() < end) {
            begin = at;
            end = at + d.size();
        }
    }
    if (end != text.npos) {
        if (begin > limit_)
            throw limit_error(
                fmt::format("the delimiter comes after {} bytes; the limit is {}", begin, limit_),
                begin);
        return end;
    }
    // One that isn't complete yet may begin within the last bytes.
    looked_at_ = std::max(looked_at_, text.size() < longest_ ? 0 : text.size() + 1 - longest_);
    if (looked_at_ > limit_)
        throw limit_error(fmt::format("no delimiter within the limit of {} bytes", limit_),
                          looked_at_);
    return 0;
}

// --- Writing -------------------------------------------------------------------------------------

const operation_type drained_op::kind{cancel_wait, "drain"};

void write_buffer::append(std::span<const const_buffer> parts) {
    check();
    if (ended_)
        throw state_error("a write after the end of the stream");
    std::size_t left = room();
    for (const const_buffer& part : parts) {
        if (part.size() > left)
            throw limit_error(
                fmt::format("{} bytes are waiting to be sent, these would exceed the limit of {}",
                            size(), options_.limit),
                size());
        left -= part.size();
    }
    std::size_t before = filling_.size();
    try {
        for (const const_buffer& part : parts)
            filling_.insert(filling_.end(), part.bytes().begin(), part.bytes().end());
    } catch (...) { // all of them or none
        filling_.resize(before);
        throw;
    }
}

void write_buffer::check() const {
    if (!failed_)
        return;
    if (error_)
        throw std::system_error(error_, error_text_);
    throw error(error_text_);
}

std::span<const std::byte> write_buffer::next() noexcept {
    if (sent_ == sending_.size()) {
        sending_.clear();
        sent_ = 0;
        std::swap(sending_, filling_);
    }
    return std::span(sending_).subspan(sent_);
}

void write_buffer::sent(std::size_t n) noexcept {
    sent_ += n;
    wake(size());
}

void write_buffer::failed(const std::exception_ptr& e) noexcept {
    failed_ = true;
    try {
        try {
            std::rethrow_exception(e);
        } catch (const std::system_error& known) {
            error_ = known.code();
            error_text_ = known.what();
            // what() ends with the message of the code, which a new error would add once more.
            std::string end = ": " + error_.message();
            if (error_text_.ends_with(end))
                error_text_.resize(error_text_.size() - end.size());
        } catch (...) {
            error_text_ = describe(e);
        }
    } catch (const std::bad_alloc&) { // the fact that it failed is what counts
        error_text_.clear();
    }
}

void write_buffer::end_sending() noexcept {
    busy_ = false;
    wake(0);
}

// Those who wait for no more than `left` bytes, in the order in which they came.
void write_buffer::wake(std::size_t left) noexcept {
    for (drained_op* op = first_; op != nullptr;) {
        drained_op* next = op->next_;
        if (left <= op->most_) {
            op->leave();
            op->complete();
        }
        op = next;
    }
}

void drained_op::enter() noexcept {
    previous_ = buffer_.last_;
    (previous_ != nullptr ? previous_->next_ : buffer_.first_) = this;
    buffer_.last_ = this;
}

void drained_op::leave() noexcept {
    (previous_ != nullptr ? previous_->next_ : buffer_.first_) = next_;
    (next_ != nullptr ? next_->previous_ : buffer_.last_) = previous_;
}

void drained_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<drained_op&>(op);
    self.leave();
    self.stopped();
}

} // namespace weft::detail
