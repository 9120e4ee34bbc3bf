// SPDX-License-Identifier: MIT
#include "model/items.hpp"
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/sync/queue.hpp>

#include <catch2/catch.hpp>

#include <array>

namespace weft::model {

namespace {

using items = weft::queue<item, atomics>;

// --- Putting and getting -------------------------------------------------------------------------

/// One slot: each item waits for the one before.
void one_slot() {
    items q(1);
    threads([&] { home().run(put(q, 1, 2)); },
            [&] {
                home().run([&]() -> task<> {
                    for (int i = 1; i <= 2; ++i) {
                        item got = co_await q.get();
                        check(got.value() == i, "first in, first out");
                    }
                });
            });
    check(q.empty(), "nothing is left");
    nobody_waits(q);
}

void two_slots_without_waiting() {
    items q(2);
    int next = 1;
    threads(
        [&] {
            for (int i = 1; i <= 3; ++i) {
                item one(i);
                if (!q.try_put(std::move(one))) {
                    check(one.value() == i, "what isn't put stays where it is");
                    break;
                }
            }
        },
        [&] {
            for (int i = 0; i < 2; ++i)
                if (auto got = q.try_get())
                    check(got->value() == next++, "first in, first out");
        });
    while (auto left = q.try_get())
        check(left->value() == next++, "first in, first out");
    check(next >= 3, "two fit in");
}

void two_who_put() {
    items q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 1)); }, [&] { home().run(put(q, 2, 2)); },
            [&] { home().run(get(q, 2, d)); });
    d.check_each_once(1, 2);
    nobody_waits(q);
}

void two_who_get() {
    items q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 2)); }, [&] { home().run(get(q, 1, d)); },
            [&] { home().run(get(q, 1, d)); });
    d.check_each_once(1, 2);
    nobody_waits(q);
}

/// Items of one who puts keep their order, whoever gets them from the line of those who wait.
void order_of_one_who_puts() {
    items q(2);
    check(q.try_put(item(1)), "there is room");
    threads([&] { home().run(put(q, 2, 3)); },
            [&] {
                home().run([&]() -> task<> {
                    int last = 0;
                    for (int i = 0; i < 3; ++i) {
                        item got = co_await q.get();
                        check(got.value() == last + 1, "first in, first out");
                        last = got.value();
                    }
                });
            });
    nobody_waits(q);
}

/// The ring is full: the next item goes to a ring of twice the size, and who gets follows.
void a_ring_that_grows() {
    items q;
    for (int i = 1; i <= 15; ++i)
        check(q.try_put(item(i)), "there is no bound");
    delivered d;
    for (int i = 1; i <= 14; ++i)
        if (auto got = q.try_get())
            d.add(*got);
    for (int i = 16; i <= 29; ++i)
        check(q.try_put(item(i)), "there is no bound");
    threads([&] { home().run(put(q, 30, 31)); },
            [&] {
                for (int i = 0; i < 2; ++i)
                    if (auto got = q.try_get())
                        d.add(*got);
            });
    d.drain(q);
    d.check_each_once(1, 31);
}

void who_drops_a_ring() {
    items q;
    for (int i = 1; i <= 16; ++i)
        check(q.try_put(item(i)), "there is no bound");
    delivered d;
    for (int i = 1; i <= 15; ++i)
        if (auto got = q.try_get())
            d.add(*got);
    for (int i = 17; i <= 31; ++i)
        check(q.try_put(item(i)), "there is no bound");
    auto take = [&] {
        for (int i = 0; i < 2; ++i)
            if (auto got = q.try_get())
                d.add(*got);
    };
    threads(take, take);
    d.drain(q);
    d.check_each_once(1, 31);
}

// --- Stops ---------------------------------------------------------------------------------------

/// A stopped get has taken nothing.
void a_get_that_is_stopped() {
    items q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 1)); }, [&] { home().run(get(q, 1, d), stop::maybe); });
    d.drain(q);
    d.check_each_once(1, 1);
    nobody_waits(q);
}

/// What a stopped one was to get goes to the next.
void a_get_that_is_stopped_before_another() {
    items q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 1)); }, [&] { home().run(get(q, 1, d), stop::surely); },
            [&] { home().run(get(q, 1, d), stop::surely); });
    d.drain(q);
    d.check_each_once(1, 1);
    nobody_waits(q);
}

/// A stopped put has added nothing.
void a_put_that_is_stopped() {
    items q(1);
    check(q.try_put(item(1)), "there is room");
    delivered d;
    bool added = false;
    threads([&] { added = home().run(put(q, 2, 2), stop::maybe); },
            [&] { home().run(get(q, 1, d)); });
    check(q.size() == (added ? 1 : 0), "it was added, or it was stopped");
    d.drain(q);
    d.check_each_once(1, added ? 2 : 1);
    nobody_waits(q);
}

/// The room that a stopped one waited for is there for the next.
void a_put_that_is_stopped_before_another() {
    items q(1);
    check(q.try_put(item(1)), "there is room");
    delivered d;
    bool added = false;
    threads([&] { added = home().run(put(q, 3, 3), stop::surely); },
            [&] { home().run(put(q, 2, 2)); }, [&] { home().run(get(q, 2, d)); });
    d.drain(q);
    d.check_each_once(1, added ? 3 : 2);
    nobody_waits(q);
}

// --- Shutting down -------------------------------------------------------------------------------

void shut_down_while_somebody_gets() {
    items q(1);
    delivered d;
    bool added = false;
    threads([&] { added = unless_shut_down(put(q, 1, 1)); }, [&] { q.shutdown(); },
            [&] { unless_shut_down(get(q, 2, d)); });
    if (added)
        d.check_each_once(1, 1);
    check(q.is_shutdown() && q.empty(), "what was put before is got before the end");
    nobody_waits(q);
}

void shut_down_while_somebody_puts() {
    items q(1);
    check(q.try_put(item(1)), "there is room");
    delivered d;
    bool added = false;
    threads([&] { added = unless_shut_down(put(q, 2, 2)); }, [&] { q.shutdown(); },
            [&] { unless_shut_down(get(q, 1, d)); });
    while (q.size() != 0)
        if (auto left = q.try_get())
            d.add(*left);
    d.check_each_once(1, added ? 2 : 1);
    nobody_waits(q);
}

/// What is left is thrown away, and counts as done.
void shut_down_at_once() {
    items q(2);
    check(q.try_put(item(1)), "there is room");
    threads([&] { unless_shut_down(put(q, 2, 2)); }, [&] { q.shutdown(true); },
            [&] {
                if (unless_shut_down([&]() -> task<> {
                        item got = co_await q.get();
                        check(got.value() == 1, "first in, first out");
                    }))
                    q.task_done();
            });
    check(q.unfinished() == 0 && q.empty(), "nothing is left");
    nobody_waits(q);
}

/// Who hears that it is over destroys it.
void shut_down_and_destroyed() {
    auto* q = new items(1);
    threads([&] { q->shutdown(); },
            [&] {
                check(!unless_shut_down([&]() -> task<> { co_await q->get(); }), "it is over");
                delete q;
            });
}

/// Who got the last item destroys it.
void got_and_destroyed() {
    auto* q = new items(1);
    delivered d;
    threads([&] { home().run(put(*q, 1, 1)); },
            [&] {
                home().run(get(*q, 1, d));
                delete q;
            });
    d.check_each_once(1, 1);
}

// --- What is done --------------------------------------------------------------------------------

void joined_when_all_is_done() {
    items q(1);
    plain<int> result{0};
    check(q.try_put(item(1)), "there is room");
    threads(
        [&] {
            home().run([&]() -> task<> {
                item got = co_await q.get();
                result = got.value();
            });
            q.task_done();
        },
        [&] {
            home().run([&]() -> task<> { co_await q.join(); });
            check(result == 1, "what was done is seen");
            check(q.unfinished() == 0, "all is done");
        });
    nobody_waits(q);
}

void joined_while_more_is_put() {
    items q(1);
    auto work = [&] {
        home().run([&]() -> task<> {
            item got = co_await q.get();
            check(got.value() == 1, "it is the one");
        });
        q.task_done();
    };
    threads([&] { home().run(put(q, 1, 1)); }, work,
            [&] { home().run([&]() -> task<> { co_await q.join(); }, stop::maybe); });
    check(q.unfinished() == 0, "all is done");
    nobody_waits(q);
}

void done_too_often() {
    items q(1);
    check(q.try_put(item(1)), "there is room");
    check(q.try_get().has_value(), "there is an item");
    int refused = 0;
    auto done = [&] {
        try {
            q.task_done();
        } catch (const std::invalid_argument&) {
            ++refused;
        }
    };
    threads(done, done);
    check(refused == 1, "one item is done once");
}

// --- Snapshots -----------------------------------------------------------------------------------

using core = weft::detail::queue_core<item, atomics>;

void look_at(core& c) {
    check(c.s.size() <= 2, "no more items than were put");
    check(c.s.unfinished() <= 2, "no more items than were put");
}

void size_while_items_come_and_go() {
    core c(2);
    threads([&] { static_cast<void>(c.put_now(item(1))); },
            [&] { static_cast<void>(c.get_now([](item&&) {})); }, [&] { look_at(c); });
}

/// Also when the item of one who waited comes in.
void size_while_somebody_waits_for_room() {
    core c(1);
    threads(
        [&] {
            home().run([&]() -> task<> {
                co_await core::put_op(c, item(1));
                co_await core::put_op(c, item(2));
            });
        },
        [&] {
            home().run([&]() -> task<> {
                for (int i = 0; i < 2; ++i)
                    co_await core::get_op(c);
            });
        },
        [&] { look_at(c); });
}

void size_while_it_is_shut_down() {
    core c(2);
    threads([&] { static_cast<void>(c.put_now(item(1))); }, [&] { c.shut_down(true); },
            [&] { look_at(c); });
}

constexpr bounds smaller{.stale_reads = 1, .spurious = 0};

constexpr bounds smallest{.stale_reads = 0, .spurious = 0};

const std::vector<named_model> models{
    {"one slot", one_slot, smaller},
    {"two slots without waiting", two_slots_without_waiting},
    {"two who put", two_who_put, smaller},
    {"two who get", two_who_get, smaller},
    {"order of one who puts", order_of_one_who_puts, smaller},
    {"a ring that grows", a_ring_that_grows},
    {"who drops a ring", who_drops_a_ring},
    {"a get that is stopped", a_get_that_is_stopped},
    {"a get that is stopped before another", a_get_that_is_stopped_before_another, smaller},
    {"a put that is stopped", a_put_that_is_stopped},
    {"a put that is stopped before another", a_put_that_is_stopped_before_another, smallest},
    {"shut down while somebody gets", shut_down_while_somebody_gets, smaller},
    {"shut down while somebody puts", shut_down_while_somebody_puts, smaller},
    {"shut down at once", shut_down_at_once, smaller},
    {"shut down and destroyed", shut_down_and_destroyed},
    {"got and destroyed", got_and_destroyed},
    {"joined when all is done", joined_when_all_is_done},
    {"joined while more is put", joined_while_more_is_put, smaller},
    {"done too often", done_too_often},
    {"size while items come and go", size_while_items_come_and_go},
    {"size while somebody waits for room", size_while_somebody_waits_for_room, smaller},
    {"size while it is shut down", size_while_it_is_shut_down},
};

} // namespace

TEST_CASE(
    "queue: each item is delivered once, nobody is forgotten, and each memory order is needed",
    "[P1][P3]") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
