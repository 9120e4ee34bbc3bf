// SPDX-License-Identifier: MIT
// What broadcast and watch are made of.
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/sync/broadcast.hpp>
#include <weft/sync/error.hpp>
#include <weft/sync/watch.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

// Numbers: who destroys an item is found out by std::shared_ptr's counter, which isn't modelled.
using letters = weft::broadcast<int, atomics>;
using value = weft::watch<int, atomics>;

/// Reads until the end. Gives the sum of what it saw and of how many it missed.
task<> read_all(letters::subscription& from, int& seen, std::uint64_t& missed) {
    try {
        while (true) {
            auto got = co_await from.get();
            check(*got > seen, "items come in order, and each once");
            missed += got.missed();
            seen = *got;
        }
    } catch (const weft::queue_shut_down&) {
        co_return;
    }
}

/// Everybody who has subscribed sees every item.
void each_sees_all() {
    letters b(2);
    plain<int> data{0};
    auto one = b.subscribe();
    auto other = b.subscribe();
    auto reads = [&data](letters::subscription& from) {
        return [&data, &from] {
            int seen = 0;
            std::uint64_t missed = 0;
            home().run([&] { return read_all(from, seen, missed); });
            check(seen == 2 && missed == 0, "both are seen");
            check(data == 1, "and what was done before");
        };
    };
    threads(reads(one), reads(other), [&] {
        data = 1;
        b.put(1);
        b.put(2);
        b.shutdown();
    });
    check(b.getting() == 0, "nobody is left in line");
}

/// Who is slow sees the last one, and is told of the others.
void the_slow_one_is_told() {
    letters b(1);
    auto from = b.subscribe();
    int seen = 0;
    std::uint64_t missed = 0;
    int count = 0;
    threads(
        [&] {
            home().run([&]() -> task<> {
                while (seen != 3) {
                    auto got = co_await from.get();
                    ++count;
                    missed += got.missed();
                    seen = *got;
                }
            });
        },
        [&] {
            for (int i = 1; i <= 3; ++i)
                b.put(i);
        });
    check(missed + static_cast<std::uint64_t>(count) == 3, "what isn't seen is counted");
}

/// Who is stopped while waiting hasn't seen what comes then.
void a_stop_sees_nothing() {
    letters b(1);
    auto from = b.subscribe();
    bool got = false;
    threads(
        [&] {
            home().run(
                [&]() -> task<> {
                    co_await from.get();
                    got = true;
                },
                stop::maybe);
        },
        [&] { b.put(1); });
    check(from.unseen() == (got ? 0u : 1u), "it is seen, or still there to see");
    check(b.getting() == 0, "nobody is left in line");
}

/// Two publish at once: each of the readers sees both, in one order.
void two_publish() {
    letters b(2);
    auto from = b.subscribe();
    int sum = 0;
    auto put = [&](int n) { return [&b, n] { b.put(n); }; };
    threads(put(1), put(2), [&] {
        home().run([&]() -> task<> {
            for (int i = 0; i < 2; ++i) {
                auto got = co_await from.get();
                sum += *got;
            }
        });
    });
    check(sum == 3, "both are seen");
}

void latest_value() {
    value v(0);
    auto from = v.subscribe();
    threads(
        [&] {
            v.set(1);
            v.set(2);
        },
        [&] {
            home().run([&]() -> task<> {
                int last = 0;
                while (last != 2) {
                    auto now = co_await from.next();
                    check(*now > last, "no value comes twice");
                    last = *now;
                }
            });
        },
        [&] {
            int first = *v.get();
            check(*v.get() >= first, "values don't go back");
        });
}

constexpr bounds three{.stale_reads = 1, .spurious = 0};

const std::vector<named_model> models{
    {"broadcast, the slow one is told", the_slow_one_is_told},
    {"broadcast, a stop sees nothing", a_stop_sees_nothing},
    {"broadcast, two publish", two_publish, three},
    {"broadcast, each sees all", each_sees_all, three},
    {"watch, the latest value", latest_value, three},
};

} // namespace

TEST_CASE(
    "publication: every reader sees every item or is told, and needs the lock's memory orders",
    "[P1][P3]") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
