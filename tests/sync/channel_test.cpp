// SPDX-License-Identifier: MIT
#include <weft/sync/channel.hpp>

#include "sync/on_loops.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/error.hpp>
#include <weft/sync/event.hpp>
#include <weft/sync/select.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using weft::channel_receiver;
using weft::channel_sender;
using weft::make_channel;
using weft::task;
using weft::tests::on_a_loop;
using weft::tests::on_loops;
using weft::tests::until;

namespace {

task<> put_and_note(channel_sender<int>& to, int item, std::vector<int>& order) {
    co_await to.put(item);
    order.push_back(item);
}
task<> get_and_note(channel_receiver<int>& from, std::vector<int>& got) {
    int item = co_await from.get();
    got.push_back(item);
}

// Whether it ends with that error.
template <class Error, class Op>
task<bool> fails_with(Op op) {
    bool so = false;
    try {
        static_cast<void>(co_await std::move(op));
    } catch (const Error&) {
        so = true;
    }
    co_return so;
}

} // namespace

TEST_CASE("channel: without room, who puts goes on when the item is taken") {
    auto [to, from] = make_channel<int>();
    CHECK(to.capacity() == 0);
    std::vector<int> order, got;
    channel_sender<int>& s = to;
    channel_receiver<int>& r = from;
    on_a_loop([&]() -> task<> {
        CHECK_FALSE(s.try_put(9));
        CHECK_FALSE(r.try_get());
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            for (int i = 1; i <= 3; ++i) {
                g.spawn(put_and_note(s, i, order));
                co_await until([&] { return s.putting() == static_cast<std::size_t>(i); });
            }
            CHECK(s.size() == 0);
            CHECK_FALSE(s.try_put(9)); // nobody overtakes
            CHECK(r.try_get() == 1);
            CHECK(s.putting() == 2);
            CHECK(order.empty()); // nobody runs inside of try_get
            co_await get_and_note(r, got);
            co_await get_and_note(r, got);
            co_await until([&] { return order.size() == 3; });
            CHECK_FALSE(r.try_get());

            g.spawn(get_and_note(r, got));
            co_await until([&] { return r.getting() == 1; });
            CHECK(s.try_put(4)); // there is somebody
            CHECK_FALSE(s.try_put(5));
            co_await until([&] { return got.size() == 3; });
        });
    });
    CHECK(order == std::vector<int>{1, 2, 3});
    CHECK(got == std::vector<int>{2, 3, 4});
}

TEST_CASE("channel: with room, that many items go ahead, in their order") {
    for (std::size_t capacity : {1u, 3u, 100u}) {
        auto [to, from] = make_channel<std::size_t>(capacity);
        CHECK(from.capacity() == capacity);
        std::size_t put = 0, got = 0;
        bool right = true;
        for (int round = 0; round < 7; ++round) { // around its ring
            while (to.try_put(put))
                ++put;
            right = right && to.size() == capacity;
            for (std::size_t i = 0; i < capacity / 2 + 1; ++i)
                right = from.try_get() == got++ && right;
        }
        CHECK(right);
    }
}

TEST_CASE("channel: when the last sender is gone, what is left is got, and then the end") {
    std::vector<int> got;
    on_a_loop([&]() -> task<> {
        auto ends = make_channel<int>(3);
        auto& [to, from] = ends;
        channel_sender<int> second = to;
        CHECK(to.try_put(1));
        CHECK(second.try_put(2));
        to.close();
        CHECK_FALSE(to);
        CHECK_THROWS_AS(to.try_put(3), weft::state_error);
        CHECK_FALSE(from.is_shutdown());
        CHECK(second.try_put(3));
        {
            channel_sender<int> last = std::move(second);
        }
        CHECK(from.is_shutdown());
        for (int i = 0; i < 3; ++i)
            co_await get_and_note(from, got);
        bool told = co_await fails_with<weft::queue_shut_down>(from.get());
        CHECK(told);
        CHECK_THROWS_AS(from.try_get(), weft::queue_shut_down);

        auto empty = make_channel<int>(); // and who waits already is told
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(fails_with<weft::queue_shut_down>(empty.second.get()));
            co_await until([&] { return empty.second.getting() == 1; });
            empty.first.close();
            bool so = co_await waits.join();
            CHECK(so);
        });
    });
    CHECK(got == std::vector<int>{1, 2, 3});
}

TEST_CASE("channel: when the last receiver is gone, nobody can send, and what is left is freed") {
    auto content = std::make_shared<int>(1);
    on_a_loop([&]() -> task<> {
        using pointer = std::shared_ptr<int>;
        auto ends = make_channel<pointer>(1);
        auto& [to, from] = ends;
        channel_receiver<pointer> second = from;
        CHECK(to.try_put(content));
        from.close();
        CHECK_FALSE(to.is_shutdown());
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto waits = g.spawn(fails_with<weft::queue_shut_down>(to.put(nullptr)));
            co_await until([&] { return to.putting() == 1; });
            second.close();
            bool told = co_await waits.join();
            CHECK(told);
        });
        CHECK(content.use_count() == 1);
        CHECK_THROWS_AS(to.try_put(nullptr), weft::queue_shut_down);
        bool told = co_await fails_with<weft::queue_shut_down>(to.put(nullptr));
        CHECK(told);
    });
}

TEST_CASE("channel: with a deadline a wait gives up", "[G-01][G-03]") {
    on_a_loop([&]() -> task<> {
        auto ends = make_channel<int>();
        auto& [to, from] = ends;
        const auto begin = weft::clock::now();
        bool so = co_await fails_with<weft::queue_empty>(from.get_for(3ms));
        CHECK(so);
        so = co_await fails_with<weft::queue_full>(to.put_for(1, 3ms));
        CHECK(so);
        CHECK(weft::clock::now() - begin >= 6ms);
        so = co_await fails_with<weft::queue_empty>(from.get_until(begin));
        CHECK(so);
        so = co_await fails_with<weft::queue_full>(to.put_until(1, begin));
        CHECK(so);
        so = co_await fails_with<weft::queue_full>(to.put_for(1, 0ns));
        CHECK(so);
        CHECK_THROWS_AS(to.put_for(1, -1ns), std::invalid_argument);
        CHECK_THROWS_AS(from.get_for(-1ns), std::invalid_argument);
        CHECK(from.getting() + to.putting() == 0);
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            std::vector<int> order;
            g.spawn(put_and_note(to, 2, order));
            co_await until([&] { return to.putting() == 1; });
            int item = co_await from.get_for(0ns); // somebody is there
            CHECK(item == 2);
            co_await until([&] { return order.size() == 1; });
        });
    });
}

TEST_CASE("channel: who is stopped leaves no trace; who has met the other goes on", "[G-05][P3]") {
    std::vector<int> order, got;
    on_a_loop([&]() -> task<> {
        auto ends = make_channel<int>();
        auto& [to, from] = ends;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto first = g.spawn(put_and_note(to, 1, order));
            auto second = g.spawn(put_and_note(to, 2, order));
            co_await until([&] { return to.putting() == 2; });
            first.cancel();
            CHECK(to.putting() == 1);
            co_await get_and_note(from, got);
            second.cancel(); // its item was taken
            co_await until([&] { return first.done() && second.done(); });
            auto gets = g.spawn(get_and_note(from, got));
            co_await until([&] { return from.getting() == 1; });
            gets.cancel();
            CHECK_FALSE(to.try_put(3));
            co_await until([&] { return gets.done(); });
        });
    });
    CHECK(order == std::vector<int>{2});
    CHECK(got == std::vector<int>{2});
}

namespace {
struct fragile {
    explicit fragile(int n) : number(n) {}
    fragile(fragile&& other) : number(other.number) {
        if (fails)
            throw std::runtime_error("a move failed");
    }
    fragile& operator=(fragile&&) = delete;
    int number;
    static inline bool fails = false;
};
} // namespace

TEST_CASE("channel: an item that can't be moved stays with who puts it") {
    on_a_loop([&]() -> task<> {
        auto ends = make_channel<fragile>();
        auto& [to, from] = ends;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto puts = [&]() -> task<> {
                fragile item(1);
                co_await to.put(std::move(item));
            };
            auto waits = g.spawn(puts());
            co_await until([&] { return to.putting() == 1; });
            fragile::fails = true;
            CHECK_THROWS_AS(from.try_get(), std::runtime_error);
            fragile::fails = false;
            CHECK(to.putting() == 1);
            CHECK(from.try_get()->number == 1);
            co_await waits.join();
        });
    });
}

TEST_CASE("channel: to get takes part in a select, and leaves the item if it isn't chosen") {
    on_a_loop([&]() -> task<> {
        auto ends = make_channel<int>();
        auto& [to, from] = ends;
        weft::event e;
        std::vector<int> order;
        co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
            auto either = [&](std::size_t expected) -> task<> {
                auto first = co_await weft::select(e.wait(), from.get());
                CHECK(first.index() == expected);
            };
            auto waits = g.spawn(either(0));
            co_await until([&] { return from.getting() == 1; });
            e.set();
            CHECK_FALSE(to.try_put(1)); // that one has been decided
            co_await waits.join();
            e.clear();
            waits = g.spawn(either(1));
            co_await until([&] { return from.getting() == 1; });
            CHECK(to.try_put(2));
            e.set();
            co_await waits.join();
            e.clear();
            g.spawn(put_and_note(to, 3, order));
            co_await until([&] { return to.putting() == 1; });
            co_await either(1);
            co_await until([&] { return order.size() == 1; });
        });
    });
}

namespace {

// An item that is counted, wherever it is.
class counted {
public:
    explicit counted(int n) noexcept : number_(n) { ++alive; }
    counted(counted&& other) noexcept : number_(std::exchange(other.number_, 0)) { ++alive; }
    counted& operator=(counted&&) = delete;
    ~counted() { --alive; }
    [[nodiscard]] int number() const noexcept { return number_; }
    static inline std::atomic<long> alive{0};

private:
    int number_;
};

struct totals {
    std::atomic<long> put{0}, put_sum{0}, got{0}, got_sum{0};
};

task<> mix_puts(channel_sender<counted> to, totals& t, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    int n = 0;
    auto one = [&]() -> task<> {
        int number = n;
        co_await to.put(counted(number));
        ++t.put;
        t.put_sum += number;
    };
    for (const weft::tests::mixing_time time; !time.over() || n == 0;) {
        ++n;
        switch (d.below(3)) {
        case 0:
            if (to.try_put(counted(n))) {
                ++t.put;
                t.put_sum += n;
            } else {
                co_await weft::yield();
            }
            break;
        case 1: {
            auto in_time = weft::with_timeout(d.moment(), one());
            static_cast<void>(co_await weft::as_result(std::move(in_time)));
            break;
        }
        default:
            co_await one();
            break;
        }
    }
}

task<> mix_gets(channel_receiver<counted> from, totals& t, unsigned seed, unsigned who) {
    weft::tests::dice d(seed, who);
    auto one = [&]() -> task<> {
        counted item = co_await from.get();
        ++t.got;
        t.got_sum += item.number();
    };
    try {
        while (true) {
            switch (d.below(3)) {
            case 0:
                if (auto item = from.try_get()) {
                    ++t.got;
                    t.got_sum += item->number();
                } else {
                    co_await weft::yield();
                }
                break;
            case 1: {
                auto in_time = weft::with_timeout(d.moment(), one());
                static_cast<void>(co_await weft::as_result(std::move(in_time)));
                break;
            }
            default:
                co_await one();
                break;
            }
        }
    } catch (const weft::queue_shut_down&) {
    }
}

} // namespace

TEST_CASE("channel: stops at random moments, on loops and threads, balance every item",
          "[G-05][G-07][G-14][P3]") {
    const unsigned seed = weft::tests::new_seed();
    for (std::size_t capacity : {0u, 1u, 5u}) {
        CAPTURE(seed, capacity);
        counted::alive = 0;
        totals t;
        auto ends = make_channel<counted>(capacity);
        channel_sender<counted> to = std::move(ends.first);
        channel_receiver<counted> from = std::move(ends.second);
        std::thread puts([&, s = to] { weft::sync_wait(mix_puts(s, t, seed, 6)); });
        std::thread gets([&, r = from] { weft::sync_wait(mix_gets(r, t, seed, 7)); });
        on_loops(2, [&](weft::runtime& rt) -> task<> {
            weft::loop& other = rt.get_loop(1);
            co_await weft::with_task_group([&](weft::task_group& g) -> task<> {
                g.spawn(mix_gets(from, t, seed, 0));
                g.spawn(weft::as_task(weft::on(other, mix_gets(from, t, seed, 2))));
                g.spawn(mix_puts(to, t, seed, 3));
                g.spawn(weft::as_task(weft::on(other, mix_puts(to, t, seed, 5))));
                to.close(); // so the end comes when those have ended
                from.close();
                co_return;
            });
        });
        puts.join();
        gets.join();
        CHECK(t.put > 0);
        CHECK(t.got == t.put);
        CHECK(t.got_sum == t.put_sum);
        CHECK(counted::alive == 0);
    }
}
