// SPDX-License-Identifier: MIT
#include <weft/ipc/synchronized.hpp>

#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/descriptor.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>

#include <array>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

using weft::task;
using weft::tests::on_a_loop;
using weft::tests::until;
namespace ipc = weft::ipc;

namespace {

struct tally {
    int done;
    int failed;
};
using shared_tally = ipc::synchronized<ipc::shared<tally>>;
using shared_numbers = ipc::synchronized<ipc::shared_array<int>>;

template <class S>
concept can_be_synchronized = requires { sizeof(ipc::synchronized<S>); };

ipc::shared_memory again(ipc::shared_memory& m) {
    return ipc::shared_memory::adopt(weft::descriptor(::dup(m.fd())));
}

} // namespace

TEST_CASE("synchronized: a value is read and written with its lock, field by field under it",
          "[MP-SHCT-02][MP-SHCT-03][MP-SHCT-04]") {
    shared_tally here(tally{3, 4});
    shared_tally there(again(here.memory()));
    on_a_loop([&]() -> task<> {
        tally seen = co_await there.load();
        CHECK(seen.done == 3);
        {
            auto now = co_await here.scoped();
            now->done = 5;
            (*now).failed = 6;
            CHECK(there.get_lock().locked());
            seen = co_await here.load(); // it is recursive
            CHECK(seen.done == 5);
            // Others wait meanwhile.
            bool stored = false;
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                auto stores = [&]() -> task<> {
                    co_await there.store(tally{7, 8});
                    stored = true;
                };
                g.spawn(stores());
                co_await until([&] { return here.get_lock().waiting() == 1; });
                CHECK_FALSE(stored);
                CHECK(here.get_obj().done == 5);
                auto ends_here = std::move(now);
            });
            CHECK(stored);
        }
        seen = co_await here.load();
        CHECK(seen.failed == 8);
    });
    CHECK_FALSE(here.get_lock().locked());
    shared_tally fresh;
    CHECK(fresh.get_obj().done == 0);
}

TEST_CASE("synchronized: processes add to one number", "[MP-SHCT-03]") {
    shared_tally t;
    constexpr int rounds = 500;
    auto adds = [&]() -> task<> {
        for (int i = 0; i < rounds; ++i) {
            auto held = co_await t.get_lock().scoped();
            tally seen = co_await t.load();
            ++seen.done;
            co_await t.store(seen);
        }
    };
    std::array<pid_t, 2> children{};
    for (pid_t& c : children) {
        c = ::fork();
        if (c == 0) {
            weft::sync_wait(adds());
            ::_exit(0);
        }
    }
    on_a_loop(adds);
    for (pid_t c : children) {
        int status = -1;
        REQUIRE(::waitpid(c, &status, 0) == c);
        CHECK(status == 0);
    }
    CHECK(t.get_obj().done == 3 * rounds);
}

TEST_CASE("synchronized: an array", "[MP-SHCT-02][MP-SHCT-04]") {
    const std::array<int, 3> numbers{1, 2, 3};
    shared_numbers here{std::span<const int>(numbers)};
    shared_numbers there(again(here.memory()));
    on_a_loop([&]() -> task<> {
        co_await there.store(1, 20);
        int n = co_await here.load(1);
        CHECK(n == 20);
        {
            auto all = co_await here.scoped();
            all[2] = 30;
            CHECK(*all == 1);
        }
        n = co_await there.load(2);
        CHECK(n == 30);
        bool refused = false;
        try {
            co_await here.store(here.size(), 1);
        } catch (const std::out_of_range&) {
            refused = true;
        }
        CHECK(refused);
    });
    CHECK(there.size() >= 3);
    CHECK(here.get_obj()[0] == 1);
    CHECK_THROWS_AS(shared_numbers(0), std::invalid_argument);
    CHECK_THROWS_AS(shared_numbers(ipc::shared_memory::create_nameless(8)), std::invalid_argument);
}

TEST_CASE("synchronized: several values share a lock that is given", "[MP-SHCT-02][MP-SHCT-06]") {
    ipc::recursive_mutex lock;
    shared_tally t(ipc::shared<tally>(tally{1, 2}), lock);
    shared_numbers n(ipc::shared_array<int>(4), lock);
    CHECK_THROWS_WITH(ipc::encode(t), Catch::Contains("whose lock lies elsewhere"));
    on_a_loop([&]() -> task<> {
        auto now = co_await t.scoped();
        CHECK(lock.depth() == 1);
        CHECK(now->failed == 2);
        co_await n.store(3, 9);
    });
    CHECK(n.get_obj()[3] == 9);
    CHECK(&t.get_lock() == &n.get_lock());
    STATIC_REQUIRE_FALSE(can_be_synchronized<shared_tally>);
    STATIC_REQUIRE_FALSE(can_be_synchronized<int>);
}
