// SPDX-License-Identifier: MIT
// Queues in another order than first in, first out, and one without room, where two must meet.
#include "model/items.hpp"
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/sync/detail/fifo_store.hpp>
#include <weft/sync/lifo_queue.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

using stack = weft::lifo_queue<item, atomics>;

using meeting_core = weft::detail::ordered_core<item, weft::detail::fifo_store<item>, atomics>;
class meeting : public weft::detail::basic_queue<meeting_core> {
public:
    explicit meeting(std::size_t /*room*/)
        : basic_queue(weft::detail::exact_capacity{0}, std::uint32_t{0}) {}
};

template <class Queue>
void one_puts_one_gets() {
    Queue q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 2)); }, [&] { home().run(get(q, 2, d)); });
    d.check_each_once(1, 2);
    nobody_waits(q);
}

template <class Queue>
void two_put() {
    Queue q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 1)); }, [&] { home().run(put(q, 2, 2)); },
            [&] { home().run(get(q, 2, d)); });
    d.check_each_once(1, 2);
    nobody_waits(q);
}

template <class Queue>
void two_get() {
    Queue q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 2)); }, [&] { home().run(get(q, 1, d)); },
            [&] { home().run(get(q, 1, d)); });
    d.check_each_once(1, 2);
    nobody_waits(q);
}

/// What isn't given to who is stopped is for the next.
template <class Queue>
void get_is_stopped() {
    Queue q(1);
    delivered d;
    threads([&] { home().run(put(q, 1, 1)); },
            [&] {
                if (!home().run(get(q, 1, d), stop::maybe))
                    home().run(get(q, 1, d));
            });
    d.check_each_once(1, 1);
    nobody_waits(q);
}

template <class Queue>
void put_is_stopped() {
    Queue q(1);
    delivered d;
    bool added = false;
    threads(
        [&] {
            added = home().run(put(q, 1, 1), stop::maybe);
            if (!added)
                home().run(put(q, 2, 2));
        },
        [&] { home().run(get(q, 1, d)); });
    d.check_each_once(added ? 1 : 2, added ? 1 : 2);
    nobody_waits(q);
}

template <class Queue>
void ends() {
    Queue q(1);
    delivered d;
    bool added = false;
    threads([&] { added = unless_shut_down(put(q, 1, 1)); }, [&] { q.shutdown(); },
            [&] { unless_shut_down(get(q, 1, d)); });
    while (q.size() != 0)
        if (auto left = q.try_get())
            d.add(*left);
    if (added)
        d.check_each_once(1, 1);
    nobody_waits(q);
}

template <class Queue>
void is_destroyed_by_who_got() {
    auto* q = new Queue(1);
    delivered d;
    threads([&] { home().run(put(*q, 1, 1)); },
            [&] {
                home().run(get(*q, 1, d));
                delete q;
            });
    d.check_each_once(1, 1);
}

constexpr bounds three{.stale_reads = 1, .spurious = 0};

template <class Queue>
std::vector<named_model> models_of() {
    return {
        {"one puts, one gets", one_puts_one_gets<Queue>},
        {"a get is stopped", get_is_stopped<Queue>},
        {"a put is stopped", put_is_stopped<Queue>},
        {"it is destroyed by who got", is_destroyed_by_who_got<Queue>},
        {"two put", two_put<Queue>, three},
        {"two get", two_get<Queue>, three},
        {"it ends", ends<Queue>, three},
    };
}

} // namespace

TEST_CASE("lifo_queue: no item is lost or doubled in any order of events", "[P1][P3]") {
    for (const named_model& m : models_of<stack>())
        holds(m.name, m.run, m.within);
}

TEST_CASE("channel without room: two meet, or neither does, in any order of events", "[P1][P3]") {
    for (const named_model& m : models_of<meeting>())
        holds(m.name, m.run, m.within);
}

} // namespace weft::model
