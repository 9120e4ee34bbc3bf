// SPDX-License-Identifier: MIT
#include "worker_ear.hpp"

#include "pool_hub.hpp"
#include "worker_voice.hpp"

#include <weft/ipc/archive.hpp>
#include <weft/runtime/detail/request_operation.hpp>

#include <cerrno>
#include <exception>
#include <poll.h>
#include <sys/socket.h>

namespace weft::detail {

worker_ear::worker_ear(pool_hub& hub, loop& l, unsigned index, void* owner,
                       void (*quiet)(void*) noexcept) noexcept
    : hub_(hub), loop_(l), index_(index), owner_(owner), quiet_(quiet), heard_(*this, heard) {}

void worker_ear::open(int control, int pid) noexcept {
    control_ = control;
    pid_ = pid;
    listen();
}

void worker_ear::listen() noexcept {
    try {
        loop_.submit(heard_,
                     {.opcode = opcode::poll_add, .fd = control_, .operation_flags = POLLIN});
        listening_ = true;
    } catch (...) { // what it says is lost; what it does isn't
        listening_ = false;
    }
}

void worker_ear::heard(completion_target& t, std::int32_t, std::uint32_t) noexcept {
    worker_ear& e = static_cast<target&>(t).ear;
    e.listening_ = false;
    if (e.hear_all())
        e.listen();
    if (!e.listening_)
        e.quiet_(e.owner_);
}

bool worker_ear::hear_all() noexcept {
    while (true) {
        char none = 0;
        const auto n = ::recv(control_, &none, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (n > 0)
            hear(static_cast<std::size_t>(n));
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return false; // nobody says anything any more
        else if (errno == EAGAIN)
            return true;
    }
}

void worker_ear::hear(std::size_t size) noexcept {
    ipc::byte_buffer packet;
    std::byte scrap{};
    std::byte* to = &scrap;
    try {
        to = packet.extend(size);
    } catch (...) { // no memory for it: out it must all the same
        size = 1;
    }
    const auto n = ::recv(control_, to, size, MSG_DONTWAIT);
    if (to == &scrap || n != static_cast<ssize_t>(size))
        return;
    try {
        hub_.worker_told(index_, hear_worker(packet.bytes(), pid_));
    } catch (const std::exception&) { // nonsense, or no memory for what it means
        return;
    }
}

} // namespace weft::detail
