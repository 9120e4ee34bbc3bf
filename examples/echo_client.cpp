// SPDX-License-Identifier: MIT
// Sends its standard input to a server, and what comes back to its standard output, both at once.
//
//     build/plain/examples/echo_client [HOST [PORT]] <file >copy       localhost, 7000 if not given
//
// Ends when the server has closed its side, and then prints "sent N bytes, received M bytes" to
// standard error.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/terminal.hpp>
#include <weft/runtime/when_all.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <string>

namespace {

weft::task<std::uint64_t> send(weft::tcp_stream& server) {
    auto in = weft::standard_input();
    std::uint64_t bytes = co_await weft::copy(in, server);
    server.shutdown_write(); // there is no more; the answer may still be on its way
    co_return bytes;
}

weft::task<std::uint64_t> receive(weft::tcp_stream& server) {
    auto out = weft::standard_output();
    co_return co_await weft::copy(server, out);
}

weft::task<> talk(std::string host, std::uint16_t port) {
    weft::tcp_stream server = co_await weft::connect_tcp(host, port);
    // Both at once: a server whose answers nobody takes would stop taking what is sent.
    auto [sent, received] = co_await weft::when_all(send(server), receive(server));
    fmt::print(stderr, "sent {} bytes, received {} bytes\n", sent, received);
}

} // namespace

int main(int argc, char** argv) {
    try {
        std::string host = argc > 1 ? argv[1] : "localhost";
        // Only the port of it: the name is looked up later, and may have several addresses.
        auto port =
            weft::socket_address::parse(fmt::format("0.0.0.0:{}", argc > 2 ? argv[2] : "7000"));
        weft::run(talk(host, port.port()));
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
