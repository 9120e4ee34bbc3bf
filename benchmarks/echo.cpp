// SPDX-License-Identifier: MIT
// An echo server. Prints its port.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>

#include <cstdio>
#include <span>
#include <system_error>

static weft::task<> serve(weft::tcp_stream stream) {
    try {
        std::byte buffer[4096];
        while (std::size_t n = co_await stream.read_some(buffer))
            co_await stream.write_all(std::span(buffer, n));
    } catch (const std::system_error&) { // the client has gone away
    }
}

static weft::task<> listen() {
    weft::tcp_listener listener =
        weft::listen_tcp(weft::socket_address::ipv4_loopback(0), {.backlog = 4096});
    std::printf("port\t%u\n", unsigned{listener.local_address().port()});
    std::fflush(stdout);
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        while (true)
            group.spawn(serve(co_await listener.accept()));
    });
}

int main() { weft::run(listen(), {.ring_entries = 1024}); }
