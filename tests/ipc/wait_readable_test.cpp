// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/child.hpp>
#include <weft/ipc/wait_readable.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <csignal>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;
using places = std::vector<std::size_t>;

ipc::detail::child sleeper() {
    const std::array<const char*, 4> arguments{"sh", "-c", "exec sleep 1000", nullptr};
    return ipc::detail::spawn_child({.path = "/bin/sh", .arguments = arguments});
}

} // namespace

TEST_CASE("wait_readable: gives those that are ready, and takes nothing from them",
          "[MP-WAIT-01][MP-WAIT-02]") {
    auto test = []() -> task<> {
        auto first = make_connection_pair();
        auto second = make_connection_pair();
        auto sockets = unix_stream_pair();
        auto child = sleeper();
        const waitable all[] = {first.first, second.first, sockets.first, waitable(child.pidfd())};

        // None, by each kind of deadline.
        places none = co_await wait_readable(all, now());
        places past = co_await wait_readable(all, time_point::min());
        places soon = co_await wait_readable(all, deadline_after(1ms));
        CHECK(none.empty());
        CHECK(past.empty());
        CHECK(soon.empty());

        co_await second.second.send_bytes({});
        for (int i = 0; i < 2; ++i) {
            places found = co_await wait_readable(all);
            CHECK(found == places{1});
        }
        // Several at once, one of them at its end.
        first.second.close();
        co_await sockets.second.write_all(as_bytes("x"));
        child.send_signal(SIGKILL);
        co_await readable(child.pidfd());
        places everything = co_await wait_readable(all);
        CHECK(everything == places{0, 1, 2, 3});
        byte_buffer still_there = co_await second.first.receive_bytes();
        CHECK(still_there.size() == 0);
    };
    run_within(10s, test());
}

TEST_CASE("wait_readable: wakes up for each kind of thing", "[MP-WAIT-01]") {
    auto test = [](std::size_t which) -> task<> {
        auto connections = make_connection_pair();
        auto sockets = unix_stream_pair();
        auto child = sleeper();
        // One may be in the list twice.
        const waitable all[] = {connections.first, sockets.first, waitable(child.pidfd()),
                                waitable(child.pidfd())};
        places found;
        auto wait = [&]() -> task<> { found = co_await wait_readable(all); };
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(wait());
            for (int i = 0; i < 3; ++i)
                co_await yield();
            CHECK_FALSE(waits.done());
            if (which == 0)
                co_await connections.second.send_bytes(as_bytes("x"));
            else if (which == 1)
                sockets.second = unix_stream();
            else
                child.send_signal(SIGKILL);
        });
        CHECK(found == (which == 2 ? places{2, 3} : places{which}));
    };
    for (std::size_t which : {0u, 1u, 2u}) {
        CAPTURE(which);
        run_within(10s, test(which));
    }
}

TEST_CASE("wait_readable: a stopped wait leaves no trace, and a closed connection is refused",
          "[MP-WAIT-02]") {
    auto test = []() -> task<> {
        auto both = make_connection_pair();
        const waitable all[] = {both.first};
        co_await with_task_group([&](task_group& g) -> task<> {
            auto waits = g.spawn(wait_readable(all));
            co_await yield();
            CHECK_THROWS_AS(both.first.close(), state_error); // it is being looked at
            waits.cancel();
        });
        both.first.close();
        bool refused = false;
        try {
            co_await wait_readable(all);
        } catch (const state_error&) {
            refused = true;
        }
        CHECK(refused);
    };
    run_within(10s, test());
}
