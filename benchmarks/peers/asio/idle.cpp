// SPDX-License-Identifier: MIT
// An echo server on Asio that spends memory only on connections which have something to say: it
// waits until the socket is readable, and reads into a buffer that all share. Prints its port.
#include <asio.hpp>

#include <array>
#include <cstdio>
#include <exception>

using executor = asio::io_context::executor_type;
using token = asio::use_awaitable_t<executor>;
using tcp_socket = token::as_default_on_t<asio::basic_stream_socket<asio::ip::tcp, executor>>;
using tcp_acceptor = token::as_default_on_t<asio::basic_socket_acceptor<asio::ip::tcp, executor>>;

static std::array<char, 4096> buffer;

static asio::awaitable<void, executor> serve(tcp_socket socket) {
    try {
        socket.non_blocking(true);
        while (true) {
            co_await socket.async_wait(tcp_socket::wait_read);
            std::size_t n = socket.read_some(asio::buffer(buffer));
            // A message of this workload always fits into the socket's own buffer.
            if (socket.write_some(asio::buffer(buffer, n)) != n)
                co_return;
        }
    } catch (const std::exception&) {
    }
}

static asio::awaitable<void, executor> listen(tcp_acceptor& acceptor) {
    while (true) {
        tcp_socket socket = co_await acceptor.async_accept();
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
