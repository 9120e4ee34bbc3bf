// SPDX-License-Identifier: MIT
#include <weft/ipc/exit_status.hpp>

#include <catch2/catch.hpp>

#include <csignal>

using weft::ipc::exit_status;

TEST_CASE("exit_status: tells an exit from a signal") {
    auto exited = exit_status::by_exit(3);
    CHECK((exited.known() && exited.exited() && !exited.killed()));
    CHECK(exited.code() == 3);
    CHECK(exited.number() == 3);
    CHECK(exited.text() == "exited with code 3");

    auto killed = exit_status::by_signal(SIGKILL);
    CHECK((killed.known() && killed.killed() && !killed.exited()));
    CHECK(killed.signal() == SIGKILL);
    CHECK(killed.number() == -SIGKILL);
    CHECK(killed.text() == "killed by signal 9 (SIGKILL)");
    CHECK(exit_status::by_signal(SIGSEGV, true).text() ==
          "killed by signal 11 (SIGSEGV), core dumped");
    CHECK(exit_status::by_signal(SIGRTMAX).text() ==
          "killed by signal " + std::to_string(SIGRTMAX));

    exit_status unknown;
    CHECK(!unknown.known());
    CHECK(unknown != exited);
}
