// SPDX-License-Identifier: MIT
#include <weft/runtime/receiver.hpp>

#include "support/fake_kernel.hpp"
#include "support/io.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <poll.h>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::uint16_t multishot = 1u << 1; // IORING_RECV_MULTISHOT

// A socket whose number the fake kernel sees; nothing ever comes through it.
struct socket_of_a_fake {
    socket_of_a_fake() : its(std::move(unix_stream_pair().first)) {}
    unix_stream its;
};

runtime_options small(fake_kernel& k, std::uint32_t buffers = 4) {
    runtime_options o;
    o.lent_buffer_size = 64;
    o.lent_buffers = buffers;
    o.kernel = &k.table();
    return o;
}

task<> hear(receiver& in, std::string& heard) {
    lent_buffer data = co_await in.receive();
    heard += data ? data.text() : "(end)";
}

// What a receive that is stopped gives; nothing if it ended stopped.
task<bool> stopped(task_handle<>& reading) {
    reading.cancel();
    result<void> r = co_await as_result(reading.join());
    co_return reading.stopped();
}

// The requests that read, apart from those that only poll.
std::optional<fake_kernel::request> reading(const fake_kernel& k) {
    for (const fake_kernel::request& r : k.held()) {
        if (r.sqe.opcode != detail::opcode::poll_add)
            return r;
    }
    return std::nullopt;
}

// The other end of a stream, which gives its text in pieces, with all that a kernel may do.
class hostile_stream {
public:
    hostile_stream(fake_kernel& k, dice& d, std::size_t size) : kernel_(k), dice_(d) {
        for (std::size_t i = 0; i < size; ++i)
            text_ += static_cast<char>('!' + i % 90);
        k.on_cancel = [this](const fake_kernel::request& r) { return cancelled(r); };
        k.when_idle = [this] { return step(); };
    }
    [[nodiscard]] const std::string& text() const { return text_; }

    /// Lets something happen to the requests. False if there are none.
    bool step() {
        std::vector<fake_kernel::request> held = kernel_.held();
        for (const fake_kernel::request& r : held)
            answer(r);
        return !held.empty();
    }

private:
    void answer(const fake_kernel::request& r) {
        if (r.sqe.opcode == detail::opcode::poll_add) {
            kernel_.complete(r, dice_.below(8) == 0 ? -EINTR : POLLIN);
            return;
        }
        switch (dice_.below(8)) {
        case 0:
            kernel_.complete(r, -EINTR);
            return;
        case 1:
            kernel_.complete(r, -512); // ERESTARTSYS
            return;
        default:
            give(r, dice_.below(3) != 0);
        }
    }
    // Gives whether the request goes on.
    bool give(const fake_kernel::request& r, bool more) {
        if (sent_ == text_.size()) {
            kernel_.complete(r, 0);
            return false;
        }
        std::size_t room = (r.sqe.flags & 32) != 0 ? 64 : r.sqe.length; // IOSQE_BUFFER_SELECT
        std::string_view left = std::string_view(text_).substr(sent_);
        std::string_view piece = left.substr(0, std::min<std::size_t>(room, 1 + dice_.below(70)));
        if (kernel_.receive(r, piece, more && (r.sqe.ioprio & multishot) != 0))
            sent_ += piece.size();
        return kernel_.holds(r);
    }
    bool cancelled(const fake_kernel::request& r) {
        switch (dice_.below(4)) {
        case 0:
            return true; // it can't be stopped: it ends some time
        case 1:
            if (r.sqe.opcode == detail::opcode::poll_add)
                return false;
            give(r, true); // just before it is stopped, if it wasn't the last
            return false;
        case 2:
            answer(r); // just before the cancel comes
            return true;
        default:
            return false;
        }
    }

    fake_kernel& kernel_;
    dice& dice_;
    std::string text_;
    std::size_t sent_ = 0;
};

// Reads all, in tasks that get stopped now and then, while buffers are kept for a while.
template <class Read>
task<std::string> read_with_stops(dice& d, hostile_stream& peer, Read read) {
    std::string heard;
    bool ended = false;
    std::deque<lent_buffer> kept;
    auto one = [&]() -> task<> {
        lent_buffer data = co_await read(heard, ended);
        if (data)
            kept.push_back(std::move(data));
    };
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!ended) {
        if (std::chrono::steady_clock::now() > end)
            throw std::runtime_error("the stream doesn't end");
        auto t = weft::spawn(one());
        for (unsigned i = d.below(4); i > 0; --i) {
            if (d.below(2) == 0)
                peer.step();
            co_await yield();
        }
        if (d.below(3) == 0)
            t.cancel();
        while (!t.done()) {
            if (d.below(2) == 0)
                peer.step();
            if (!kept.empty() && d.below(3) == 0)
                kept.pop_front();
            co_await yield();
        }
        if (!t.stopped())
            co_await t.join();
        while (kept.size() > d.below(5))
            kept.pop_front();
    }
    co_return heard;
}

// Of the features that change how one receives: all, and all but each.
std::vector<kernel_feature> ways_to_receive() {
    return {kernel_feature::all, ~kernel_feature::multishot_receive, ~kernel_feature::buffer_ring,
            ~kernel_feature::defer_taskrun};
}

template <class Test>
void with_every_kernel(Test test) {
    unsigned seed = new_seed();
    for (kernel_feature features : ways_to_receive()) {
        for (unsigned buffers : {1u, 2u, 8u}) {
            for (unsigned completions : {0u, 4u}) {
                CAPTURE(static_cast<std::uint32_t>(features), buffers, completions);
                fake_kernel k;
                k.completion_entries = completions;
                dice d(seed, buffers);
                hostile_stream peer(k, d, 4000);
                runtime_options on = small(k, buffers);
                on.features = features;
                on.ring_entries = 2;
                std::string heard = run(test(d, peer), on);
                bool same = heard == peer.text();
                CHECK(same);
                CHECK(heard.size() == peer.text().size());
                CHECK(k.count().left_over == 0);
                CHECK(k.count().mistakes == 0);
            }
        }
    }
}

} // namespace

TEST_CASE("receiver: one request gives many pieces, in order, until the end") {
    fake_kernel k;
    std::string heard;
    auto many = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        auto first = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        CHECK((r.sqe.ioprio & multishot) != 0);
        k.receive(r, "one ", true);
        k.receive(r, "two ", true);
        co_await first.join();
        CHECK(heard == "one ");
        co_await hear(in, heard); // was there already
        k.receive(r, "three ", true);
        co_await hear(in, heard);
        k.complete(r, 0);
        co_await hear(in, heard);
        CHECK(heard == "one two three (end)");
        CHECK(k.buffers_left() == 4);
    };
    run(many(), small(k));
    CHECK(k.count().taken == 2); // the other one is for wake-ups
    CHECK(k.count().left_over == 0);
}

TEST_CASE("receiver: a request that ends with data is made again when somebody asks") {
    fake_kernel k;
    std::string heard;
    auto again = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        for (const char* piece : {"a", "b", "c"}) {
            auto next = weft::spawn(hear(in, heard));
            co_await k.until_held(1);
            k.receive(*reading(k), piece, false);
            co_await next.join();
            CHECK(k.held().empty());
        }
        CHECK(heard == "abc");
    };
    run(again(), small(k));
}

TEST_CASE("receiver: one that waits gets a new request when the old one was interrupted", "[P17]") {
    fake_kernel k;
    std::string heard;
    auto again = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        auto next = weft::spawn(hear(in, heard));
        for (int error : {EINTR, 512, ECANCELED, EINTR}) {
            co_await k.until_held(1);
            fake_kernel::request r = *reading(k);
            k.complete(r, -error);
            co_await until([&] { return !k.holds(r) && k.held().size() == 1; });
        }
        k.receive(*reading(k), "x", true);
        co_await next.join();
        CHECK(heard == "x");
    };
    run(again(), small(k));
}

TEST_CASE("receiver: what the kernel delivers in a race with a cancel is kept for the next",
          "[P3]") {
    enum class race { before, instead, after };
    auto how = GENERATE(race::before, race::instead, race::after);
    fake_kernel k;
    std::string heard;
    auto stop_and_go = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        k.on_cancel = [&](const fake_kernel::request& r) {
            if (how == race::before)
                k.receive(r, "late", true); // and then it is cancelled
            else if (how == race::instead)
                k.receive(r, "late", false);
            return how != race::before;
        };
        auto first = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        first.cancel();
        if (how == race::after) {
            co_await yield();
            co_await yield();
            CHECK_FALSE(first.done()); // the kernel has the last word
            k.receive(r, "late", false);
        }
        result<void> done = co_await as_result(first.join());
        CHECK(heard == "late"); // a result that exists wins
        CHECK(k.held().empty());
        k.on_cancel = nullptr;
        auto second = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        bool was_stopped = co_await stopped(second);
        CHECK(was_stopped);
        CHECK(heard == "late");
        CHECK(k.buffers_left() == 4);
    };
    run(stop_and_go(), small(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("receiver: pauses when nobody takes what came, and goes on without a gap", "[P5]") {
    fake_kernel k;
    std::string heard;
    auto pause = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its, {.ahead = 2});
        auto first = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        k.receive(r, "a", true);
        co_await first.join();
        k.receive(r, "b", true);
        co_await yield();
        co_await yield();
        CHECK(k.holds(r));
        k.on_cancel = [&](const fake_kernel::request& asked) {
            k.receive(asked, "d", true); // one more while the cancel is under way
            return false;
        };
        k.receive(r, "c", true);
        co_await until([&] { return !k.holds(r); });
        for (int i = 0; i < 3; ++i)
            co_await hear(in, heard);
        CHECK(heard == "abcd");
        CHECK(k.held().empty());
        auto next = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        k.receive(*reading(k), "e", true);
        co_await next.join();
        CHECK(heard == "abcde");
    };
    run(pause(), small(k, 8));
}

TEST_CASE("receiver: without a buffer it waits for data and for a buffer, in this order", "[P16]") {
    fake_kernel k;
    auto shortage = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        auto get = [&](std::optional<lent_buffer>& to) -> task<> { to = co_await in.receive(); };
        std::optional<lent_buffer> one;
        std::optional<lent_buffer> two;
        std::optional<lent_buffer> three;
        auto first = weft::spawn(get(one));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        k.receive(r, "one", true);
        k.receive(r, "two", true);
        bool taken = k.receive(r, "three", true);
        CHECK_FALSE(taken);
        co_await first.join();
        co_await get(two);
        auto third = weft::spawn(get(three));
        co_await k.until_held(1);
        fake_kernel::request in_vain = *reading(k);
        taken = k.receive(in_vain, "three", true);
        CHECK_FALSE(taken);
        co_await until([&] { return !k.holds(in_vain) && k.held().size() == 1; });
        REQUIRE(k.held()[0].sqe.opcode == detail::opcode::poll_add);
        k.complete(k.held()[0], POLLIN);
        for (int i = 0; i < 5; ++i)
            co_await yield();
        CHECK(k.held().empty()); // in line for a buffer
        CHECK_FALSE(third.done());
        one.reset();
        co_await k.until_held(1);
        taken = k.receive(*reading(k), "three", true);
        CHECK(taken);
        co_await third.join();
        CHECK(two->text() == "two");
        CHECK(three->text() == "three");
    };
    run(shortage(), small(k, 2));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("receiver: an error comes after everything that came before it, and once") {
    fake_kernel k;
    std::string heard;
    auto reset = [&]() -> task<> {
        socket_of_a_fake s;
        receiver in(s.its);
        auto first = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        k.receive(r, "a", true);
        k.receive(r, "b", true);
        k.complete(r, -ECONNRESET);
        co_await first.join();
        co_await hear(in, heard);
        CHECK(heard == "ab");
        try {
            co_await in.receive();
            FAIL("no error");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::connection_reset);
        }
        auto next = weft::spawn(hear(in, heard));
        co_await k.until_held(1);
        k.complete(*reading(k), 0);
        co_await next.join();
        CHECK(heard == "ab(end)");
    };
    run(reset(), small(k));
}

TEST_CASE("receiver: when it is dropped its request ends and its buffers come back", "[P4]") {
    auto unread = GENERATE(0, 1, 3);
    auto late = GENERATE(false, true);
    CAPTURE(unread, late);
    fake_kernel k;
    std::string heard;
    auto drop = [&]() -> task<> {
        socket_of_a_fake s;
        std::optional<receiver> in(std::in_place, s.its);
        auto first = weft::spawn(hear(*in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        k.receive(r, "a", true);
        co_await first.join();
        for (int i = 0; i < unread; ++i)
            k.receive(r, "b", true);
        co_await yield();
        if (late)
            k.on_cancel = [&](const fake_kernel::request& asked) {
                k.receive(asked, "c", true);
                return false;
            };
        in.reset();
        co_await until([&] { return !k.holds(r); });
        co_await until([&] { return k.buffers_left() == 4; });
    };
    run(drop(), small(k));
    CHECK(k.count().left_over == 0);
}

TEST_CASE("receiver: one that can't withdraw tries again when the kernel has memory, not before") {
    fake_kernel k;
    std::string heard;
    auto withdraw = [&]() -> task<> {
        socket_of_a_fake s;
        std::optional<receiver> in(std::in_place, s.its);
        std::vector<task_handle<>> others;
        std::byte bytes[8];
        auto read = [&](int fd) -> task<> { co_await detail::recv_op(fd, bytes); };
        auto first = weft::spawn(hear(*in, heard));
        co_await k.until_held(1);
        fake_kernel::request r = *reading(k);
        k.receive(r, "a", true);
        co_await first.join();
        k.take_nothing(~0u);
        for (int i = 0; i < 6; ++i) // more than the queue has room for
            others.push_back(weft::spawn(read(1000 + i)));
        co_await yield();
        in.reset();
        unsigned before = k.count().enters;
        co_await sleep_for(1s);
        CHECK(k.holds(r));
        CHECK(k.count().enters - before < 2000); // 200 pauses of 5 ms, and a few calls before each
        k.take_nothing(0);
        co_await until([&] { return !k.holds(r); });
        co_await k.until_held(6);
    };
    runtime_options on = small(k);
    on.ring_entries = 4;
    run(withdraw(), on);
    CHECK(k.count().left_over == 0);
}

TEST_CASE("receiver: no byte is lost or doubled, whatever the kernel does and whoever is stopped",
          "[P3][P16]") {
    with_every_kernel([](dice& d, hostile_stream& peer) -> task<std::string> {
        socket_of_a_fake s;
        receiver in(s.its, {.ahead = 3});
        auto read = [&](std::string& heard, bool& ended) -> task<lent_buffer> {
            lent_buffer data = co_await in.receive();
            heard += data.text();
            ended = !data;
            co_return data;
        };
        co_return co_await read_with_stops(d, peer, read);
    });
}

TEST_CASE("socket: no byte that is received is lost or doubled, whoever is stopped", "[P3][P16]") {
    with_every_kernel([](dice& d, hostile_stream& peer) -> task<std::string> {
        socket_of_a_fake s;
        auto read = [&](std::string& heard, bool& ended) -> task<lent_buffer> {
            lent_buffer data = co_await s.its.receive();
            heard += data.text();
            ended = !data;
            co_return data;
        };
        co_return co_await read_with_stops(d, peer, read);
    });
}

TEST_CASE("socket: no byte that is read is lost or doubled, whoever is stopped", "[P3]") {
    with_every_kernel([](dice& d, hostile_stream& peer) -> task<std::string> {
        socket_of_a_fake s;
        auto read = [&](std::string& heard, bool& ended) -> task<lent_buffer> {
            std::byte bytes[50];
            std::size_t n = co_await s.its.read_some(bytes);
            heard += as_text(std::span(bytes, n));
            ended = n == 0;
            co_return lent_buffer();
        };
        co_return co_await read_with_stops(d, peer, read);
    });
}
