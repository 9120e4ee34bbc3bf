// SPDX-License-Identifier: MIT
// Streams with a buffer: lines, delimiters and exact amounts to read; many small writes that leave
// together, with back-pressure.
//
//     weft::task<> greeter(weft::tcp_stream s) {
//         weft::buffered_reader in(s);
//         weft::buffered_writer out(s);
//         while (true) {
//             std::string line = co_await in.read_line();         // with its '\n'
//             if (line.empty())
//                 break;                                          // the end
//             out.write("hello, ");
//             out.write(line);
//             co_await out.drain();
//         }
//     }
//
// Threads:      as the stream's. The stream must outlive its reader and writer.
// Cancellation: a stopped read leaves all that came in the buffer; the next read finds it there. A
//               stopped drain leaves what isn't written to the next one.
// Errors:       as the stream's; what had come before stays in the buffer. state_error if two tasks
//               read at the same time, or for a write after the end. truncated_error, with what
//               there was, if the end comes too early. limit_error if there is no delimiter within
//               the limit, or no room for what is written.
// Cost:         a reader without data has no buffer yet. A read that finds its data there is a task
//               that doesn't suspend.
// Source:       asyncio's StreamReader and StreamWriter.
#pragma once
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/stream.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace weft {

struct reader_options {
    /// How many bytes may come before a delimiter.
    std::size_t limit = std::size_t{64} * 1024;
    /// How many bytes the stream is asked for at once, at least.
    std::size_t chunk = std::size_t{8} * 1024;
};

namespace detail {

// Bytes that were read and not taken yet, and room behind them.
class read_buffer {
public:
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    [[nodiscard]] std::string_view text() const noexcept {
        return {memory_.get() + begin_, size()};
    }
    /// Room for `n` bytes at least. What was there may move.
    std::span<std::byte> room(std::size_t n);
    void filled(std::size_t n) noexcept { end_ += n; }
    void drop(std::size_t n) noexcept;
    /// Takes the first `n` bytes out.
    std::string take(std::size_t n);

private:
    std::unique_ptr<char[]> memory_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

// Looks for the delimiter that ends first, a piece of the text at a time.
class delimiter_search {
public:
    delimiter_search(std::span<const std::string_view> delimiters, std::size_t limit);
    /// How many bytes the text has up to the end of the delimiter, or 0 if more must come. Throws
    /// limit_error. `text` is what it was last time, with more behind it.
    std::size_t find(std::string_view text);

private:
    std::span<const std::string_view> delimiters_;
    std::size_t limit_;
    std::size_t longest_ = 0;
    std::size_t looked_at_ = 0; // no delimiter begins before this
};

} // namespace detail

template <byte_reader R>
class buffered_reader {
public:
    explicit buffered_reader(R& from, const reader_options& options = {}) noexcept
        : from_(&from), options_(options) {}
    buffered_reader(const buffered_reader&) = delete;
    buffered_reader& operator=(const buffered_reader&) = delete;

    /// At least one byte; 0 at the end, or if there is no room.
    task<std::size_t> read_some(std::span<std::byte> into) {
        entry in(*this);
        if (into.empty())
            co_return 0;
        if (buffer_.size() == 0 && into.size() >= options_.chunk)
            co_return co_await from_->read_some(into);
        if (buffer_.size() == 0)
            buffer_.filled(co_await from_->read_some(buffer_.room(options_.chunk)));
        std::size_t n = std::min(into.size(), buffer_.size());
        auto have = as_bytes(buffer_.text()).first(n);
        std::copy(have.begin(), have.end(), into.begin());
        buffer_.drop(n);
        co_return n;
    }

    /// Up to `n` bytes: at least one, unless the stream has ended or `n` is 0.
    task<std::string> read(std::size_t n) {
        entry in(*this);
        if (n != 0 && buffer_.size() == 0)
            buffer_.filled(co_await from_->read_some(buffer_.room(options_.chunk)));
        co_return buffer_.take(std::min(n, buffer_.size()));
    }

    /// Everything up to the end of the stream. limit_error if that is more than `limit` bytes,
    /// which stay in the buffer.
    task<std::string> read_all(std::size_t limit) {
        entry in(*this);
        while (std::size_t n = co_await from_->read_some(buffer_.room(options_.chunk))) {
            buffer_.filled(n);
            if (buffer_.size() > limit)
                throw limit_error("the stream is longer than the limit", buffer_.size());
        }
        co_return buffer_.take(buffer_.size());
    }

    /// Exactly `n` bytes. The end before that is a truncated_error.
    task<std::string> read_exactly(std::size_t n) {
        entry in(*this);
        while (buffer_.size() < n) {
            std::size_t more = co_await from_->read_some(buffer_.room(options_.chunk));
            if (more == 0)
                throw truncated_error(buffer_.take(buffer_.size()), n);
            buffer_.filled(more);
        }
        co_return buffer_.take(n);
    }

    /// Up to and with the delimiter. With several, the one that ends first counts. The end before
    /// that is a truncated_error; limit_error leaves everything where it is.
    task<std::string> read_until(std::span<const std::string_view> delimiters) {
        entry in(*this);
        detail::delimiter_search search(delimiters, options_.limit);
        while (true) {
            if (std::size_t n = search.find(buffer_.text()))
                co_return buffer_.take(n);
            std::size_t more = co_await from_->read_some(buffer_.room(options_.chunk));
            if (more == 0)
                throw truncated_error(buffer_.take(buffer_.size()), 0);
            buffer_.filled(more);
        }
    }
    task<std::string> read_until(std::string_view delimiter) {
        co_return co_await read_until(std::span(&delimiter, 1));
    }

    /// A line with its '\n'; at the end of the stream what there is without one, or nothing. If it
    /// is longer than the limit, limit_error, and what was read of it is dropped.
    task<std::string> read_line() {
        entry in(*this);
        constexpr std::string_view newline = "\n";
        detail::delimiter_search search(std::span(&newline, 1), options_.limit);
        while (true) {
            std::size_t n = 0;
            try {
                n = search.find(buffer_.text());
            } catch (const limit_error& e) {
                bool ends_there = buffer_.text().substr(e.consumed()).starts_with(newline);
                buffer_.drop(ends_there ? e.consumed() + 1 : buffer_.size());
                throw;
            }
            if (n != 0)
                co_return buffer_.take(n);
            std::size_t more = co_await from_->read_some(buffer_.room(options_.chunk));
            if (more == 0)
                co_return buffer_.take(buffer_.size());
            buffer_.filled(more);
        }
    }

    /// What has been read ahead. Valid until the next read.
    [[nodiscard]] std::string_view buffered() const noexcept { return buffer_.text(); }
    /// Waits for more behind it. Gives how many bytes came; 0 at the end of the stream.
    task<std::size_t> fill() {
        entry in(*this);
        std::size_t n = co_await from_->read_some(buffer_.room(options_.chunk));
        buffer_.filled(n);
        co_return n;
    }
    /// Takes the first `n` bytes out of what is buffered.
    void consume(std::size_t n) noexcept { buffer_.drop(n); }

    [[nodiscard]] std::size_t limit() const noexcept { return options_.limit; }

private:
    // One reader at a time.
    class entry {
    public:
        explicit entry(buffered_reader& r) : reader_(r) {
            if (r.reading_)
                throw state_error("a task is reading from this stream already");
            r.reading_ = true;
        }
        entry(const entry&) = delete;
        entry& operator=(const entry&) = delete;
        ~entry() { reader_.reading_ = false; }

    private:
        buffered_reader& reader_;
    };

    R* from_;
    detail::read_buffer buffer_;
    reader_options options_;
    bool reading_ = false;
};

struct writer_options {
    /// drain() waits until less than this is left.
    std::size_t high_water = std::size_t{64} * 1024;
    /// write() takes no more than this.
    std::size_t limit = std::size_t{1024} * 1024;
};

namespace detail {

template <class W>
concept half_closes = requires(W& w) { w.shutdown_write(); };
template <class W>
concept closes = requires(W& w) {
    { w.close() } -> awaitable;
};

class drained_op;

// What was written and not sent yet, and who waits for it to become less. One task at a time sends,
// from a buffer that no write touches.
class write_buffer {
public:
    explicit write_buffer(const writer_options& options) noexcept : options_(options) {}
    write_buffer(const write_buffer&) = delete;
    write_buffer& operator=(const write_buffer&) = delete;

    [[nodiscard]] std::size_t size() const noexcept {
        return sending_.size() - sent_ + filling_.size();
    }
    [[nodiscard]] std::size_t room() const noexcept {
        return size() < options_.limit ? options_.limit - size() : 0;
    }
    [[nodiscard]] const writer_options& options() const noexcept { return options_; }
    [[nodiscard]] bool sending() const noexcept { return busy_; }
    void append(std::span<const const_buffer> parts);
    /// From now on nothing can be added.
    void end() noexcept { ended_ = true; }
    [[nodiscard]] bool ended() const noexcept { return ended_; }
    /// Throws what ended the stream, a new object each time.
    void check() const;

    void begin_sending() noexcept { busy_ = true; }
    /// What to send next; empty if nothing is left.
    [[nodiscard]] std::span<const std::byte> next() noexcept;
    void sent(std::size_t n) noexcept;
    void failed(const std::exception_ptr& e) noexcept;
    void end_sending() noexcept;

private:
    friend class drained_op;
    void wake(std::size_t left) noexcept;

    writer_options options_;
    std::vector<std::byte> filling_;
    std::vector<std::byte> sending_;
    std::size_t sent_ = 0; // of sending_
    drained_op* first_ = nullptr;
    drained_op* last_ = nullptr;
    std::error_code error_;
    std::string error_text_;
    bool failed_ = false;
    bool busy_ = false;
    bool ended_ = false;
};

// Waits until at most `most` bytes are left, or nobody sends any more.
class [[nodiscard]] drained_op : public operation {
public:
    drained_op(write_buffer& b, std::size_t most) noexcept
        : operation(kind), buffer_(b), most_(most) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            enter();
        return true;
    }
    void await_resume() const noexcept {}

private:
    friend class write_buffer;
    void enter() noexcept;
    void leave() noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;
    write_buffer& buffer_;
    std::size_t most_;
    drained_op* next_ = nullptr;
    drained_op* previous_ = nullptr;
};

} // namespace detail

template <byte_writer W>
class buffered_writer {
public:
    explicit buffered_writer(W& to, const writer_options& options = {}) noexcept
        : to_(&to), buffer_(options) {}
    buffered_writer(const buffered_writer&) = delete;
    buffered_writer& operator=(const buffered_writer&) = delete;

    /// Adds bytes to what is to be sent. Sends nothing by itself: drain() or flush() does.
    /// limit_error, with nothing added, if there would be more than the limit.
    void write(std::span<const std::byte> bytes) {
        const_buffer all(bytes);
        buffer_.append(std::span(&all, 1));
    }
    void write(std::string_view text) { write(as_bytes(text)); }
    /// The same for pieces that needn't lie together.
    void write(std::span<const const_buffer> parts) { buffer_.append(parts); }

    /// Sees to it that what was written gets sent: sends all of it, or, if another task is doing
    /// that, waits until less than the high-water mark is left. Throws if the stream has failed,
    /// also if it was another task that noticed.
    task<> drain() {
        std::size_t mark = buffer_.options().high_water;
        return send_until(mark == 0 ? 0 : mark - 1);
    }
    /// Waits until everything has been sent.
    task<> flush() { return send_until(0); }

    /// Buffers what there is room for, and drains. Makes this a byte_writer.
    task<std::size_t> write_some(std::span<const std::byte> bytes) {
        while (!bytes.empty() && buffer_.room() == 0)
            co_await send_until(buffer_.options().limit - 1);
        std::size_t n = std::min(bytes.size(), buffer_.room());
        write(bytes.first(n));
        co_await drain();
        co_return n;
    }

    /// Sends what was written and tells the peer that nothing more will come; reading goes on. From
    /// then on each write is a state_error.
    task<> shutdown_write()
        requires(detail::half_closes<W>)
    {
        buffer_.end();
        co_await flush();
        to_->shutdown_write();
    }
    /// Sends what was written and closes the stream. If that can't be sent, the stream is closed
    /// all the same, and the error thrown.
    task<> close()
        requires(detail::closes<W>)
    {
        buffer_.end();
        std::exception_ptr unsent;
        try {
            co_await flush();
        } catch (...) {
            unsent = std::current_exception();
        }
        co_await to_->close();
        if (unsent)
            std::rethrow_exception(unsent);
    }
    /// Whether shutdown_write() or close() was begun.
    [[nodiscard]] bool is_closing() const noexcept { return buffer_.ended(); }

    /// How many bytes wait to be sent.
    [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size(); }

private:
    // Whoever sends has the role until everything is sent; when it is stopped before that, those
    // who wait find out and one of them takes over.
    class sender {
    public:
        explicit sender(detail::write_buffer& b) noexcept : buffer_(b) { b.begin_sending(); }
        sender(const sender&) = delete;
        sender& operator=(const sender&) = delete;
        ~sender() { buffer_.end_sending(); }

    private:
        detail::write_buffer& buffer_;
    };

    task<> send_until(std::size_t most) {
        while (true) {
            buffer_.check();
            if (!buffer_.sending())
                break;
            if (buffer_.size() <= most)
                co_return;
            co_await detail::drained_op(buffer_, most);
        }
        sender role(buffer_);
        for (auto piece = buffer_.next(); !piece.empty(); piece = buffer_.next()) {
            try {
                std::size_t n = co_await to_->write_some(piece);
                buffer_.sent(n);
            } catch (...) {
                buffer_.failed(std::current_exception());
                throw;
            }
        }
    }

    W* to_;
    detail::write_buffer buffer_;
};

} // namespace weft
