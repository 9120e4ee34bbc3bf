// SPDX-License-Identifier: MIT
#include <weft/runtime/terminal.hpp>

#include "support/io.hpp"

#include <weft/runtime/stream.hpp>

#include <catch2/catch.hpp>

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>

using namespace weft;
using namespace weft::tests;

static_assert(byte_reader<standard_stream> && byte_writer<standard_stream>);

namespace {
// A terminal of our own, with us at its other end.
class pseudo_terminal {
public:
    pseudo_terminal() {
        int ours = -1;
        int theirs = -1;
        winsize size{};
        size.ws_col = 80;
        size.ws_row = 25;
        REQUIRE(::openpty(&ours, &theirs, nullptr, nullptr, &size) == 0);
        ours_ = descriptor(ours);
        theirs_ = descriptor(theirs);
    }
    [[nodiscard]] standard_stream keyboard() const { return standard_stream(ours_.get()); }
    [[nodiscard]] standard_stream program() const { return standard_stream(theirs_.get()); }

private:
    descriptor ours_;
    descriptor theirs_;
};
} // namespace

TEST_CASE("terminal: lines typed are read, and what is written is seen") {
    auto type = []() -> task<> {
        pseudo_terminal t;
        auto keyboard = t.keyboard();
        auto program = t.program();
        CHECK(program.is_terminal());
        auto size = size_of_terminal(program);
        REQUIRE(size);
        CHECK(size->columns == 80);
        CHECK(size->rows == 25);
        std::byte into[64];
        bool timed_out = false;
        try {
            co_await with_timeout(5ms, program.read_some(into));
        } catch (const timeout_error&) {
            timed_out = true;
        }
        CHECK(timed_out);
        co_await write_all(keyboard, as_bytes("first line\n"));
        std::size_t n = co_await program.read_some(into);
        CHECK(as_text(std::span(into, n)) == "first line\n");
        co_await write_all(keyboard, as_bytes("\x04")); // end of input
        n = co_await program.read_some(into);
        CHECK(n == 0);
        co_await write_all(program, as_bytes("seen"));
        std::string seen;
        while (seen.find("seen") == seen.npos) {
            n = co_await keyboard.read_some(into);
            seen += as_text(std::span(into, n));
        }
    };
    run_within(10s, type());
}

TEST_CASE("terminal: the standard streams are the process's") {
    CHECK(standard_input().fd() == 0);
    CHECK(standard_output().fd() == 1);
    CHECK(standard_error().fd() == 2);
    descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    standard_stream no_terminal(null.get());
    CHECK_FALSE(no_terminal.is_terminal());
    CHECK_FALSE(size_of_terminal(no_terminal));
}
