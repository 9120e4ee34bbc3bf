// SPDX-License-Identifier: MIT
#include "server.hpp"

#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/timeout.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <system_error>

namespace http {
namespace {

/// A client that asks on while it waits for an answer is read no further than this.
constexpr std::size_t asked_ahead = 64 * 1024;
/// How much, and for how long, is read and dropped from a client that has been told to go.
constexpr std::size_t last_words = 4 * 1024 * 1024;
constexpr std::chrono::seconds farewell(1);
/// Clients for whom there is no room, and who get to hear it at the same time. Others are just
/// closed.
constexpr unsigned most_turned_away = 64;

weft::task<> write(weft::tcp_stream& stream, std::string_view text, weft::duration within) {
    co_await weft::with_timeout(within, stream.write_all(weft::as_bytes(text)));
}

/// One that ends the connection.
std::string complete_answer(const response& r) {
    std::string text = head(r, framing::length, false);
    text += r.body;
    return text;
}

weft::task<> drop_input(weft::tcp_stream& stream) {
    for (std::size_t dropped = 0; dropped < last_words;) {
        weft::lent_buffer got = co_await stream.receive();
        if (got.empty())
            co_return;
        dropped += got.size();
    }
}

/// Closing a socket with unread input resets the connection, and then the client may never see the
/// last answer. So: say that there is no more, and listen until the client has understood.
weft::task<> say_goodbye(weft::tcp_stream& stream) {
    stream.shutdown_write();
    [[maybe_unused]] auto how =
        co_await weft::as_result(weft::with_timeout(farewell, drop_input(stream)));
}

weft::task<> say_no(weft::tcp_stream& stream) {
    std::string text =
        complete_answer({.status = 503, .body = reason(503), .fields = "Retry-After: 1\r\n"});
    co_await write(stream, text, farewell);
    co_await say_goodbye(stream);
}

} // namespace

class connection {
public:
    connection(server& s, weft::tcp_stream stream, bool& idle) noexcept
        : server_(s), stream_(std::move(stream)), idle_(idle), parser_(s.options_.limits) {}

    weft::task<> run() {
        // Not `open && co_await ...`: g++ 12 awaits what is on the right in any case.
        while (co_await next_request()) {
            bool open = co_await answer();
            if (!open)
                break;
        }
        if (!gone_)
            co_await say_goodbye(stream_);
    }

private:
    friend class exchange;

    [[nodiscard]] bool keep_alive() const noexcept {
        return parser_.current().keep_alive && !last_ && !server_.ending_;
    }
    weft::task<> send(std::string_view text) {
        try {
            co_await write(stream_, text, server_.options_.write);
        } catch (...) {
            gone_ = true; // who doesn't take it in time, or has reset the connection
            throw;
        }
    }
    weft::task<> refuse(int status) {
        std::string text = complete_answer({.status = status, .body = reason(status)});
        co_await send(text);
    }
    /// How long the client may take for the part that it is at.
    [[nodiscard]] weft::duration patience(phase p) const noexcept {
        const server_options& o = server_.options_;
        return p == phase::idle ? o.idle : p == phase::head ? o.head : o.body;
    }

    /// Reads until the parser has a request. False: there won't be one, and the client has been
    /// told so if it asked.
    weft::task<bool> next_request();
    /// Gives whether there may be a next request.
    weft::task<bool> answer();
    /// Waits for bytes. False: the client sends no more.
    weft::task<bool> receive() {
        weft::lent_buffer got = co_await stream_.receive();
        // What belongs to the next request is copied, so that no buffer is held while this one is
        // answered.
        std::string_view text = got.text();
        if (parser_.where() != phase::complete && ahead_.empty())
            text.remove_prefix(parser_.feed(text));
        ahead_ += text;
        co_return !got.empty();
    }

    server& server_;
    weft::tcp_stream stream_;
    bool& idle_;
    request_parser parser_;
    std::string ahead_; // bytes after the current request
    bool gone_ = false; // the client sends no more, or takes no more
    bool last_ = false; // the answer is as long as the connection
};

weft::task<bool> connection::next_request() {
    parser_.next();
    ahead_.erase(0, parser_.feed(ahead_));
    phase at = phase::idle;
    weft::time_point deadline = weft::deadline_after(patience(at));
    bool invited = false;
    while (parser_.where() != phase::complete && parser_.where() != phase::failed) {
        if (phase now = parser_.where(); now != at) {
            at = now;
            deadline = weft::deadline_after(patience(at));
        }
        if (at == phase::idle && server_.ending_)
            co_return false;
        if (parser_.expects_continue() && !std::exchange(invited, true))
            co_await send("HTTP/1.1 100 Continue\r\n\r\n");
        idle_ = true;
        bool late = false;
        try {
            gone_ = !co_await weft::with_deadline(deadline, receive());
        } catch (const weft::timeout_error&) {
            late = true;
        }
        idle_ = false;
        if (late || gone_) {
            if (parser_.where() != phase::idle)
                co_await refuse(late ? 408 : 400);
            co_return false;
        }
    }
    if (parser_.where() == phase::failed) {
        co_await refuse(parser_.failure());
        co_return false;
    }
    co_return true;
}

weft::task<bool> connection::answer() {
    exchange x(*this);
    std::exception_ptr error;
    try {
        co_await server_.handler_(x);
    } catch (...) {
        error = std::current_exception();
    }
    if (gone_) // whatever else went wrong then, nobody is there to be told
        co_return false;
    if (error)
        fmt::print(stderr, "{} {}: {}\n", x.asked().method, x.asked().target,
                   weft::describe(error));
    if (!x.answered())
        co_await refuse(500);
    co_return !error && !x.streaming_ && x.answered() && keep_alive();
}

// --- exchange ------------------------------------------------------------------------------------

const request& exchange::asked() const noexcept { return connection_.parser_.current(); }
bool exchange::ending() const noexcept { return connection_.server_.ending_; }

weft::task<> exchange::respond(response r) {
    answered_ = true;
    std::string text = head(r, framing::length, connection_.keep_alive());
    if (asked().method != "HEAD")
        text += r.body;
    co_await connection_.send(text);
}

weft::task<> exchange::start_stream(response r) {
    answered_ = streaming_ = true;
    connection_.last_ = asked().minor_version ==
                        0; // which has no chunks: the end of the connection is that of the body
    framing f = connection_.last_ ? framing::until_close : framing::chunked;
    std::string text = head(r, f, connection_.keep_alive());
    co_await connection_.send(text);
}

weft::task<> exchange::send(std::string_view piece) {
    if (piece.empty()) // would say that it is the end
        co_return;
    std::string text =
        connection_.last_ ? std::string(piece) : fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
    co_await connection_.send(text);
}

weft::task<> exchange::end_stream() {
    streaming_ = false;
    if (!connection_.last_)
        co_await connection_.send("0\r\n\r\n");
}

weft::task<> exchange::hang_up() {
    try {
        while (connection_.ahead_.size() < asked_ahead) {
            if (!co_await connection_.receive()) {
                connection_.gone_ = true;
                co_return;
            }
        }
    } catch (const std::system_error&) { // reset
        connection_.gone_ = true;
        co_return;
    }
    co_await weft::sleep_until(weft::never); // it has asked enough to be kept waiting
}

// --- server --------------------------------------------------------------------------------------

server::seat::~seat() {
    if (server_ == nullptr)
        return;
    server_->guests_.erase(place_);
    if (server_->guests_.empty() && server_->ending_)
        server_->all_gone_.set();
}

server::server(weft::tcp_listener listener, handler h, const server_options& options)
    : listener_(std::move(listener)), handler_(std::move(h)), options_(options) {}

weft::task<> server::run(weft::task<> until) {
    co_await weft::with_task_group([this, &until](weft::task_group& group) -> weft::task<> {
        weft::task_handle<> accepting = group.spawn(accept(group));
        co_await std::move(until);

        ending_ = true;
        accepting.cancel();
        co_await listener_.close();
        for (auto next = guests_.begin(); next != guests_.end();)
            if (guest& g = *next++; g.idle)
                g.task.cancel();
        if (!guests_.empty()) {
            [[maybe_unused]] auto in_time =
                co_await weft::as_result(weft::with_timeout(options_.drain, all_gone_.wait()));
        }
        group.cancel();
    });
}

weft::task<> server::accept(weft::task_group& group) {
    for (;;) {
        weft::tcp_stream stream = co_await listener_.accept();
        if (guests_.size() < options_.max_connections) {
            seat place(*this);
            guest& g = *place;
            g.task = group.spawn(welcome(std::move(stream), std::move(place)));
        } else if (turning_away_ < most_turned_away) {
            group.spawn(turn_away(std::move(stream)));
        }
    }
}

weft::task<> server::welcome(weft::tcp_stream stream, seat place) {
    // Parameters live as long as the frame, which the guest's handle keeps: this place must be free
    // when the body ends.
    seat mine = std::move(place);
    connection c(*this, std::move(stream), (*mine).idle);
    try {
        co_await c.run();
    } catch (const std::system_error&) {   // the client has reset the connection
    } catch (const weft::timeout_error&) { // or doesn't take what it asked for
    } catch (const std::exception& e) {
        fmt::print(stderr, "a connection was closed: {}\n", e.what());
    }
}

weft::task<> server::turn_away(weft::tcp_stream stream) {
    ++turning_away_;
    [[maybe_unused]] auto how = co_await weft::as_result(say_no(stream));
    --turning_away_;
}

} // namespace http
