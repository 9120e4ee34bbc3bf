// SPDX-License-Identifier: MIT
#include <weft/ipc/handshake.hpp>

#include "impl/connection_state.hpp"
#include "impl/handshake_machine.hpp"

#include <weft/runtime/timeout.hpp>

namespace weft::ipc {

namespace {

using machine = detail::handshake_machine;
using half = machine::half;

// Whatever ends the handshake early closes the connection.
class closing_guard {
public:
    explicit closing_guard(detail::connection_state& s) noexcept : state_(s) {}
    closing_guard(const closing_guard&) = delete;
    closing_guard& operator=(const closing_guard&) = delete;
    ~closing_guard() {
        if (!passed_)
            state_.give_up();
    }
    void passed() noexcept { passed_ = true; }

private:
    detail::connection_state& state_;
    bool passed_ = false;
};

task<> run(detail::connection_state* s, machine& m) {
    while (true) {
        switch (m.next()) {
        case machine::step::send:
            co_await detail::send_message(s, m.message());
            m.sent();
            break;
        case machine::step::receive: {
            byte_buffer message =
                co_await detail::receive_message(s, detail::longest_handshake_message);
            m.received(message.bytes());
            break;
        }
        case machine::step::done:
            co_return;
        case machine::step::failed:
            throw authentication_error(m.reason());
        }
    }
}

task<> shake(detail::connection_state* s, const secret_bytes& key, handshake_role own, half first,
             half second, handshake_options options) {
    detail::connection_use in_use(s);
    closing_guard guard(*s);
    secret_bytes nonce = secret_bytes::random(machine::nonce_size);
    machine m(own, first, second, key, options.allow_legacy_md5,
              nonce.bytes().first<machine::nonce_size>());
    auto all = with_timeout(options.time_limit, run(s, m));
    co_await std::move(all);
    guard.passed();
}

} // namespace

task<> authenticate(connection& c, const secret_bytes& key, handshake_role own,
                    handshake_options options) {
    bool asks_first = own == handshake_role::listener;
    return shake(c.state(), key, own, asks_first ? half::deliver : half::answer,
                 asks_first ? half::answer : half::deliver, options);
}

task<> deliver_challenge(connection& c, const secret_bytes& key, handshake_role own,
                         handshake_options options) {
    return shake(c.state(), key, own, half::deliver, half::none, options);
}

task<> answer_challenge(connection& c, const secret_bytes& key, handshake_role own,
                        handshake_options options) {
    return shake(c.state(), key, own, half::answer, half::none, options);
}

} // namespace weft::ipc
