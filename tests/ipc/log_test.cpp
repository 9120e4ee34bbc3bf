// SPDX-License-Identifier: MIT
#include "support/io.hpp"

#include <weft/ipc/impl/fork_server.hpp>
#include <weft/ipc/log.hpp>
#include <weft/ipc/start_context.hpp>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <thread>

namespace {

using namespace weft;
using namespace weft::ipc;
using namespace weft::tests;

// Each piece that is written to standard error meanwhile. The logger is then as it was.
class heard {
public:
    heard() : before_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10)) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        ours_.reset(ends[0]);
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[1]);
    }
    heard(const heard&) = delete;
    heard& operator=(const heard&) = delete;
    ~heard() {
        end();
        get_logger().set_to_stderr(false);
        get_logger().set_sink(nullptr);
        get_logger().set_level(log_level::warning);
    }
    std::vector<std::string> end() {
        std::vector<std::string> all;
        if (before_) {
            ::dup2(before_.get(), STDERR_FILENO);
            before_.reset();
            ipc::detail::fork_server::instance().stop(); // it had the other end as well
        }
        char piece[8192];
        ssize_t n = 0;
        while ((n = ::recv(ours_.get(), piece, sizeof piece, MSG_DONTWAIT)) > 0)
            all.emplace_back(piece, static_cast<std::size_t>(n));
        return all;
    }

private:
    descriptor before_, ours_;
};

std::vector<std::string> told;
void tell(log_level l, std::string_view process, std::string_view message) {
    told.push_back(name_of(l) + " of " + std::string(process) + ": " + std::string(message));
}
void tell_and_throw(log_level l, std::string_view process, std::string_view message) {
    tell(l, process, message);
    throw 1;
}

void say_something(int level) { get_logger().say(log_level{level}, "from a child"); }

} // namespace

TEST_CASE("log: says nothing until it is asked to, then a line in one go", "[MP-LOG-01]") {
    using enum log_level;
    heard h;
    logger& log = get_logger();
    log.say(critical, "nobody hears it");
    CHECK_FALSE(log.wants(critical));

    CHECK(&log_to_stderr() == &log);
    CHECK(log.level() == warning);
    log.say(subwarning, "too little");
    log.say(warning, "enough");
    CHECK(&log_to_stderr(subdebug) == &log);
    for (log_level l : {subdebug, debug, info, subwarning, warning, error, critical, log_level{15}})
        log.say(l, name_of(l) + " is " + std::to_string(static_cast<int>(l)));
    log.say(log_level{4}, "too little");
    CHECK(h.end() == std::vector<std::string>{
                         "[WARNING/MainProcess] enough\n",
                         "[SUBDEBUG/MainProcess] SUBDEBUG is 5\n",
                         "[DEBUG/MainProcess] DEBUG is 10\n",
                         "[INFO/MainProcess] INFO is 20\n",
                         "[SUBWARNING/MainProcess] SUBWARNING is 25\n",
                         "[WARNING/MainProcess] WARNING is 30\n",
                         "[ERROR/MainProcess] ERROR is 40\n",
                         "[CRITICAL/MainProcess] CRITICAL is 50\n",
                         "[Level 15/MainProcess] Level 15 is 15\n",
                     });
}

TEST_CASE("log: tells a sink, whose errors are its own", "[MP-LOG-01]") {
    heard h;
    told.clear();
    CHECK(get_logger().set_sink(tell) == nullptr);
    get_logger().say(log_level::error, "to one");
    CHECK(h.end().empty());
    CHECK(get_logger().set_sink(tell_and_throw) == tell);
    log_to_stderr(log_level::info).say(log_level::info, "to both");
    CHECK(told ==
          std::vector<std::string>{"ERROR of MainProcess: to one", "INFO of MainProcess: to both"});
}

TEST_CASE("log: a process logs as the one does that starts it", "[MP-LOG-01][P17]") {
    auto test = [](start_method m) -> task<> {
        process p({.name = "clerk", .start = m}, fn<&say_something>, 25);
        co_await p.start();
        co_await p.join();
        CHECK(p.exit_code() == 0);
    };
    for (start_method m : {start_method::spawn, start_method::forkserver}) {
        CAPTURE(name_of(m));
        heard h;
        get_logger().set_level(log_level{1});
        run_within(20s, test(m)); // off, whatever its level
        log_to_stderr(log_level::info);
        run_within(20s, test(m));
        log_to_stderr(log_level::warning);
        run_within(20s, test(m));
        CHECK(h.end() == std::vector<std::string>{
                             "[INFO/clerk] child process calling its function\n",
                             "[SUBWARNING/clerk] from a child\n",
                             "[INFO/clerk] process ending with exit code 0\n",
                         });
    }
}
