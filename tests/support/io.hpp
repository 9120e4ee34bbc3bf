// SPDX-License-Identifier: MIT
// What tests of I/O share: a bound on each run, a directory that goes away, the kernels to run on.
//
//     TEST_CASE("pipe: carries bytes") {
//         run_within(10s, carry_bytes());        // throws timeout_error if that takes longer
//     }
//
// Threads:      the thread that runs the test. Cancellation: none. Errors: none of its own.
// Cost:         none. Source: none.
#pragma once
#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weft::tests {

using namespace std::chrono_literals;

/// How many times as long as usual anything may take: $WEFT_SLOWER, as for tools/test.
inline int slower() {
    const char* n = std::getenv("WEFT_SLOWER");
    return n == nullptr ? 1 : std::max(1, std::atoi(n));
}

template <class T>
T run_within(std::chrono::seconds limit, task<T> t, const runtime_options& options = {}) {
    return weft::run(as_task(with_timeout(limit * slower(), std::move(t))), options);
}

class temp_dir {
public:
    temp_dir() {
        char name[] = "/tmp/weft-test-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    temp_dir(const temp_dir&) = delete;
    temp_dir& operator=(const temp_dir&) = delete;
    ~temp_dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// Everything, nothing, and everything but each one.
inline std::vector<kernel_feature> feature_sets() {
    std::vector<kernel_feature> sets{kernel_feature::all, kernel_feature::none};
    for (auto bit = static_cast<std::uint32_t>(kernel_feature::defer_taskrun);
         bit <= static_cast<std::uint32_t>(kernel_feature::silent_write); bit <<= 1)
        sets.push_back(~static_cast<kernel_feature>(bit));
    return sets;
}

inline bool has_ipv6() {
    int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    auto a = socket_address::ipv6_loopback(0);
    bool bound = ::bind(fd, a.data(), a.size()) == 0;
    ::close(fd);
    return bound;
}

/// $WEFT_SEED, or one that was never there before.
inline std::uint64_t seed() {
    if (const char* s = std::getenv("WEFT_SEED"))
        return std::strtoull(s, nullptr, 0);
    return std::random_device{}();
}

/// An address at which nobody listens, for as long as the socket is there.
inline socket_address unheard_address(descriptor& socket) {
    socket.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto any = socket_address::ipv4_loopback(0);
    sockaddr_in at{};
    socklen_t size = sizeof at;
    if (::bind(socket.get(), any.data(), any.size()) != 0 ||
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
        throw std::system_error(errno, std::generic_category(), "an address of nobody");
    return socket_address::ipv4_loopback(ntohs(at.sin_port));
}

/// Both ends of a TCP connection over loopback.
inline task<std::pair<tcp_stream, tcp_stream>>
tcp_pair(socket_address a = socket_address::ipv4_loopback(0)) {
    auto listener = listen_tcp(a);
    auto client = co_await connect_tcp(listener.local_address());
    auto server = co_await listener.accept();
    co_await listener.close();
    co_return std::pair(std::move(client), std::move(server));
}

} // namespace weft::tests
