// SPDX-License-Identifier: MIT
#include <weft/ipc/error.hpp>

#include <catch2/catch.hpp>

using namespace weft::ipc;

TEST_CASE("remote_error: holds type, text and trace, none of them longer than 64 KiB", "[P5]") {
    remote_error e("demo::failure", "it broke", "#0 here\n");
    CHECK(std::string(e.what()) == "demo::failure: it broke");
    CHECK(e.type_name() == "demo::failure");
    CHECK(e.text() == "it broke");
    CHECK(e.trace() == "#0 here\n");
    CHECK(std::string(remote_error("int", "").what()) == "int");

    std::string longer(remote_error::longest_text + 1, 'x');
    remote_error cut(longer, longer, longer);
    CHECK(cut.type_name().size() == remote_error::longest_text);
    CHECK(cut.text().size() == remote_error::longest_text);
    CHECK(cut.trace().size() == remote_error::longest_text);
}

TEST_CASE("worker_lost: says who and how") {
    worker_lost e(42, exit_status::by_signal(9));
    CHECK(e.pid() == 42);
    CHECK(e.status() == exit_status::by_signal(9));
    CHECK(std::string(e.what()) == "worker 42 was lost: it was killed by signal 9 (SIGKILL)");
    CHECK(std::string(worker_lost(1, exit_status::by_exit(3)).what()) ==
          "worker 1 was lost: it exited with code 3");

    worker_lost::details d;
    d.out_of_memory = true;
    d.function = "area(double)";
    d.tag = 5;
    d.ran_for = std::chrono::milliseconds(61'045);
    d.last_words = "one\n\ntwo\x1b[0m\n";
    worker_lost all(42, exit_status::by_signal(9), d);
    CHECK(all.out_of_memory());
    CHECK(all.function() == "area(double)");
    CHECK(all.tag() == 5);
    CHECK(all.ran_for() == d.ran_for);
    CHECK(all.last_words() == d.last_words);
    CHECK(std::string(all.what()) ==
          "worker 42 was lost: it was killed by signal 9 (SIGKILL) because memory ran out, 61.045 "
          "s after it began area(double) (task 5); it last wrote: one | two[0m");
}
