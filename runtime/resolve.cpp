// SPDX-License-Identifier: MIT
#include <weft/runtime/resolve.hpp>

#include "impl/helper_threads.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <memory>
#include <netdb.h>
#include <sys/socket.h>

namespace weft {

namespace {

class gai_category : public std::error_category {
public:
    const char* name() const noexcept override { return "resolve"; }
    std::string message(int code) const override { return ::gai_strerror(code); }
};

class question {
public:
    question(std::string host, std::uint16_t port, address_family family) noexcept
        : host_(std::move(host)), port_(port), family_(family) {}

    std::vector<socket_address> operator()() const {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM; // each address once, not once for each kind of socket
        hints.ai_family = family_ == address_family::ipv4   ? AF_INET
                          : family_ == address_family::ipv6 ? AF_INET6
                                                            : AF_UNSPEC;
        addrinfo* found = nullptr;
        int error = ::getaddrinfo(host_.c_str(), nullptr, &hints, &found);
        std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
        if (error == EAI_SYSTEM)
            throw_errno(errno, "resolve", fmt::format("{}:{}", host_, port_));
        if (error != 0)
            throw std::system_error(error, resolve_category(),
                                    fmt::format("resolve {}:{}", host_, port_));
        std::vector<socket_address> all;
        for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
            auto next = socket_address::from_native(a->ai_addr, a->ai_addrlen).with_port(port_);
            if (std::find(all.begin(), all.end(), next) == all.end())
                all.push_back(next);
        }
        return all;
    }

private:
    std::string host_;
    std::uint16_t port_;
    address_family family_;
};

constexpr detail::operation_type resolve_kind{detail::helper_op<question>::cancel, "resolve"};

} // namespace

const std::error_category& resolve_category() noexcept {
    static const gai_category c;
    return c;
}

task<std::vector<socket_address>> resolve(std::string host, std::uint16_t port,
                                          resolve_options options) {
    if (host.find('\0') != host.npos) // the resolver would see another name
        throw std::system_error(EAI_NONAME, resolve_category(),
                                "resolve a name with a null character");
    auto numeric = socket_address::try_ip(host, port);
    if (numeric && (options.family == address_family::none || options.family == numeric->family()))
        co_return std::vector<socket_address>(1, *numeric);
    detail::helper_op<question> asked(resolve_kind,
                                      question(std::move(host), port, options.family));
    co_return co_await asked;
}

} // namespace weft
