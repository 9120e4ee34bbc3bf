// SPDX-License-Identifier: MIT
// An echo server that spends memory only on connections which have something to say: the loop lends
// them a buffer. Prints its port.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>

#include <cstdio>
#include <system_error>

static weft::task<> serve(weft::tcp_stream stream) {
    try {
        while (weft::lent_buffer data = co_await stream.receive())
            co_await stream.write_all(data);
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

int main() { weft::run(listen()); }
