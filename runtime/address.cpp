// SPDX-License-Identifier: MIT
#include <weft/runtime/address.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/un.h>

namespace weft {

static_assert(sizeof(sockaddr_un) <= socket_address::capacity &&
              sizeof(sockaddr_in6) <= socket_address::capacity);

template <class Native>
Native socket_address::as() const noexcept {
    Native n{};
    std::memcpy(&n, storage_, std::min<std::size_t>(sizeof n, size_));
    return n;
}

namespace {

template <class Native>
socket_address from(const Native& n, std::size_t size = sizeof(Native)) noexcept {
    return socket_address::from_native(reinterpret_cast<const sockaddr*>(&n), size);
}

socket_address ipv4(in_addr_t host_order, std::uint16_t port) noexcept {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(host_order);
    return from(a);
}

socket_address ipv6(const in6_addr& ip, std::uint16_t port) noexcept {
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(port);
    a.sin6_addr = ip;
    return from(a);
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return port;
}

// A scope is a number or the name of an interface.
std::optional<std::uint32_t> parse_scope(std::string_view text) noexcept {
    std::uint32_t index = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error == std::errc() && end == text.data() + text.size())
        return index;
    char name[IF_NAMESIZE] = {};
    if (text.empty() || text.size() >= sizeof name)
        return std::nullopt;
    text.copy(name, sizeof name - 1);
    index = ::if_nametoindex(name);
    if (index == 0)
        return std::nullopt;
    return index;
}

std::optional<socket_address> unix_address(std::string_view name, bool abstract) noexcept {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    if (name.size() > sizeof a.sun_path - 1)
        return std::nullopt;
    if (!abstract && (name.empty() || name.find('\0') != name.npos))
        return std::nullopt;
    std::memcpy(a.sun_path + (abstract ? 1 : 0), name.data(), name.size());
    // A path counts its final null, an abstract name its leading one.
    return from(a, offsetof(sockaddr_un, sun_path) + name.size() + 1);
}

} // namespace

std::optional<socket_address> socket_address::try_ip(std::string_view host,
                                                     std::uint16_t port) noexcept {
    char text[INET6_ADDRSTRLEN + 1] = {};
    std::string_view scope;
    if (std::size_t at = host.find('%'); at != host.npos) {
        scope = host.substr(at + 1);
        host = host.substr(0, at);
        if (scope.empty())
            return std::nullopt;
    }
    if (host.size() >= sizeof text)
        return std::nullopt;
    host.copy(text, sizeof text - 1);
    in_addr v4{};
    if (scope.empty() && ::inet_pton(AF_INET, text, &v4) == 1)
        return ipv4(ntohl(v4.s_addr), port);
    in6_addr v6{};
    if (::inet_pton(AF_INET6, text, &v6) != 1)
        return std::nullopt;
    socket_address a = ipv6(v6, port);
    if (!scope.empty()) {
        auto index = parse_scope(scope);
        if (!index)
            return std::nullopt;
        auto n = a.as<sockaddr_in6>();
        n.sin6_scope_id = *index;
        a = from(n);
    }
    return a;
}

std::optional<socket_address> socket_address::try_parse(std::string_view text) noexcept {
    if (text.starts_with("unix:@"))
        return unix_address(text.substr(6), true);
    if (text.starts_with("unix:"))
        return unix_address(text.substr(5), false);
    std::size_t colon = text.rfind(':');
    if (colon == text.npos)
        return std::nullopt;
    auto port = parse_port(text.substr(colon + 1));
    std::string_view host = text.substr(0, colon);
    bool brackets = host.starts_with('[') && host.ends_with(']');
    if (brackets)
        host = host.substr(1, host.size() - 2);
    // Without brackets nobody knows which colon is the last of the address.
    if (!port || brackets != (host.find(':') != host.npos))
        return std::nullopt;
    return try_ip(host, *port);
}

socket_address socket_address::parse(std::string_view text) {
    auto a = try_parse(text);
    if (!a)
        throw std::invalid_argument(fmt::format("not an address: '{}'", text));
    return *a;
}

socket_address socket_address::ipv4_loopback(std::uint16_t port) noexcept {
    return ipv4(INADDR_LOOPBACK, port);
}
socket_address socket_address::ipv4_any(std::uint16_t port) noexcept {
    return ipv4(INADDR_ANY, port);
}
socket_address socket_address::ipv6_loopback(std::uint16_t port) noexcept {
    return ipv6(in6addr_loopback, port);
}
socket_address socket_address::ipv6_any(std::uint16_t port) noexcept {
    return ipv6(in6addr_any, port);
}

socket_address socket_address::unix_path(std::string_view path) {
    auto a = unix_address(path, false);
    if (!a)
        throw std::invalid_argument(
            fmt::format("a unix socket can't have the path '{}' of {} bytes", path, path.size()));
    return *a;
}

socket_address socket_address::unix_abstract(std::string_view name) {
    auto a = unix_address(name, true);
    if (!a)
        throw std::invalid_argument(
            fmt::format("an abstract name of {} bytes is too long", name.size()));
    return *a;
}

socket_address socket_address::from_native(const sockaddr* a, std::size_t size) noexcept {
    socket_address result;
    result.size_ = static_cast<std::uint32_t>(std::min(size, sizeof result.storage_));
    std::memcpy(result.storage_, a, result.size_);
    return result;
}

address_family socket_address::family() const noexcept {
    if (size_ < sizeof(sa_family_t))
        return address_family::none;
    switch (as<sockaddr>().sa_family) {
    case AF_UNSPEC:
        return address_family::none;
    case AF_INET:
        return address_family::ipv4;
    case AF_INET6:
        return address_family::ipv6;
    case AF_UNIX:
        return address_family::unix_domain;
    default:
        return address_family::other;
    }
}

std::uint16_t socket_address::port() const noexcept {
    switch (family()) {
    case address_family::ipv4:
        return ntohs(as<sockaddr_in>().sin_port);
    case address_family::ipv6:
        return ntohs(as<sockaddr_in6>().sin6_port);
    default:
        return 0;
    }
}

socket_address socket_address::with_port(std::uint16_t port) const noexcept {
    switch (family()) {
    case address_family::ipv4: {
        auto n = as<sockaddr_in>();
        n.sin_port = htons(port);
        return from(n);
    }
    case address_family::ipv6: {
        auto n = as<sockaddr_in6>();
        n.sin6_port = htons(port);
        return from(n);
    }
    default:
        return *this;
    }
}

std::string socket_address::host() const {
    char text[INET6_ADDRSTRLEN] = {};
    switch (family()) {
    case address_family::ipv4: {
        auto n = as<sockaddr_in>();
        return ::inet_ntop(AF_INET, &n.sin_addr, text, sizeof text);
    }
    case address_family::ipv6: {
        auto n = as<sockaddr_in6>();
        std::string host = ::inet_ntop(AF_INET6, &n.sin6_addr, text, sizeof text);
        return n.sin6_scope_id == 0 ? host : fmt::format("{}%{}", host, n.sin6_scope_id);
    }
    case address_family::unix_domain: {
        auto n = as<sockaddr_un>();
        std::size_t length = size_ - offsetof(sockaddr_un, sun_path);
        if (length == 0)
            return {}; // a socket that was never bound
        if (n.sun_path[0] == '\0')
            return "@" + std::string(n.sun_path + 1, length - 1);
        return std::string(n.sun_path, ::strnlen(n.sun_path, length));
    }
    default:
        return {};
    }
}

std::string socket_address::to_string() const {
    switch (family()) {
    case address_family::ipv4:
        return fmt::format("{}:{}", host(), port());
    case address_family::ipv6:
        return fmt::format("[{}]:{}", host(), port());
    case address_family::unix_domain:
        return "unix:" + host();
    case address_family::other:
        return fmt::format("family {}", as<sockaddr>().sa_family);
    case address_family::none:
        break;
    }
    return "no address";
}

bool socket_address::is_loopback() const noexcept {
    switch (family()) {
    case address_family::ipv4:
        return (ntohl(as<sockaddr_in>().sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    case address_family::ipv6: {
        auto n = as<sockaddr_in6>();
        bool mapped = IN6_IS_ADDR_V4MAPPED(&n.sin6_addr);
        return IN6_IS_ADDR_LOOPBACK(&n.sin6_addr) ||
               (mapped && n.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
    }
    default:
        return false;
    }
}

bool operator==(const socket_address& a, const socket_address& b) noexcept {
    return a.size_ == b.size_ && std::memcmp(a.storage_, b.storage_, a.size_) == 0;
}

} // namespace weft
