// SPDX-License-Identifier: MIT
// An HTTP/1.1 server: one task for each connection, which answers one request after the other.
//
//     weft::task<> hello(http::exchange& x) {
//         co_await x.respond({.body = "hello\n"});
//     }
//     weft::task<> serve_for_a_minute(weft::tcp_listener listener) {
//         http::server server(std::move(listener), hello);
//         co_await server.run(weft::sleep_for(std::chrono::minutes(1)));
//     }
//
// Threads:      the loop that runs it.
// Cancellation: stopping run() closes all connections at once. A handler is stopped with its
//               connection.
// Errors:       what clients do wrong is answered, and ends their connection at most. What a
//               handler throws is a 500.
// Cost:         an idle connection holds its task and its parser; buffers are lent by the loop
//               when bytes come.
// Source:       RFC 9112; the end of a connection follows its section 9.6.
#pragma once
#include "http.hpp"

#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/time.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/event.hpp>

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace http {

struct server_options {
    http::limits limits = {};
    unsigned max_connections = 1000;
    weft::duration idle = std::chrono::seconds(60); // for the first byte of a request
    weft::duration head = std::chrono::seconds(10); // from there to the end of its fields
    weft::duration body = std::chrono::seconds(30); // from there to its end
    weft::duration write =
        std::chrono::seconds(30); // for the client to take an answer, or a piece of a stream
    weft::duration drain =
        std::chrono::seconds(5); // for requests that run when the server is told to end
};

class connection;

/// A T, or whether there was one.
template <class T>
using if_there = std::conditional_t<std::is_void_v<T>, bool, std::optional<T>>;

/// One request, and the way to answer it.
class exchange {
public:
    explicit exchange(connection& c) noexcept : connection_(c) {}

    [[nodiscard]] const request& asked() const noexcept;
    /// Whether an answer was begun.
    [[nodiscard]] bool answered() const noexcept { return answered_; }
    /// Whether the server is about to end. Who streams should look now and then.
    [[nodiscard]] bool ending() const noexcept;

    /// Answers. Once.
    weft::task<> respond(response r);
    /// Answers at length: start_stream, any number of send, end_stream.
    weft::task<> start_stream(response r);
    weft::task<> send(std::string_view piece);
    weft::task<> end_stream();

    /// Does some work as long as the client waits for it: when it hangs up, the work is stopped.
    /// Gives what the work gave, or nothing (false, if it gives nothing anyway) if the client is
    /// gone. A client that closes only its own direction counts as gone: the two look alike, and a
    /// browser that gives up is the common one.
    template <weft::awaitable A>
    weft::task<if_there<weft::task_result_t<A>>> while_waited_for(A work);

private:
    weft::task<> hang_up();

    connection& connection_;
    bool answered_ = false;
    bool streaming_ = false;
    friend class connection;
};

using handler = std::function<weft::task<>(exchange&)>;

class server {
public:
    server(weft::tcp_listener listener, handler h, const server_options& options = {});

    /// Serves until `until` has ended. Then accepts nothing more, closes what is idle, and gives
    /// requests that run the time that the options say.
    weft::task<> run(weft::task<> until);

    [[nodiscard]] std::size_t connections() const noexcept { return guests_.size(); }

private:
    friend class connection;
    friend class exchange;

    /// What the server knows of a connection.
    struct guest {
        weft::task_handle<> task = {};
        bool idle =
            false; // no request has come whole: when the server ends, it needn't wait for this one
    };
    /// A place in the list of guests, for as long as the connection's task exists, run or not.
    class seat {
    public:
        explicit seat(server& s) : server_(&s), place_(s.guests_.emplace(s.guests_.end())) {}
        seat(seat&& other) noexcept
            : server_(std::exchange(other.server_, nullptr)), place_(other.place_) {}
        ~seat();
        guest& operator*() const noexcept { return *place_; }

    private:
        server* server_;
        std::list<guest>::iterator place_;
    };

    weft::task<> accept(weft::task_group& group);
    weft::task<> welcome(weft::tcp_stream stream, seat place);
    weft::task<> turn_away(weft::tcp_stream stream);

    weft::tcp_listener listener_;
    handler handler_;
    server_options options_;
    std::list<guest> guests_;
    weft::event all_gone_;
    unsigned turning_away_ = 0;
    bool ending_ = false;
};

// -------------------------------------------------------------------------------------------------

template <weft::awaitable A>
weft::task<if_there<weft::task_result_t<A>>> exchange::while_waited_for(A work) {
    using T = weft::task_result_t<A>;
    auto outcome = co_await weft::when_any(std::move(work), hang_up());
    weft::result<T>& done = std::get<0>(outcome.results());
    if (done.stopped())
        co_return if_there<T>();
    if constexpr (std::is_void_v<T>) {
        done.value();
        co_return true;
    } else {
        co_return if_there<T>(std::move(done).value());
    }
}

} // namespace http
