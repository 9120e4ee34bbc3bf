// SPDX-License-Identifier: MIT
// Addresses of sockets and their text.
//
//     void show() {
//         // Also "[::1]:8080", "unix:/run/x", "unix:@abstract".
//         auto a = weft::socket_address::parse("127.0.0.1:8080");
//         fmt::print("{} has port {}\n", a.to_string(), a.port());
//         auto any_free_port = weft::socket_address::ipv6_loopback(0);
//         fmt::print("{}\n", any_free_port.to_string());              // [::1]:0
//     }
//
// Threads:      a value like any other.
// Cancellation: none.
// Errors:       std::invalid_argument for text that is no address.
// Cost:         120 bytes; only to_string allocates.
// Source:       the kernel's sockaddr types.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;

namespace weft {

enum class address_family : std::uint8_t { none, ipv4, ipv6, unix_domain, other };

class socket_address {
public:
    /// No address.
    socket_address() noexcept = default;

    /// From text: "1.2.3.4:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/a/path", "unix:@abstract".
    /// Names aren't looked up: see resolve.hpp.
    static socket_address parse(std::string_view text);
    static std::optional<socket_address> try_parse(std::string_view text) noexcept;
    /// From the text of an IP address and a port.
    static std::optional<socket_address> try_ip(std::string_view host, std::uint16_t port) noexcept;
    static socket_address ipv4_loopback(std::uint16_t port) noexcept;
    static socket_address ipv6_loopback(std::uint16_t port) noexcept;
    /// Every address of this machine.
    static socket_address ipv4_any(std::uint16_t port) noexcept;
    static socket_address ipv6_any(std::uint16_t port) noexcept;
    /// A path in the file system, at most 107 bytes.
    static socket_address unix_path(std::string_view path);
    /// A name outside of the file system, at most 107 bytes. Any program of this network namespace
    /// can connect to it.
    static socket_address unix_abstract(std::string_view name);
    /// From what the kernel gave.
    static socket_address from_native(const ::sockaddr* a, std::size_t size) noexcept;

    [[nodiscard]] address_family family() const noexcept;
    /// 0 if it has none.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The same with another port. Does nothing to those that have none.
    [[nodiscard]] socket_address with_port(std::uint16_t port) const noexcept;
    /// The address without the port: "127.0.0.1", "::1", or the path.
    [[nodiscard]] std::string host() const;
    /// What parse() reads.
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] bool is_loopback() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] const ::sockaddr* data() const noexcept {
        return reinterpret_cast<const ::sockaddr*>(storage_);
    }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

    /// How many bytes there are behind data() for the kernel to write an address to.
    static constexpr std::uint32_t capacity = 112;

    friend bool operator==(const socket_address& a, const socket_address& b) noexcept;

private:
    template <class Native>
    Native as() const noexcept;
    alignas(8) std::byte storage_[capacity] = {};
    std::uint32_t size_ = 0;
};

} // namespace weft
