// SPDX-License-Identifier: MIT
// Sends back whatever its clients send, to any number of them at once.
//
//     build/plain/examples/echo_server [PORT]       7000 if none is given; 0 takes any free port
//
// Prints "echoing on 127.0.0.1:7000" and, when SIGINT or SIGTERM has ended it, how many bytes it
// sent back to how many clients. Talk to it with echo_client.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/timeout.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace {

struct totals {
    std::uint64_t clients = 0;
    std::uint64_t bytes = 0;
};

weft::task<> echo(weft::tcp_stream client, totals& all) {
    ++all.clients;
    // What goes wrong with one client ends this task alone: an error that left it would end the
    // group.
    try {
        // A buffer is taken when there are bytes, so a client that is silent costs none. One that
        // doesn't read would keep it: hence the bound.
        while (weft::lent_buffer data = co_await client.receive()) {
            co_await weft::with_timeout(std::chrono::seconds(30), client.write_all(data));
            all.bytes += data.size();
        }
    } catch (const std::exception& e) {
        fmt::print(stderr, "a client is gone: {}\n", e.what());
    }
}

weft::task<> accept_all(weft::tcp_listener& listener, weft::task_group& group, totals& all) {
    while (true)
        group.spawn(echo(co_await listener.accept(), all));
}

weft::task<> serve(weft::socket_address address) {
    weft::signal_set stop(SIGINT, SIGTERM);
    weft::tcp_listener listener = weft::listen_tcp(address);
    fmt::print("echoing on {}\n", listener.local_address().to_string());
    std::fflush(stdout);

    totals all;
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        group.spawn(accept_all(listener, group, all));
        co_await stop.next();
        group.cancel(); // the group ends when all its children have
    });
    fmt::print("{} bytes for {} clients\n", all.bytes, all.clients);
}

} // namespace

int main(int argc, char** argv) {
    try {
        std::string port = argc > 1 ? argv[1] : "7000";
        weft::run(serve(weft::socket_address::parse("127.0.0.1:" + port)));
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
