// SPDX-License-Identifier: MIT
#include <weft/ipc/error.hpp>
#include <weft/ipc/impl/tracker.hpp>
#include <weft/ipc/shared_memory_arena.hpp>

#include <catch2/catch.hpp>

#include <csignal>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace {
using namespace weft::ipc;

bool in_shared_memory(const std::string& name) {
    struct stat s{};
    return ::stat(("/dev/shm/" + name).c_str(), &s) == 0;
}
} // namespace

TEST_CASE("shared_memory_arena: its blocks and lists lose their names with it", "[SMM-01]") {
    std::string block, list, early;
    shared_memory kept;
    {
        shared_memory_arena arena;
        shared_memory m = arena.create(100);
        const shareable_list::item items[] = {std::int64_t{7}, std::string("seven")};
        shareable_list l = arena.create_list(items);
        CHECK(m.size() == 100);
        CHECK(l.get(1) == items[1]);
        block = m.name();
        list = l.memory().name();
        CHECK(in_shared_memory(block));
        CHECK(in_shared_memory(list));
        // An interrupt from the terminal doesn't end what looks after them.
        ::kill(weft::ipc::detail::tracker::instance().pid(), SIGINT);

        // A name that was taken away already isn't missed.
        shared_memory gone = arena.create(1);
        early = gone.name();
        gone.unlink();
        kept = std::move(m);
    }
    CHECK_FALSE(in_shared_memory(block));
    CHECK_FALSE(in_shared_memory(list));
    CHECK_FALSE(in_shared_memory(early));
    kept.bytes()[99] = std::byte{1}; // whoever has it keeps it

    shared_memory_arena ended;
    std::string name = ended.create(5).name();
    ended.shutdown();
    CHECK_FALSE(in_shared_memory(name));
    ended.shutdown();
    CHECK_THROWS_AS(ended.create(5), process_error);
    weft::ipc::detail::tracker::instance().stop();
}
