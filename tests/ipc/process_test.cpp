// SPDX-License-Identifier: MIT
#include "support/io.hpp"

#include <weft/ipc/impl/fork_server.hpp>
#include <weft/ipc/mutex.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/ipc/synchronized.hpp>
#include <weft/ipc/wait_readable.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/pipe.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;

// --- What processes are made of ------------------------------------------------------------------

struct parcel {
    connection back;
    std::vector<int> numbers;
    std::string text;
};
task<> answer_parcel(parcel p, int factor) {
    for (int& n : p.numbers)
        n *= factor;
    co_await p.back.send(p.numbers);
    co_await p.back.send(p.text + "!");
}

void end_with(int how) {
    switch (how) {
    case 0:
        return;
    case 1:
        throw process_exit(7);
    case 2:
        throw process_exit(true);
    case 3:
        throw process_exit("not today");
    case 4:
        try {
            throw std::runtime_error("moved away");
        } catch (...) {
            std::throw_with_nested(std::out_of_range("no such shelf"));
        }
    case 5:
        std::exit(9);
    case 6:
        ::raise(SIGTERM);
        return;
    case 7:
        throw 5;
    default:
        return;
    }
}
int give_a_number() { return 12; }
task<int> give_a_number_later() {
    co_await yield();
    co_return 12;
}

// Goes on until the other end is closed.
task<> until_closed(connection c) {
    try {
        while (true)
            static_cast<void>(co_await c.receive_bytes());
    } catch (const eof_error&) {
        co_return;
    }
}
void never_end(int fd_of_nothing) {
    while (true)
        ::poll(nullptr, static_cast<nfds_t>(fd_of_nothing), 1000);
}

// Those that lead anywhere.
unsigned open_descriptors() {
    unsigned n = 0;
    DIR* d = ::opendir("/proc/self/fd");
    while (const dirent* e = ::readdir(d)) {
        char target[256] = {};
        std::string name = std::string("/proc/self/fd/") + e->d_name;
        if (::readlink(name.c_str(), target, sizeof target - 1) > 0)
            n += std::string(target) == "/dev/null" ? 0 : 1;
    }
    ::closedir(d);
    return n - 1; // that of the directory
}
struct self_portrait {
    std::string name, parent_name, input;
    int pid = 0, parent_pid = 0;
    bool daemon = false, parent_alive = false;
    unsigned descriptors = 0;
    std::vector<std::byte> key;
};
self_portrait look_at_self() {
    self_portrait p;
    p.descriptors = open_descriptors();
    auto self = current_process();
    p.name = self.name();
    p.pid = self.pid();
    p.daemon = self.daemon();
    if (auto parent = parent_process()) {
        p.parent_name = parent->name();
        p.parent_pid = parent->pid();
        p.parent_alive = parent->alive();
    }
    char target[64] = {};
    if (::readlink("/proc/self/fd/0", target, sizeof target - 1) > 0)
        p.input = target;
    auto key = authkey();
    p.key.assign(key.bytes().begin(), key.bytes().end());
    return p;
}
task<> send_portraits(connection c, bool deeper) {
    self_portrait own = look_at_self();
    co_await c.send(own);
    if (!deeper)
        co_return;
    process p(fn<&send_portraits>, c, false);
    co_await p.start();
    co_await p.join();
}
void portrait_without_loop(descriptor to) {
    byte_buffer b = ipc::encode(look_at_self());
    if (::write(to.get(), b.data(), b.size()) < 0)
        throw process_exit(3);
}

// What a daemon and an ordinary child live to see when their parent ends in an orderly way.
task<> say_when_told(connection c) {
    co_await c.send_bytes(as_bytes("here"));
    static_cast<void>(co_await c.receive_bytes());
    co_await c.send_bytes(as_bytes("done"));
}
task<> leave_children(connection daemon_s, connection other_s, connection may_leave) {
    process d({.daemon = true}, fn<&say_when_told>, std::move(daemon_s));
    process o(fn<&say_when_told>, std::move(other_s));
    co_await d.start();
    co_await o.start();
    static_cast<void>(co_await may_leave.receive_bytes());
}
task<> try_to_have_children(connection c) {
    process p(fn<&give_a_number>);
    std::string said;
    try {
        co_await p.start();
    } catch (const state_error& e) {
        said = e.what();
    }
    co_await c.send(said);
}

void stay(int how) {
    if (how == 1) {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    }
    if (how == 2)
        ::raise(SIGSTOP);
    while (true)
        asm volatile("");
}
// Starts a process from the main thread or from another one, and says who it is.
task<> start_one_and_wait(connection c, int how, bool on_thread, start_method m) {
    process p({.start = m}, fn<&stay>, how);
    if (on_thread)
        std::thread([&] { sync_wait(p.start()); }).join();
    else
        co_await p.start();
    const int sentinel[] = {p.sentinel()};
    co_await c.send_descriptors(sentinel);
    co_await sleep_for(1h);
}

// Arguments are what the codec knows.
static_assert(codable<parcel> && !codable<std::thread> && !codable<std::thread*>);

// --- What tests share ----------------------------------------------------------------------------

// Where this process, and those that it starts, write meanwhile.
class redirected {
public:
    explicit redirected(int fd) : fd_(fd), before_(::fcntl(fd, F_DUPFD_CLOEXEC, 10)) {
        std::fflush(nullptr);
        file_.reset(::memfd_create("output", MFD_CLOEXEC));
        ::dup2(file_.get(), fd_);
    }
    redirected(const redirected&) = delete;
    redirected& operator=(const redirected&) = delete;
    ~redirected() { end(); }
    std::string end() {
        if (!before_)
            return said_;
        std::fflush(nullptr);
        ::dup2(before_.get(), fd_);
        before_.reset();
        char buffer[16384];
        auto n = ::pread(file_.get(), buffer, sizeof buffer, 0);
        said_.assign(buffer, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        return said_;
    }

private:
    int fd_;
    descriptor before_, file_;
    std::string said_;
};

bool ends_within(int pidfd, std::chrono::milliseconds d) {
    pollfd p{pidfd, POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(d.count())) == 1;
}

// Those that can be used here. The helper of forkserver is gone at the end.
class methods_here {
public:
    methods_here() {
        for (start_method m : start_methods()) {
            if (m != start_method::fork || has_one_thread())
                list_.push_back(m);
        }
    }
    methods_here(const methods_here&) = delete;
    methods_here& operator=(const methods_here&) = delete;
    ~methods_here() { ipc::detail::fork_server::instance().stop(); }
    [[nodiscard]] const std::vector<start_method>& list() const { return list_; }

private:
    static bool has_one_thread() {
        DIR* d = ::opendir("/proc/self/task");
        int n = 0;
        while (d != nullptr && ::readdir(d) != nullptr)
            ++n;
        ::closedir(d);
        return n == 3; // with . and ..
    }
    std::vector<start_method> list_;
};

task<int> exit_code_of(int how, start_method m) {
    process p({.start = m}, fn<&end_with>, how);
    co_await p.start();
    co_await p.join();
    co_return p.exit_code().value();
}

} // namespace

TEST_CASE("process: calls a function, plain or coroutine, with what it was given",
          "[MP-PROC-01][MP-START-01][MP-START-03][MP-START-10]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        auto [ours, theirs] = make_connection_pair();
        parcel sent{std::move(theirs), {1, 2, 3}, "well"};
        process p({.start = m}, fn<&answer_parcel>, std::move(sent), 10);
        CHECK_FALSE(theirs.is_open()); // the parcel had it, and the process has it now
        CHECK_FALSE(sent.back.is_open());
        co_await p.start();
        auto numbers = co_await ours.receive<std::vector<int>>();
        auto text = co_await ours.receive<std::string>();
        CHECK(numbers == std::vector{10, 20, 30});
        CHECK(text == "well!");
        exit_status s = co_await p.join();
        CHECK(s == exit_status::by_exit(0));
        exit_status again = co_await p.join();
        CHECK(again == s);

        // What isn't moved stays. A lambda will do.
        auto pair = make_connection_pair();
        std::vector<char> large(std::size_t{5} << 20, 'x');
        auto f = [](connection c, const std::vector<char>& v) -> task<> {
            co_await c.send(std::pair(v.size(), v.back()));
        };
        process q({.start = m}, f, pair.second, large);
        CHECK(pair.second.is_open());
        co_await q.start();
        auto size = co_await pair.first.receive<std::pair<std::size_t, char>>();
        CHECK(size == std::pair(large.size(), 'x'));
        co_await q.join();

        // Sockets, files, memory with and without a name.
        auto nameless = shared_memory::create_nameless(64);
        auto named = shared_memory::create(64);
        auto sockets = unix_stream_pair();
        auto g = [](shared_memory a, shared_memory b, unix_stream u, descriptor d) -> task<> {
            a.bytes()[0] = std::byte{1};
            b.bytes()[0] = std::byte{2};
            co_await u.write_all(as_bytes(b.name()));
            if (::ftruncate(d.get(), 3) != 0)
                throw process_exit(1);
        };
        descriptor file(::memfd_create("test", MFD_CLOEXEC));
        process r({.start = m}, g, nameless, named, std::move(sockets.second), file);
        co_await r.start();
        char name[64];
        std::size_t n = co_await sockets.first.read_some(std::as_writable_bytes(std::span(name)));
        co_await r.join();
        CHECK(r.exit_code() == 0);
        CHECK(std::string(name, n) == named.name());
        CHECK(nameless.bytes()[0] == std::byte{1});
        CHECK(named.bytes()[0] == std::byte{2});
        CHECK(::lseek(file.get(), 0, SEEK_END) == 3);
        named.unlink();
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: two that each send the other 64 MiB before they read both finish", "[P14]") {
    constexpr std::size_t size = std::size_t{64} << 20;
    auto sends_then_reads = [](connection c, char sent, char expected) -> task<> {
        std::vector<char> large(size, sent);
        co_await c.send_bytes(std::as_bytes(std::span(large)));
        byte_buffer got = co_await c.receive_bytes();
        std::byte wanted = static_cast<std::byte>(expected);
        bool right =
            got.size() == size && got.bytes().front() == wanted && got.bytes().back() == wanted;
        if (!right)
            throw process_exit(3);
    };
    auto test = [&]() -> task<> {
        auto [a, b] = make_connection_pair();
        process p(sends_then_reads, std::move(a), 'p', 'q');
        process q(sends_then_reads, std::move(b), 'q', 'p');
        co_await p.start();
        co_await q.start();
        exit_status of_p = co_await p.join();
        exit_status of_q = co_await q.join();
        CHECK(of_p == exit_status::by_exit(0));
        CHECK(of_q == exit_status::by_exit(0));
    };
    run_within(50s, test());
}

TEST_CASE("process: what is more than bytes travels only when a process is made", "[MP-START-11]") {
    auto [a, b] = make_connection_pair();
    CHECK_THROWS_AS(ipc::encode(a), codec_error);
    CHECK_THROWS_AS(static_cast<void>(b.send(a)), codec_error);
    CHECK_THROWS_AS(ipc::encode(shared_memory::create_nameless(8)), codec_error);
    attachments none;
    byte_buffer place = ipc::encode(std::uint32_t{0});
    archive_reader in(place.bytes());
    in.carry(none);
    CHECK_THROWS_AS(ipc::decode<descriptor>(in), codec_error);
    connection closed;
    CHECK_THROWS_AS(process(fn<&until_closed>, closed), state_error);
    CHECK_THROWS_AS(process(fn<&portrait_without_loop>, descriptor()), codec_error);
}

TEST_CASE("process: the exit code says how the function ended", "[MP-PROC-05][P17]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        redirected output(STDERR_FILENO);
        std::vector<int> codes;
        for (int how = 0; how != 8; ++how)
            codes.push_back(co_await exit_code_of(how, m));
        std::string said = output.end();
        CHECK(codes == std::vector{0, 7, 1, 1, 1, 9, -SIGTERM, 1});
        CAPTURE(said);
        CHECK(said.find("not today\n") != std::string::npos);
        auto error = said.find("\nstd::out_of_range: no such shelf\n"
                               "caused by std::runtime_error: moved away\n#0 ");
        CHECK(error != std::string::npos);
        CHECK(said.substr(0, error).find("Process Process-") != std::string::npos);
        CHECK(said.find(":\nint\n") != std::string::npos);

        // Nobody reads what it says: that changes nothing.
        descriptor standard(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10));
        auto deaf = make_pipe();
        deaf.first = pipe_reader();
        ::dup2(deaf.second.fd(), STDERR_FILENO);
        int code = co_await exit_code_of(4, m);
        ::dup2(standard.get(), STDERR_FILENO);
        CHECK(code == 1);

        // What it gives is nobody's.
        process a({.start = m}, fn<&give_a_number>);
        process b({.start = m}, fn<&give_a_number_later>);
        co_await a.start();
        co_await b.start();
        co_await a.join();
        co_await b.join();
        CHECK(a.exit_code() == 0);
        CHECK(b.exit_code() == 0);
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: buffered output comes out at its end", "[MP-PROC-13]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        auto print = [] { std::fputs("half a line", stdout); };
        redirected output(STDOUT_FILENO);
        process p({.start = m}, print);
        co_await p.start();
        co_await p.join();
        std::string said = output.end();
        CHECK(said == "half a line");
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: what fits its state works, and nothing else",
          "[MP-PROC-02][MP-PROC-03][MP-PROC-04][MP-PROC-08][MP-PROC-09][MP-PROC-11]") {
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p({.name = "reader"}, fn<&until_closed>, std::move(theirs));
        CHECK(p.name() == "reader");
        CHECK_FALSE(p.daemon());
        CHECK_FALSE(p.alive());
        CHECK_FALSE(p.pid());
        CHECK_FALSE(p.exit_code());
        CHECK_THROWS_AS(p.sentinel(), state_error);
        CHECK_THROWS_AS(p.terminate(), state_error);
        auto joined = co_await as_result(p.join());
        CHECK_THROWS_AS(joined.value(), state_error);

        co_await p.start();
        CHECK(p.alive());
        CHECK(p.pid().value() > 0);
        CHECK_FALSE(p.exit_code());
        CHECK_FALSE(ends_within(p.sentinel(), 0ms));
        CHECK_THROWS_AS(p.close(), state_error);
        auto started = co_await as_result(p.start());
        CHECK_THROWS_AS(started.value(), state_error);
        auto status = co_await p.join_for(1ms);
        CHECK_FALSE(status);
        status = co_await p.join_for(-1s);
        CHECK_FALSE(status);
        process same = p;
        CHECK(same == p);
        CHECK(active_children() == std::vector{p});

        ours.close();
        const waitable ends[] = {p};
        auto found = co_await wait_readable(ends);
        CHECK(found.size() == 1);
        status = co_await p.join_for(0s);
        CHECK(status.value() == exit_status::by_exit(0));
        CHECK_FALSE(p.alive());
        CHECK(ends_within(p.sentinel(), 0ms));
        CHECK_FALSE(p.kill());
        CHECK_FALSE(p.terminate());
        CHECK(same.exit_code() == 0);
        CHECK(active_children().empty());
        p.close();
        p.close();
        CHECK_THROWS_AS(p.pid(), state_error);
        CHECK_THROWS_AS(same.alive(), state_error);
        CHECK_THROWS_AS(p.kill(), state_error);
        CHECK_THROWS_AS(p.join(), state_error);
        CHECK_THROWS_AS(process().name(), state_error);

        // Signals.
        int expected[] = {SIGTERM, SIGKILL, SIGINT};
        for (int signal : expected) {
            process q(fn<&never_end>, 0);
            co_await q.start();
            bool sent =
                signal == SIGTERM ? q.terminate() : (signal == SIGKILL ? q.kill() : q.interrupt());
            CHECK(sent);
            co_await q.join();
            CHECK(q.exit_code() == -signal);
        }
        // One that is never started has nothing to tell.
        process unused(fn<&never_end>, 0);
        unused.close();
    };
    run_within(30s, test());
}

TEST_CASE("process: many wait for one end, a stopped wait leaves it alone", "[MP-PROC-03]") {
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p(fn<&until_closed>, std::move(theirs));
        co_await p.start();
        std::vector<int> ended;
        auto wait = [&]() -> task<> {
            exit_status s = co_await p.join();
            ended.push_back(s.number());
        };
        co_await with_task_group([&](task_group& g) -> task<> {
            auto a = g.spawn(wait());
            auto b = g.spawn(wait());
            auto c = g.spawn(wait());
            co_await sleep_for(1ms);
            b.cancel();
            co_await yield();
            CHECK(p.alive());
            ours.close();
        });
        CHECK(ended == std::vector{0, 0});
    };
    run_within(30s, test());
}

TEST_CASE("process: knows its name, its parent and the key; gets nothing else",
          "[MP-PROC-06][MP-PROC-12][MP-PROC-14][MP-MISC-01][P12]") {
    CHECK(current_process().name() == "MainProcess");
    CHECK(current_process().pid() == ::getpid());
    CHECK_FALSE(parent_process());
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p({.start = m}, fn<&send_portraits>, std::move(theirs), true);
        co_await p.start();
        auto child = co_await ours.receive<self_portrait>();
        auto grandchild = co_await ours.receive<self_portrait>();
        co_await p.join();
        CHECK(child.name == p.name());
        CHECK(child.name.starts_with("Process-"));
        CHECK(child.pid == p.pid());
        CHECK(child.parent_name == "MainProcess");
        CHECK(child.parent_pid == ::getpid());
        CHECK(child.parent_alive);
        CHECK(child.input == "/dev/null");
        CHECK(grandchild.name == child.name + ":1");
        CHECK(grandchild.parent_name == child.name);
        CHECK(grandchild.parent_pid == child.pid);
        secret_bytes key = authkey();
        CHECK(key.size() == 32);
        CHECK(
            std::equal(key.bytes().begin(), key.bytes().end(), child.key.begin(), child.key.end()));
        CHECK(grandchild.key == child.key);

        // A key of its own.
        secret_bytes other("only between us");
        auto pair = make_connection_pair();
        process q({.daemon = true, .start = m, .key = &other}, fn<&send_portraits>,
                  std::move(pair.second), false);
        co_await q.start();
        auto portrait = co_await pair.first.receive<self_portrait>();
        co_await q.join();
        CHECK(portrait.daemon);
        CHECK(std::string(reinterpret_cast<const char*>(portrait.key.data()),
                          portrait.key.size()) == "only between us");
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
    CHECK_THROWS_AS(set_authkey(secret_bytes(std::string(5000, 'x'))), std::invalid_argument);
}

TEST_CASE("process: a child of a plain fork has another key, and leaves our processes alone",
          "[MP-PROC-12][MP-PROC-02][P12]") {
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p(fn<&until_closed>, std::move(theirs));
        process unstarted(fn<&give_a_number>);
        co_await p.start();
        secret_bytes key = authkey();
        pid_t forked = ::fork();
        if (forked == 0) {
            secret_bytes other = authkey();
            bool zero = true;
            for (std::byte b : other.bytes())
                zero = zero && b == std::byte{0};
            int wrong = zero || other.size() != key.size() ? 1 : 0;
            if (!active_children().empty() || current_process().pid() != ::getpid())
                wrong = 2;
            try { // these throw before anything waits
                static_cast<void>(sync_wait(p.join()));
                wrong = 3;
            } catch (const state_error&) {
                p = process();
            }
            try {
                sync_wait(unstarted.start());
                wrong = 4;
            } catch (const state_error&) {
                unstarted = process();
            }
            ::_exit(wrong);
        }
        int status = 0;
        REQUIRE(::waitpid(forked, &status, 0) == forked);
        CHECK(status == 0);
        CHECK(p.alive());
        ours.close();
        exit_status s = co_await p.join();
        CHECK(s == exit_status::by_exit(0));
    };
    run_within(30s, test());
}

TEST_CASE("process: has as many descriptors with siblings as without", "[MP-PROC-15][P12]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        std::vector<unsigned> counts;
        std::vector<process> siblings;
        std::vector<connection> ends;
        for (int i = 0; i != 3; ++i) {
            auto pipe = make_pipe();
            process p({.start = m}, fn<&portrait_without_loop>, descriptor(pipe.second.release()));
            co_await p.start();
            std::byte raw[4096];
            std::size_t n = co_await pipe.first.read_some(raw);
            co_await p.join();
            counts.push_back(
                ipc::decode<self_portrait>(std::span<const std::byte>(raw, n)).descriptors);
            process_options options;
            options.start = m;
            for (int k = 0; k != 2; ++k) {
                auto [ours, theirs] = make_connection_pair();
                siblings.emplace_back(options, fn<&until_closed>, std::move(theirs));
                ends.push_back(std::move(ours));
                co_await siblings.back().start();
            }
        }
        ends.clear();
        for (process& p : siblings)
            co_await p.join();
        // What it was given, its parent's pidfd, and where it writes.
        unsigned expected = 2;
        for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
            char target[256] = {};
            std::string name = "/proc/self/fd/" + std::to_string(fd);
            bool there = ::readlink(name.c_str(), target, sizeof target - 1) > 0;
            expected += there && std::string(target) != "/dev/null" ? 1 : 0;
        }
        CHECK(counts == std::vector(3, expected));
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

namespace {
struct shared_sum {
    ipc::mutex lock;
    int sum;
};
task<> add_up(ipc::shared<shared_sum> t, ipc::shared_array<int> numbers,
              ipc::synchronized<ipc::shared<int>> calls) {
    auto held = co_await t->lock.scoped();
    for (int n : numbers)
        t->sum += n;
    auto c = co_await calls.scoped();
    ++*c;
}
} // namespace

TEST_CASE("process: values that are shared are arguments", "[MP-SHCT-03]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        ipc::shared<shared_sum> t(std::in_place);
        const int values[] = {1, 2, 3};
        ipc::shared_array<int> numbers{std::span<const int>(values)};
        ipc::synchronized<ipc::shared<int>> calls;
        process p({.start = m}, fn<&add_up>, t, numbers, calls);
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 0);
        CHECK(t->sum == 6);
        CHECK(calls.get_obj() == 1);
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
    // Where the lock is elsewhere, the value alone would lack it.
    ipc::recursive_mutex lock;
    ipc::shared_array<int> numbers(3);
    ipc::shared<shared_sum> t(std::in_place);
    ipc::synchronized<ipc::shared<int>> apart(ipc::shared<int>(1), lock);
    CHECK_THROWS_AS(process(fn<&add_up>, t, numbers, apart), codec_error);
}

TEST_CASE("process: starts where the standard input is closed") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        auto [ours, theirs] = make_connection_pair();
        descriptor input(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
        REQUIRE(::close(STDIN_FILENO) == 0); // its number is the next to be given out
        process p({.start = m}, fn<&answer_parcel>, parcel{std::move(theirs), {1}, "so"}, 10);
        auto started = co_await as_result(p.start());
        REQUIRE(::dup2(input.get(), STDIN_FILENO) == STDIN_FILENO);
        started.value();
        co_await p.join();
        CHECK(p.exit_code() == 0);
        auto numbers = co_await ours.receive<std::vector<int>>();
        CHECK(numbers == std::vector{10});
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: that can't be started throws errno and path, and may be tried again", "[P12]") {
    auto test = []() -> task<> {
        process p({.executable = "/nowhere/nothing"}, fn<&give_a_number>);
        for (int i = 0; i != 2; ++i) {
            auto r = co_await as_result(p.start());
            try {
                r.value();
                FAIL("it was started");
            } catch (const std::system_error& e) {
                CHECK(e.code() == std::errc::no_such_file_or_directory);
                CHECK_THAT(e.what(), Catch::Contains("/nowhere/nothing"));
            }
            CHECK_FALSE(p.pid());
        }
    };
    run_within(30s, test());
}

TEST_CASE("process: killed at any moment, stopped or not, its end is seen", "[P8][P10]") {
    const std::uint64_t s = seed();
    CAPTURE(s);
    std::mt19937_64 random(s);
    methods_here methods;
    auto test = [&](start_method m) -> task<> {
        for (int i = 0; i != 8; ++i) {
            process p({.start = m}, fn<&never_end>, 0);
            co_await p.start();
            co_await sleep_for(std::chrono::microseconds(random() % 3000));
            if (i % 2 == 0)
                p.send_signal(SIGSTOP);
            CHECK(p.kill());
            exit_status end = co_await p.join();
            CHECK(end == exit_status::by_signal(SIGKILL));
        }
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: without descriptors a start fails with the cause, and works afterwards",
          "[P16]") {
    methods_here methods;
    auto test = [](start_method m) -> task<> {
        process p({.start = m}, fn<&give_a_number>);
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
        rlimit none = before;
        none.rlim_cur = 0; // what is open stays so
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
        auto r = co_await as_result(p.start());
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
        try {
            r.value();
            FAIL("it was started");
        } catch (const std::system_error& e) {
            CHECK(e.code() == std::errc::too_many_files_open);
        }
        CHECK_FALSE(p.pid());
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 0);
    };
    for (start_method m : methods.list()) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}

TEST_CASE("process: one that nobody holds any more is reaped", "[MP-PROC-11][P11][MP-GUIDE-02]") {
    auto test = []() -> task<> {
        {
            process p(fn<&give_a_number>);
            co_await p.start();
        }
        // Nothing is asked of the library here.
        siginfo_t info{};
        while (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            co_await sleep_for(1ms);
        CHECK(errno == ECHILD);
    };
    run_within(30s, test());
}

TEST_CASE("process: at the end of its parent daemons are terminated, others are waited for",
          "[MP-PROC-07]") {
    auto test = []() -> task<> {
        auto [daemon, daemon_s] = make_connection_pair();
        auto [other, other_s] = make_connection_pair();
        auto [leave, may_leave] = make_connection_pair();
        process parent(fn<&leave_children>, std::move(daemon_s), std::move(other_s),
                       std::move(may_leave));
        co_await parent.start();
        static_cast<void>(co_await daemon.receive_bytes());
        static_cast<void>(co_await other.receive_bytes());
        co_await leave.send_bytes({});
        // The daemon goes although it wasn't told anything, and the other one doesn't.
        auto gone = co_await as_result(daemon.receive_bytes());
        CHECK_THROWS_AS(gone.value(), eof_error);
        CHECK(parent.alive());
        co_await other.send_bytes({});
        byte_buffer last = co_await other.receive_bytes();
        CHECK(last.size() == 4);
        exit_status s = co_await parent.join();
        CHECK(s == exit_status::by_exit(0));
    };
    run_within(30s, test());
}

TEST_CASE("process: a daemon has no children", "[MP-PROC-02]") {
    auto test = []() -> task<> {
        auto [ours, theirs] = make_connection_pair();
        process p({.daemon = true}, fn<&try_to_have_children>, std::move(theirs));
        co_await p.start();
        auto said = co_await ours.receive<std::string>();
        CHECK(said == "a daemon can't start processes");
        co_await p.join();
    };
    run_within(30s, test());
}

TEST_CASE("process: none outlives a parent that is killed", "[P11]") {
    auto test = [](start_method m) -> task<> {
        for (int how = 0; how != 5; ++how) { // busy, deaf, stopped; and from a thread that is gone
            CAPTURE(how);
            auto [ours, theirs] = make_connection_pair();
            process p(fn<&start_one_and_wait>, std::move(theirs), how % 3, how >= 3, m);
            co_await p.start();
            auto sentinels = co_await ours.receive_descriptors();
            CHECK_FALSE(ends_within(sentinels.at(0).get(), 0ms));
            p.kill();
            co_await p.join();
            CHECK(ends_within(sentinels.at(0).get(), 40s));
        }
    };
    for (start_method m : {start_method::spawn, start_method::forkserver}) {
        CAPTURE(name_of(m));
        run_within(30s, test(m));
    }
}
