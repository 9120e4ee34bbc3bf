// SPDX-License-Identifier: MIT
#include <weft/runtime/unix_socket.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/stream.hpp>
#include <weft/runtime/task_group.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {

std::vector<descriptor> events(std::size_t n) {
    std::vector<descriptor> made;
    for (std::size_t i = 0; i < n; ++i)
        made.emplace_back(::eventfd(static_cast<unsigned>(i), EFD_CLOEXEC));
    return made;
}

std::vector<int> numbers(const std::vector<descriptor>& all) {
    std::vector<int> n;
    for (const auto& d : all)
        n.push_back(d.get());
    return n;
}

// More than most_descriptors, as a peer that doesn't use this library would send them.
void send_descriptors(int socket, const std::vector<int>& fds, std::size_t at_once) {
    for (std::size_t at = 0; at < fds.size(); at += at_once) {
        std::vector<std::byte> control(CMSG_SPACE(at_once * sizeof(int)));
        char byte = 'x';
        iovec part{&byte, 1};
        msghdr h{};
        h.msg_iov = &part;
        h.msg_iovlen = 1;
        h.msg_control = control.data();
        h.msg_controllen = control.size();
        cmsghdr* c = CMSG_FIRSTHDR(&h);
        c->cmsg_len = CMSG_LEN(at_once * sizeof(int));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        std::memcpy(CMSG_DATA(c), fds.data() + at, at_once * sizeof(int));
        REQUIRE(::sendmsg(socket, &h, 0) == 1);
    }
}

} // namespace

TEST_CASE("unix_socket: listens at a path and at an abstract name") {
    temp_dir dir;
    auto talk = [](socket_address a) -> task<> {
        auto l = listen_unix(a);
        CHECK(l.local_address() == a);
        auto client = co_await connect_unix(a);
        auto server = co_await l.accept();
        co_await client.write_all(as_bytes("hello"));
        lent_buffer heard = co_await server.receive();
        CHECK(heard.text() == "hello");
        CHECK(client.peer_address() == a);
        co_await l.close();
    };
    run_within(10s, talk(socket_address::unix_path(dir.path("s"))));
    run_within(10s, talk(socket_address::unix_abstract("weft-test-" + std::to_string(::getpid()))));
}

TEST_CASE("unix_socket: a path is closed to others from the moment it exists") {
    temp_dir dir;
    mode_t before = ::umask(0);
    auto l = listen_unix(socket_address::unix_path(dir.path("s")));
    auto d = bind_unix_datagram(socket_address::unix_path(dir.path("d")));
    ::umask(before);
    for (const char* name : {"s", "d"}) {
        struct stat s{};
        REQUIRE(::stat(dir.path(name).c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0600);
    }
    try {
        auto again = listen_unix(socket_address::unix_path(dir.path("s")));
        FAIL("no error");
    } catch (const std::system_error& e) {
        CHECK(e.code() == std::errc::address_in_use);
        CHECK_THAT(e.what(), Contains("bind unix:" + dir.path("s")));
    }
}

TEST_CASE("unix_socket: connecting where nobody listens names the path") {
    auto refused = []() -> task<> {
        try {
            co_await connect_unix(socket_address::unix_path("/nonexistent/socket"));
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::no_such_file_or_directory);
            CHECK_THAT(e.what(), Contains("connect unix:/nonexistent/socket"));
        }
    };
    run_within(10s, refused());
}

TEST_CASE("unix_socket: connecting to a full queue waits until there is room") {
    auto wait = []() -> task<> {
        auto a = socket_address::unix_abstract("weft-full-" + std::to_string(::getpid()));
        auto l = listen_unix(a, {.backlog = 1});
        std::vector<unix_stream> clients;
        auto connect = [&]() -> task<> { clients.push_back(co_await connect_unix(a)); };
        co_await with_task_group([&](task_group& g) -> task<> {
            for (int i = 0; i < 6; ++i)
                g.spawn(connect());
            co_await sleep_for(10ms);
            CHECK(clients.size() < 6);
            for (int i = 0; i < 6; ++i)
                auto server = co_await l.accept();
        });
        CHECK(clients.size() == 6);
        co_await l.close();
    };
    run_within(10s, wait());
}

TEST_CASE("unix_socket: the kernel tells who the peer is") {
    auto [a, b] = unix_stream_pair();
    peer_credentials c = a.peer_credentials();
    CHECK(c.pid == ::getpid());
    CHECK(c.uid == ::getuid());
    CHECK(c.gid == ::getgid());
}

TEST_CASE("unix_socket: descriptors arrive open, close-on-exec, in their order") {
    auto pass = [](std::size_t n) -> task<> {
        auto ends = unix_stream_pair();
        auto& [a, b] = ends;
        {
            auto sent = events(n);
            co_await a.send(as_bytes("here"), numbers(sent));
        } // ours are closed: theirs live on
        std::byte into[16];
        received_message m = co_await b.receive_message(into);
        CHECK(m.size() == 4);
        REQUIRE(m.descriptors().size() == n);
        for (std::size_t i = 0; i < n; ++i) {
            int fd = m.descriptors()[i].get();
            CHECK(::fcntl(fd, F_GETFD) == FD_CLOEXEC);
            if (i == 0)
                continue; // an event that was never set would block
            eventfd_t value = 0;
            CHECK(::eventfd_read(fd, &value) == 0);
            CHECK(value == i);
        }
    };
    for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{5}, most_descriptors})
        run_within(10s, pass(n));
}

TEST_CASE("unix_socket: more descriptors than can go are refused before anything is sent") {
    auto [a, b] = unix_stream_pair();
    auto sent = events(1);
    std::vector<int> many(most_descriptors + 1, sent[0].get());
    CHECK_THROWS_AS(a.send(as_bytes("x"), many), std::invalid_argument);
    CHECK_THROWS_AS(a.send({}, numbers(sent)), std::invalid_argument);
}

TEST_CASE("unix_socket: a message with too many descriptors is an error, and all get closed") {
    auto flood = []() -> task<> {
        auto ends = unix_stream_pair();
        auto& [a, b] = ends;
        auto sent = events(1);
        std::vector<int> many(most_descriptors + 8, sent[0].get());
        send_descriptors(a.fd(), many, many.size());
        auto before = look();
        std::byte into[16];
        try {
            co_await b.receive_message(into);
            FAIL("no error");
        } catch (const limit_error&) {
            SUCCEED();
        }
        CHECK(left_over(before).empty());
    };
    run_within(10s, flood());
}

TEST_CASE("unix_socket: descriptors that a plain read comes upon are closed") {
    auto plain = []() -> task<> {
        auto ends = unix_stream_pair();
        auto& [a, b] = ends;
        auto sent = events(3);
        auto before = look();
        co_await a.send(as_bytes("x"), numbers(sent));
        std::byte into[16];
        std::size_t n = co_await b.read_some(into);
        CHECK(n == 1);
        CHECK(left_over(before).empty());
    };
    run_within(10s, plain());
}

TEST_CASE("unix_socket: datagrams keep their limits, senders and descriptors") {
    temp_dir dir;
    auto exchange = [&]() -> task<> {
        auto server = bind_unix_datagram(socket_address::unix_path(dir.path("server")));
        auto client = bind_unix_datagram(socket_address::unix_path(dir.path("client")));
        auto sent = events(2);
        co_await client.send_to(as_bytes("first"), server.local_address(), numbers(sent));
        co_await client.send_to({}, server.local_address());
        co_await client.send_to(as_bytes("third, too long"), server.local_address());
        std::byte into[8];
        received_datagram d = co_await server.receive_from(into);
        CHECK(d.size() == 5);
        CHECK(d.descriptors().size() == 2);
        CHECK(d.from() == client.local_address());
        received_datagram empty = co_await server.receive_from(into);
        CHECK(empty.size() == 0);
        CHECK(empty.descriptors().empty());
        try {
            co_await server.receive_from(into);
            FAIL("no error");
        } catch (const limit_error&) {
            SUCCEED();
        }
        auto nameless = open_unix_datagram();
        nameless.connect(server.local_address());
        co_await nameless.send(as_bytes("?"));
        received_datagram from_nobody = co_await server.receive_from(into);
        CHECK(from_nobody.from().host().empty());
        try {
            co_await client.send_to(as_bytes("x"), socket_address::unix_path("/nonexistent"));
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK_THAT(e.what(), Contains("send to unix:/nonexistent"));
        }
    };
    run_within(10s, exchange());
}

TEST_CASE("unix_socket: a datagram waits while the receiver's queue is full") {
    auto fill = []() -> task<> {
        auto ends = unix_datagram_pair();
        auto& [a, b] = ends;
        int sent = 0;
        auto send = [&]() -> task<> {
            for (int i = 0; i < 2000; ++i) {
                co_await a.send(as_bytes("some datagram"));
                ++sent;
            }
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            g.spawn(send());
            co_await sleep_for(10ms);
            CHECK(sent < 2000);
            std::byte into[64];
            for (int i = 0; i < 2000; ++i)
                co_await b.receive_from(into);
        });
        CHECK(sent == 2000);
    };
    run_within(20s, fill());
}

TEST_CASE("unix_socket: a stopped receive leaves message and descriptors to the next") {
    auto stop = []() -> task<> {
        auto ends = unix_stream_pair();
        auto& [a, b] = ends;
        std::byte into[16];
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, b.receive_message(into));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        auto sent = events(1);
        co_await a.send(as_bytes("x"), numbers(sent));
        received_message m = co_await b.receive_message(into);
        CHECK(m.descriptors().size() == 1);
    };
    run_within(10s, stop());
}
