// SPDX-License-Identifier: MIT
// On the real kernel: operations that are stopped at a random moment, very many of them.
#include <weft/runtime/cancellation.hpp>

#include "support/io.hpp"
#include "support/sanitizer.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/receiver.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <malloc.h>
#include <mutex>
#include <optional>
#include <sys/socket.h>
#include <thread>
#include <vector>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr unsigned rounds = sanitized ? 10'000 : 100'000;

// Does a thing once for each time that it is asked to, on a thread of its own.
template <class Action>
class elsewhere {
public:
    explicit elsewhere(Action a) : action_(std::move(a)), thread_([this] { run(); }) {}
    elsewhere(const elsewhere&) = delete;
    elsewhere& operator=(const elsewhere&) = delete;
    ~elsewhere() {
        ended_ = true;
        thread_.join();
    }
    void ask() { ++asked_; }

private:
    void run() {
        unsigned done = 0;
        while (true) {
            bool last = ended_;
            for (; done != asked_; ++done)
                action_();
            if (last)
                return;
            std::this_thread::yield();
        }
    }
    Action action_;
    std::atomic<unsigned> asked_{0};
    std::atomic<bool> ended_{false};
    std::thread thread_;
};

struct score {
    unsigned stopped = 0;
    unsigned ended = 0;
};

// Stops a task at a random moment of the first turns of the loop. What it waits for is made to come
// at another one, here or on the other thread, so the stop and the result often meet on their way.
template <class Here, class There>
task<> stop_some_time(dice& d, task_handle<> t, Here here, There there, score& s) {
    const unsigned stop_at = d.below(4);
    const unsigned comes_at = d.below(4);
    for (unsigned turn = 0; turn < 4 && !t.done(); ++turn) {
        if (turn == comes_at && d.below(2) == 0)
            here();
        else if (turn == comes_at)
            there();
        if (turn == stop_at)
            t.cancel();
        co_await yield();
    }
    t.cancel();
    co_await until([&] { return t.done(); });
    if (t.stopped()) {
        ++s.stopped;
    } else {
        ++s.ended;
        co_await t.join(); // throws what it threw
    }
}

// Bytes of a stream: each place in it has its own, more or less.
std::byte byte_at(std::uint64_t place) {
    return static_cast<std::byte>(place * 31 + place / 256 * 7 + place / 65'536);
}

// Both ends of a stream whose bytes are known.
class known_stream {
public:
    known_stream() {
        auto [ours, theirs] = unix_stream_pair();
        in_.emplace(std::move(ours));
        out_.emplace(std::move(theirs));
    }
    unix_stream& in() { return *in_; }
    /// From one thread at a time; less if there is no room.
    void write(std::size_t n) {
        std::vector<std::byte> bytes(n);
        for (std::size_t i = 0; i < n; ++i)
            bytes[i] = byte_at(written_ + i);
        ssize_t sent = ::send(out_->fd(), bytes.data(), n, MSG_DONTWAIT | MSG_NOSIGNAL);
        written_ += sent < 0 ? 0 : static_cast<std::uint64_t>(sent);
    }
    void write_end() { out_->shutdown_write(); }
    /// Gives false for an end.
    bool heard(std::span<const std::byte> bytes) {
        for (std::byte b : bytes)
            wrong_ += b == byte_at(heard_++) ? 0 : 1;
        return !bytes.empty();
    }
    [[nodiscard]] bool all_heard() const { return wrong_ == 0 && heard_ == written_; }

private:
    std::optional<unix_stream> in_;
    std::optional<unix_stream> out_;
    std::uint64_t written_ = 0;
    std::uint64_t heard_ = 0;
    std::uint64_t wrong_ = 0;
};

std::size_t heap_in_use() { return ::mallinfo2().uordblks; }

// Where stops meet data in different ways.
std::vector<kernel_feature> some_kernels() {
    return {kernel_feature::all, ~kernel_feature::defer_taskrun, ~kernel_feature::buffer_ring,
            ~(kernel_feature::multishot_accept | kernel_feature::multishot_receive)};
}

// Reads by `read(stream)`, which gives false at the end, with stops; then what is left.
template <class Read>
task<> storm_of_reads(unsigned seed, unsigned times, Read read, score& s) {
    known_stream stream;
    dice d(seed, 1);
    std::mutex writing;
    auto write = [&stream, &writing, size = dice(seed, 2)]() mutable {
        std::lock_guard one(writing);
        stream.write(1 + size.below(100));
    };
    bool ended = false;
    auto once = [&]() -> task<> { ended = !co_await read(stream, d); };
    std::size_t heap = 0;
    {
        elsewhere other(write);
        auto ask = [&] { other.ask(); };
        for (unsigned i = 0; i < times; ++i) {
            if (i == times / 2)
                heap = heap_in_use();
            co_await stop_some_time(d, weft::spawn(once()), write, ask, s);
        }
    }
    CHECK(heap_in_use() <= heap + 100'000);
    CHECK_FALSE(ended);
    stream.write_end();
    bool more = true;
    while (more)
        more = co_await read(stream, d);
    CHECK(stream.all_heard());
}

template <class MakeRead>
void storms_of_reads(MakeRead make_read) {
    unsigned seed = new_seed();
    score s;
    for (kernel_feature features : some_kernels()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        runtime_options on;
        on.features = features;
        on.lent_buffer_size = 64;
        on.lent_buffers = 4;
        on.ring_entries = 8;
        run_within(120s, make_read(seed, rounds / 4, s), on);
    }
    CHECK(s.stopped + s.ended == rounds / 4 * 4);
    CHECK(s.stopped > 0);
    CHECK(s.ended > 0);
}

// Connections that say which one they are. Those that are accepted are kept until they have said
// so.
task<> storm_of_accepts(unsigned seed, std::string path, unsigned times, score& s) {
    socket_address a = socket_address::unix_path(path);
    auto l = listen_unix(a, {.ahead = 2});
    dice d(seed, 1);
    std::atomic<std::uint32_t> made{0};
    std::atomic<unsigned> mute{0};
    auto connect = [&] {
        descriptor c(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (::connect(c.get(), a.data(), a.size()) != 0)
            return; // no room in the backlog: it isn't made
        std::uint32_t number = made++;
        if (::send(c.get(), &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
            ++mute;
    };
    std::vector<unix_stream> silent;
    std::vector<unsigned> seen(2 * std::size_t{times}, 0);
    auto listen_to_them = [&] {
        std::erase_if(silent, [&](const unix_stream& c) {
            std::uint32_t number = 0;
            if (::recv(c.fd(), &number, sizeof number, MSG_DONTWAIT) != sizeof number)
                return false;
            ++seen.at(number);
            return true;
        });
    };
    unsigned accepted = 0;
    auto accept = [&]() -> task<> {
        silent.push_back(co_await l.accept());
        ++accepted;
    };
    {
        elsewhere other(connect);
        auto ask = [&] { other.ask(); };
        for (unsigned i = 0; i < times; ++i) {
            co_await stop_some_time(d, weft::spawn(accept()), connect, ask, s);
            listen_to_them();
        }
    }
    while (accepted < made)
        co_await accept();
    listen_to_them();
    CHECK(mute == 0);
    CHECK(silent.empty());
    auto last = seen.begin() + static_cast<std::ptrdiff_t>(made.load());
    bool each_once = std::all_of(seen.begin(), last, [](unsigned n) { return n == 1; });
    CHECK(each_once);
    CHECK(std::all_of(last, seen.end(), [](unsigned n) { return n == 0; }));
    co_await l.close();
}

} // namespace

TEST_CASE("cancel storm: accepts lose and double no connection", "[P3]") {
    unsigned seed = new_seed();
    score s;
    for (kernel_feature features : some_kernels()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        temp_dir dir;
        runtime_options on;
        on.features = features;
        on.ring_entries = 8;
        run_within(120s, storm_of_accepts(seed, dir.path("s"), rounds / 4, s), on);
    }
    CHECK(s.stopped + s.ended == rounds / 4 * 4);
    CHECK(s.stopped > 0);
    CHECK(s.ended > 0);
}

TEST_CASE("cancel storm: reads lose and double no byte", "[P3]") {
    storms_of_reads([](unsigned seed, unsigned times, score& s) -> task<> {
        auto read = [](known_stream& stream, dice& d) -> task<bool> {
            std::byte bytes[64];
            auto room = std::span(bytes).first(1 + d.below(64));
            std::size_t n = co_await stream.in().read_some(room);
            co_return stream.heard(room.first(n));
        };
        co_await storm_of_reads(seed, times, read, s);
    });
}

TEST_CASE("cancel storm: receives lose and double no byte, and no lent buffer", "[P3]") {
    storms_of_reads([](unsigned seed, unsigned times, score& s) -> task<> {
        auto receive = [](known_stream& stream, dice&) -> task<bool> {
            lent_buffer data = co_await stream.in().receive();
            co_return stream.heard(data);
        };
        co_await storm_of_reads(seed, times, receive, s);
    });
}

TEST_CASE("cancel storm: a receiver loses and doubles no byte, and no lent buffer", "[P3]") {
    storms_of_reads([](unsigned seed, unsigned times, score& s) -> task<> {
        std::optional<receiver> in;
        auto receive = [&in](known_stream& stream, dice&) -> task<bool> {
            if (!in)
                in.emplace(stream.in(), receiver_options{.ahead = 2});
            lent_buffer data = co_await in->receive();
            co_return stream.heard(data);
        };
        co_await storm_of_reads(seed, times, receive, s);
    });
}
