// SPDX-License-Identifier: MIT
// An echo server on Asio, with coroutines. Prints its port.
#include <asio.hpp>

#include <array>
#include <cstdio>
#include <exception>

// Known at compile time: no type-erased executor in each object.
using executor = asio::io_context::executor_type;
using token = asio::use_awaitable_t<executor>;
using tcp_socket = token::as_default_on_t<asio::basic_stream_socket<asio::ip::tcp, executor>>;
using tcp_acceptor = token::as_default_on_t<asio::basic_socket_acceptor<asio::ip::tcp, executor>>;

static asio::awaitable<void, executor> serve(tcp_socket socket) {
    try {
        std::array<char, 4096> buffer;
        while (true) {
            std::size_t n = co_await socket.async_read_some(asio::buffer(buffer));
            co_await asio::async_write(socket, asio::buffer(buffer, n), token());
        }
    } catch (const std::exception&) { // the end of the stream is an exception, too
    }
}

static asio::awaitable<void, executor> listen(tcp_acceptor& acceptor) {
    while (true) {
        tcp_socket socket = co_await acceptor.async_accept();
        socket.set_option(asio::ip::tcp::no_delay(true));
        co_spawn(acceptor.get_executor(), serve(std::move(socket)), asio::detached);
    }
}

int main() {
    asio::io_context context(1);
    tcp_acceptor acceptor(context.get_executor(), {asio::ip::address_v4::loopback(), 0});
    std::printf("port\t%u\n", unsigned{acceptor.local_endpoint().port()});
    std::fflush(stdout);
    co_spawn(context, listen(acceptor), asio::detached);
    context.run();
}
