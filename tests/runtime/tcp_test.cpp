// SPDX-License-Identifier: MIT
#include <weft/runtime/tcp.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"
#include "support/report.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <numeric>
#include <sys/resource.h>
#include <thread>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {

const resident_thread helpers{"weft-helper"};

task<std::string> read_text(tcp_stream& s, std::size_t n) {
    std::string text(n, '\0');
    co_await read_exactly(s, std::as_writable_bytes(std::span(text)));
    co_return text;
}

task<> echo(tcp_stream s) {
    while (lent_buffer data = co_await s.receive())
        co_await s.write_all(data);
}

task<> serve(tcp_listener& l) {
    co_await with_task_group([&](task_group& g) -> task<> {
        while (true)
            g.spawn(echo(co_await l.accept()));
    });
}

task<> ask(socket_address a, int times, int& answers) {
    auto s = co_await connect_tcp(a);
    for (int i = 0; i < times; ++i) {
        co_await s.write_all(as_bytes("question"));
        std::string answer = co_await read_text(s, 8);
        if (answer == "question")
            ++answers;
    }
}

// An echo server and `clients` clients at the same time.
task<int> converse(int clients, int times, socket_address a = socket_address::ipv4_loopback(0)) {
    auto l = listen_tcp(a);
    int answers = 0;
    co_await with_task_group([&](task_group& g) -> task<> {
        auto server = g.spawn(serve(l));
        co_await with_task_group([&](task_group& asking) -> task<> {
            for (int i = 0; i < clients; ++i)
                asking.spawn(ask(l.local_address(), times, answers));
            co_return;
        });
        server.cancel();
    });
    co_await l.close();
    co_return answers;
}

int option(const tcp_stream& s, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    REQUIRE(::getsockopt(s.fd(), level, name, &value, &size) == 0);
    return value;
}

// A listening socket whose queue is full: connecting to it gets no answer.
class silent_listener {
public:
    silent_listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        auto a = socket_address::ipv4_loopback(0);
        REQUIRE(::bind(fd_.get(), a.data(), a.size()) == 0);
        REQUIRE(::listen(fd_.get(), 0) == 0);
        address_ = detail::local_address(fd_.get());
        for (int i = 0; i < 4; ++i) {
            descriptor c(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
            [[maybe_unused]] int ignored = ::connect(c.get(), address_.data(), address_.size());
            clients_.push_back(std::move(c));
        }
    }
    [[nodiscard]] const socket_address& address() const { return address_; }

private:
    descriptor fd_;
    socket_address address_;
    std::vector<descriptor> clients_;
};

std::size_t free_frames() {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < detail::frame_classes; ++i)
        bytes += detail::this_thread_state.frames[i].count * (i + 1) * detail::frame_step;
    return bytes;
}

// What so many tasks that wait for data take of the heap and of the recycler of frames.
task<std::size_t> cost_of_idle_connections(int count) {
    auto l = listen_tcp(socket_address::ipv4_loopback(0));
    std::vector<tcp_stream> clients;
    std::vector<tcp_stream> servers;
    clients.reserve(static_cast<std::size_t>(count));
    servers.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        clients.push_back(co_await connect_tcp(l.local_address()));
        servers.push_back(co_await l.accept());
        clients.back().set_linger(std::chrono::seconds(0)); // leaves no port behind
    }
    std::size_t bytes = 0;
    co_await with_task_group([&](task_group& g) -> task<> {
        std::size_t before = ::mallinfo2().uordblks - free_frames();
        for (auto& s : servers)
            g.spawn(echo(std::move(s)));
        co_await sleep_for(1ms);
        if (WEFT_PLAIN_FRAMES == 0 && before != 0)
            bytes = ::mallinfo2().uordblks - free_frames() - before;
        g.cancel();
    });
    co_await l.close();
    co_return bytes;
}

class descriptor_limit {
public:
    explicit descriptor_limit(rlim_t n) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit lower = before_;
        lower.rlim_cur = n;
        ::setrlimit(RLIMIT_NOFILE, &lower);
    }
    descriptor_limit(const descriptor_limit&) = delete;
    descriptor_limit& operator=(const descriptor_limit&) = delete;
    ~descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

} // namespace

TEST_CASE("tcp: what one end writes the other reads, over IPv4 and IPv6") {
    auto talk = [](socket_address a) -> task<> {
        auto ends = co_await tcp_pair(a);
        auto& [client, server] = ends;
        CHECK(client.peer_address() == server.local_address());
        CHECK(client.local_address() == server.peer_address());
        co_await client.write_all(as_bytes("ping"));
        std::string heard = co_await read_text(server, 4);
        CHECK(heard == "ping");
        co_await server.write_all(as_bytes("pong"));
        heard = co_await read_text(client, 4);
        CHECK(heard == "pong");
    };
    run_within(10s, talk(socket_address::ipv4_loopback(0)));
    if (has_ipv6())
        run_within(10s, talk(socket_address::ipv6_loopback(0)));
    else
        skip("IPv6: this machine has none");
}

TEST_CASE("tcp: after a half-close one direction ends and the other goes on") {
    auto half = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        co_await client.write_all(as_bytes("last words"));
        client.shutdown_write();
        std::string heard = co_await read_text(server, 10);
        CHECK(heard == "last words");
        std::byte b[1];
        std::size_t n = co_await server.read_some(b);
        CHECK(n == 0);
        lent_buffer none = co_await server.receive();
        CHECK(none.empty());
        co_await server.write_all(as_bytes("farewell"));
        heard = co_await read_text(client, 8);
        CHECK(heard == "farewell");
        co_await server.close();
        n = co_await client.read_some(b);
        CHECK(n == 0);
        client.shutdown_write(); // nothing is left to shut down, and that is fine
    };
    run_within(10s, half());
}

TEST_CASE("tcp: a connection that the peer resets is an error that names the peer") {
    auto reset = [](bool lent) -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        std::string peer = client.local_address().to_string();
        client.set_linger(std::chrono::seconds(0));
        co_await client.close();
        try {
            std::byte b[1];
            if (lent)
                co_await server.receive();
            else
                co_await server.read_some(b);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::connection_reset);
            CHECK_THAT(e.what(), Contains("receive from " + peer));
        }
    };
    run_within(10s, reset(false));
    run_within(10s, reset(true));
}

TEST_CASE("tcp: writing to a peer that is gone is an error and no signal", "[P17]") {
    auto write = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        server.set_linger(std::chrono::seconds(0));
        co_await server.close();
        const_buffer parts[] = {std::string_view("x"), std::string_view("y")};
        int errors = 0;
        for (int kind = 0; kind < 3;
             ++kind) { // the first is told of the reset, then the pipe is broken
            try {
                if (kind == 0)
                    co_await client.write_all(as_bytes("x"));
                else if (kind == 1)
                    co_await client.write_some(as_bytes("x"));
                else
                    co_await client.write_some(parts);
            } catch (const std::system_error& e) {
                ++errors;
                bool gone =
                    e.code() == std::errc::broken_pipe || e.code() == std::errc::connection_reset;
                CHECK(gone);
                CHECK_THAT(e.what(), Contains("send to 127.0.0.1:"));
            }
        }
        CHECK(errors == 3);
    };
    run_within(10s, write());
}

TEST_CASE("tcp: an empty read or write is done at once") {
    auto none = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        std::size_t n = co_await client.read_some({});
        CHECK(n == 0);
        n = co_await client.write_some(std::span<const std::byte>());
        CHECK(n == 0);
        n = co_await client.write_some(std::span<const const_buffer>());
        CHECK(n == 0);
        co_await client.write_all({});
    };
    run_within(10s, none());
}

TEST_CASE("tcp: gathered pieces arrive as one stream") {
    auto gather = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        const_buffer parts[] = {std::string_view("one "), std::string_view(""),
                                std::string_view("two "), std::string_view("three")};
        std::size_t n = co_await client.write_some(parts);
        CHECK(n == 13);
        std::string heard = co_await read_text(server, 13);
        CHECK(heard == "one two three");
    };
    run_within(10s, gather());
}

TEST_CASE("tcp: a write of more than the kernel takes at once is complete") {
    auto large = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        client.set_send_buffer(4096);
        server.set_receive_buffer(32768);
        std::string sent(3'000'000, '\0');
        std::iota(sent.begin(), sent.end(), '\0');
        std::string heard;
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(as_task(client.write_all(as_bytes(sent))));
            heard = co_await read_text(server, sent.size());
        });
        CHECK(heard == sent);
    };
    run_within(30s, large());
}

TEST_CASE("tcp: options reach the socket") {
    auto set = []() -> task<> {
        auto ends = co_await tcp_pair();
        auto& [client, server] = ends;
        CHECK(option(client, IPPROTO_TCP, TCP_NODELAY) != 0);
        CHECK(option(server, IPPROTO_TCP, TCP_NODELAY) != 0);
        client.set_no_delay(false);
        CHECK(option(client, IPPROTO_TCP, TCP_NODELAY) == 0);
        client.set_keep_alive(std::chrono::seconds(30), std::chrono::seconds(7), 3);
        CHECK(option(client, SOL_SOCKET, SO_KEEPALIVE) == 1);
        CHECK(option(client, IPPROTO_TCP, TCP_KEEPIDLE) == 30);
        CHECK(option(client, IPPROTO_TCP, TCP_KEEPINTVL) == 7);
        CHECK(option(client, IPPROTO_TCP, TCP_KEEPCNT) == 3);
        client.set_user_timeout(std::chrono::milliseconds(1500));
        CHECK(option(client, IPPROTO_TCP, TCP_USER_TIMEOUT) == 1500);
        CHECK(::fcntl(server.fd(), F_GETFD) == FD_CLOEXEC);
        CHECK(::fcntl(client.fd(), F_GETFD) == FD_CLOEXEC);
    };
    run_within(10s, set());
}

TEST_CASE("tcp: many connections at once on a queue of four entries") {
    int answers = run_within(30s, converse(100, 20), {.ring_entries = 4});
    CHECK(answers == 2000);
}

TEST_CASE("tcp: a conversation on every set of features", "[P22]") {
    for (kernel_feature features : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        int answers = run_within(30s, converse(5, 20), {.features = features});
        CHECK(answers == 100);
    }
}

TEST_CASE("tcp: two lent buffers are enough for many receivers") {
    for (kernel_feature features : {kernel_feature::all, ~kernel_feature::buffer_ring}) {
        CAPTURE(static_cast<std::uint32_t>(features));
        int answers = run_within(30s, converse(50, 20), {.lent_buffers = 2, .features = features});
        CHECK(answers == 1000);
    }
}

TEST_CASE("tcp: those who wait for a lent buffer get it in the order of their data") {
    auto in_line = []() -> task<> {
        auto a = co_await tcp_pair();
        auto b = co_await tcp_pair();
        auto c = co_await tcp_pair();
        co_await a.first.write_all(as_bytes("a"));
        lent_buffer held = co_await a.second.receive(); // the only one
        std::string order;
        auto receive = [&](tcp_stream& s) -> task<> {
            lent_buffer data = co_await s.receive();
            order += data.text();
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(receive(b.second));
            g.spawn(receive(c.second));
            g.spawn(receive(a.second)); // has no data, so it must not stand in the way
            co_await b.first.write_all(as_bytes("b"));
            co_await readable(b.second.fd());
            co_await yield();
            co_await c.first.write_all(as_bytes("c"));
            co_await readable(c.second.fd());
            std::uint64_t enters = this_loop().statistics().enters;
            co_await sleep_for(20ms);
            CHECK(this_loop().statistics().enters - enters < 20); // nobody spins
            CHECK(order.empty());
            held.reset();
            while (order.size() < 2)
                co_await yield();
            CHECK(order == "bc");
            co_await a.first.write_all(as_bytes("a"));
        });
        CHECK(order == "bca");
    };
    run_within(10s, in_line(), {.lent_buffers = 1});
    run_within(10s, in_line(), {.lent_buffers = 1, .features = ~kernel_feature::buffer_ring});
}

TEST_CASE("tcp: who waits in line for a lent buffer can be stopped") {
    auto stopped = []() -> task<> {
        auto a = co_await tcp_pair();
        auto b = co_await tcp_pair();
        co_await a.first.write_all(as_bytes("a"));
        co_await b.first.write_all(as_bytes("b"));
        lent_buffer held = co_await a.second.receive();
        CHECK(held.text() == "a");
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, b.second.receive());
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        held.reset();
        lent_buffer later = co_await b.second.receive();
        CHECK(later.text() == "b");
    };
    run_within(10s, stopped(), {.lent_buffers = 1});
    run_within(10s, stopped(), {.lent_buffers = 1, .features = ~kernel_feature::buffer_ring});
}

TEST_CASE("tcp: a lent buffer may be dropped on another thread") {
    auto elsewhere = []() -> task<> {
        auto a = co_await tcp_pair();
        for (int i = 0; i < 5; ++i) {
            co_await a.first.write_all(as_bytes("a"));
            lent_buffer data = co_await a.second.receive(); // of two
            std::thread([d = std::move(data)]() mutable { d.reset(); }).join();
        }
    };
    run_within(10s, elsewhere(), {.lent_buffers = 2});
}

TEST_CASE("tcp: accepts are served first come first served") {
    auto line = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        std::vector<int> order;
        auto wait = [&](int who) -> task<> {
            auto s = co_await l.accept();
            order.push_back(who);
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < 5; ++i)
                g.spawn(wait(i));
            co_await yield();
            std::vector<tcp_stream> clients;
            for (int i = 0; i < 5; ++i)
                clients.push_back(co_await connect_tcp(l.local_address()));
        });
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
        co_await l.close();
    };
    run_within(10s, line());
    run_within(10s, line(), {.features = ~kernel_feature::multishot_accept});
}

TEST_CASE("tcp: a stopped accept loses no connection") {
    auto stop = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        auto waiting = spawn(as_task(l.accept()));
        co_await yield();
        auto client = co_await connect_tcp(l.local_address());
        waiting.cancel(); // before or after it came: both are fine
        auto first = co_await as_result(waiting.join());
        if (first.stopped() || first.error()) {
            auto s = co_await l.accept();
            CHECK(s.peer_address() == client.local_address());
        } else {
            CHECK(first.value().peer_address() == client.local_address());
        }
        co_await l.close();
    };
    run_within(10s, stop());
}

TEST_CASE("tcp: no more than a few connections are accepted ahead, and all in the end") {
    auto ahead = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0), {.ahead = 2});
        std::vector<tcp_stream> clients;
        std::vector<tcp_stream> servers;
        clients.push_back(co_await connect_tcp(l.local_address()));
        servers.push_back(co_await l.accept());
        for (int i = 1; i < 40; ++i)
            clients.push_back(co_await connect_tcp(l.local_address()));
        while (servers.size() < 40)
            servers.push_back(co_await l.accept());
        for (std::size_t i = 0; i < 40; ++i)
            CHECK(servers[i].peer_address() == clients[i].local_address());
        co_await l.close();
    };
    run_within(10s, ahead());
}

TEST_CASE("tcp: a closed listener's address is free, and who accepts from it is told") {
    auto close = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        auto a = l.local_address();
        auto waiting = spawn(as_task(l.accept()));
        co_await yield();
        co_await l.close();
        auto ended = co_await as_result(waiting.join());
        CHECK_THROWS_AS(std::rethrow_exception(ended.error()), state_error);
        auto again = listen_tcp(a);
        auto client = co_await connect_tcp(a);
        co_await again.close();
        try {
            co_await l.accept();
            FAIL("no error");
        } catch (const state_error&) {
            SUCCEED();
        }
    };
    run_within(10s, close());
}

TEST_CASE("tcp: a listener that is dropped leaves nothing behind, whatever was going on") {
    auto drop = [](bool armed, bool queued) -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        std::vector<tcp_stream> clients;
        if (armed) {
            clients.push_back(co_await connect_tcp(l.local_address()));
            auto s = co_await l.accept();
        }
        for (int i = 0; queued && i < 3; ++i)
            clients.push_back(co_await connect_tcp(l.local_address()));
        co_await yield();
    };
    for (bool armed : {false, true}) {
        for (bool queued : {false, true})
            run_within(10s, drop(armed, queued), {.ring_entries = 4});
    }
}

TEST_CASE("tcp: a listener may be used by one runtime after the other") {
    auto l = listen_tcp(socket_address::ipv4_loopback(0));
    for (int i = 0; i < 3; ++i) {
        auto once = [&]() -> task<> {
            auto client = co_await connect_tcp(l.local_address());
            auto server = co_await l.accept();
            CHECK(server.peer_address() == client.local_address());
        };
        run_within(10s, once());
    }
}

TEST_CASE("tcp: a listener without descriptors waits, asks now and then, and recovers", "[P16]") {
    auto shortage = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        std::vector<descriptor> clients;
        for (int i = 0; i < 3; ++i)
            clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        auto accepting = spawn(as_task(l.accept()));
        co_await yield();
        auto a = l.local_address();
        {
            descriptor_limit none(3);
            for (auto& c : clients)
                REQUIRE(::connect(c.get(), a.data(), a.size()) == 0);
            std::uint64_t before = this_loop().statistics().completions;
            co_await sleep_for(300ms);
            // 5, 10, 20, 40, 80, 160 ms: no more than seven attempts, and some of the machinery's
            // own.
            CHECK(this_loop().statistics().completions - before < 20);
            CHECK_FALSE(accepting.done());
        }
        auto& first = co_await accepting.join();
        CHECK(first.is_open());
        auto second = co_await l.accept();
        auto third = co_await l.accept();
        co_await l.close();
    };
    // Already before the first accept there is no descriptor, so that the request itself ends.
    run_within(10s, shortage(), {.features = ~kernel_feature::multishot_accept});
    run_within(10s, shortage());
}

TEST_CASE("tcp: a stop reaches who waits out a shortage of descriptors", "[P16]") {
    auto stopped = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        auto a = l.local_address();
        REQUIRE(::connect(client.get(), a.data(), a.size()) == 0);
        descriptor_limit none(3);
        bool timed_out = false;
        try {
            co_await with_timeout(50ms, l.accept());
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
    };
    run_within(10s, stopped());
}

TEST_CASE("tcp: a refused connect names the address") {
    auto refused = []() -> task<> {
        descriptor place;
        auto a = unheard_address(place);
        try {
            co_await connect_tcp(a);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::connection_refused);
            CHECK_THAT(e.what(), Contains("connect " + a.to_string()));
        }
        try {
            auto again = listen_tcp(socket_address::parse("192.0.2.1:1"));
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK_THAT(e.what(), Contains("bind 192.0.2.1:1"));
        }
    };
    run_within(10s, refused());
}

TEST_CASE("tcp: a connect that gets no answer can be stopped") {
    silent_listener silent;
    auto impatient = [&]() -> task<> {
        bool timed_out = false;
        try {
            co_await with_timeout(30ms, connect_tcp(silent.address()));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
    };
    run_within(10s, impatient());
}

TEST_CASE("tcp: of several addresses the first that answers wins") {
    silent_listener silent;
    auto happy = [&]() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        descriptor place;
        auto dead = unheard_address(place);
        time_point start = now();
        std::vector<socket_address> all{dead, silent.address(), l.local_address()};
        auto s = co_await connect_tcp(all, {.head_start = 50ms});
        CHECK(s.peer_address() == l.local_address());
        CHECK(now() - start >=
              50ms); // the silent one had its head start, the refused one needed none
        co_await l.close();
    };
    run_within(10s, happy());
}

TEST_CASE("tcp: if no address answers, the error tells of each") {
    auto unhappy = []() -> task<> {
        std::vector<socket_address> dead;
        descriptor places[2];
        for (descriptor& d : places)
            dead.push_back(unheard_address(d));
        try {
            co_await connect_tcp(dead);
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::connection_refused);
            CHECK_THAT(e.what(), Contains(dead[0].to_string()) && Contains(dead[1].to_string()));
        }
        try {
            co_await connect_tcp(std::vector<socket_address>());
            FAIL("no error");
        } catch (const std::invalid_argument&) {
            SUCCEED();
        }
    };
    run_within(10s, unhappy());
}

TEST_CASE("tcp: the families take turns, whatever the order of the addresses") {
    if (!has_ipv6()) {
        skip("this machine has no IPv6");
        return;
    }
    silent_listener silent;
    auto turns = [&]() -> task<> {
        auto l = listen_tcp(socket_address::ipv6_loopback(0));
        // Of IPv4 only silent ones: IPv6 comes second, not last.
        std::vector<socket_address> all(4, silent.address());
        all.push_back(l.local_address());
        bool second = false;
        for (int tries = 0; !second && tries != 20; ++tries) { // we may be held up ourselves
            time_point start = now();
            auto s = co_await connect_tcp(all, {.head_start = 100ms});
            CHECK(s.peer_address() == l.local_address());
            second = now() - start < 300ms;
        }
        CHECK(second);
        co_await l.close();
    };
    run_within(10s, turns());
}

TEST_CASE("tcp: connecting by name") {
    auto by_name = []() -> task<> {
        auto l = listen_tcp(socket_address::ipv4_loopback(0));
        auto s = co_await connect_tcp("localhost", l.local_address().port());
        CHECK(s.peer_address() == l.local_address());
        co_await l.close();
    };
    run_within(10s, by_name());
}

TEST_CASE("tcp: several listeners share a port if they are told to") {
    auto share = []() -> task<> {
        auto first = listen_tcp(socket_address::ipv4_loopback(0), {.reuse_port = true});
        auto second = listen_tcp(first.local_address(), {.reuse_port = true});
        CHECK(second.local_address() == first.local_address());
        CHECK_THROWS_AS(listen_tcp(first.local_address()), std::system_error);
        co_return;
    };
    run_within(10s, share());
}

TEST_CASE("tcp: a connection that waits for data costs less than 512 bytes") {
    std::size_t costs = run_within(20s, cost_of_idle_connections(1000));
    if (costs == 0) {
        skip("a sanitizer does the allocating");
        return;
    }
    CAPTURE(costs);
    CHECK(costs < 512 * 1000);
}
