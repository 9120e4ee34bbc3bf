// SPDX-License-Identifier: MIT
#include <weft/ipc/queue.hpp>
#include <weft/ipc/simple_queue.hpp>

#include "support/io.hpp"

#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/sync/queue_items.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using namespace weft;
using namespace weft::tests;
using ipc::queue_options;
using ipc::shared_memory;

template <class T>
using queue = ipc::queue<T>;
using ints = queue<int>;

/// The same queue, as another process sees it.
template <class T>
queue<T> other_end(const queue<T>& q) {
    return queue<T>(shared_memory::adopt(descriptor(::dup(q.memory().fd()))));
}

struct order {
    std::uint32_t number;
    std::string text;
    std::map<int, std::string> notes;
    bool operator==(const order&) const = default;
};

/// Can't be sent if it is negative.
struct picky {
    int value;
};

} // namespace

template <>
struct weft::ipc::codec<picky> {
    static void encode(archive_writer& out, const picky& p) {
        if (p.value < 0)
            throw codec_error("a negative one");
        weft::ipc::encode(out, p.value);
    }
    static picky decode(archive_reader& in) { return {weft::ipc::decode<int>(in)}; }
};

namespace {

// What an awaited operation throws, as the name of a kind of error.
template <class Op>
task<std::string> failure(Op op) {
    try {
        co_await std::move(op);
        co_return "none";
    } catch (const queue_empty&) {
        co_return "empty";
    } catch (const queue_full&) {
        co_return "full";
    } catch (const queue_shut_down&) {
        co_return "shut down";
    } catch (const ipc::codec_error&) {
        co_return "codec";
    } catch (const state_error&) {
        co_return "state";
    } catch (const protocol_error&) {
        co_return "protocol";
    }
}

template <class Op>
task<> fails(const char* how, Op op) {
    std::string got = co_await failure(std::move(op));
    CHECK(got == how);
}

template <class T>
task<> comes_back(T item, queue_options options = {}) {
    queue<T> q(0, options);
    queue<T> there = other_end(q);
    bool same = false;
    auto both = [&](task_group& g) -> task<> {
        g.spawn([](queue<T>& to, const T& what) -> task<> { co_await to.put(what); }(q, item));
        T got = co_await there.get();
        same = got == item;
    };
    co_await with_task_group(std::ref(both));
    CHECK(same);
    CHECK(q.empty());
}

std::string text_of(std::size_t n, unsigned salt = 0) {
    std::string s(n, '\0');
    for (std::size_t i = 0; i != n; ++i)
        s[i] = static_cast<char>(i * 2654435761u >> 13 ^ salt);
    return s;
}

task<> put_numbers(ints& q, int from, int to) {
    for (int i = from; i != to; ++i)
        co_await q.put(i);
}

task<> expect_numbers(ints& q, int from, int to) {
    for (int i = from; i != to; ++i) {
        int got = co_await q.get();
        CHECK(got == i);
    }
}

template <class T>
task<> get_into(queue<T>& q, std::vector<T>& to) {
    while (true) {
        T got = co_await q.get();
        to.push_back(std::move(got));
    }
}

task<> put_text(queue<std::string>& q, std::string text) { co_await q.put(std::move(text)); }

/// Lets everything that can go on do so.
task<> settle() {
    for (int i = 0; i != 20; ++i)
        co_await yield();
}

/// Waits until it is so.
template <class F>
task<> until(F is_so) {
    while (!is_so())
        co_await sleep_for(1ms);
}

} // namespace

TEST_CASE("ipc::queue: items of all types and sizes come back as they were", "[MP-QUE-02]"
                                                                             "[MP-QUE-03]") {
    run_within(30s, []() -> task<> {
        co_await comes_back(7);
        std::array<std::uint64_t, 8> eight{1, 2, 3};
        co_await comes_back(eight);
        co_await comes_back(std::string());
        std::vector<int> ints_list{1, 2, 3};
        co_await comes_back(ints_list);
        order some{7, "seven", {{1, "one"}, {2, text_of(5000)}}};
        co_await comes_back(some);
        std::vector<std::string> texts{"a", text_of(100'000)};
        co_await comes_back(texts);
        // The smallest ring has 4096 bytes: these fit just so, or have to go in parts.
        for (std::size_t n : {1000u, 4072u, 4080u, 4081u, 10'000u, 1'000'000u}) {
            CAPTURE(n);
            co_await comes_back(text_of(n), {.bytes = 1});
            co_await comes_back(std::vector<std::string>(1, text_of(n)), {.bytes = 1});
            co_await comes_back(text_of(n), {.bytes = 1, .one_to_one = true});
        }
    }());
}

TEST_CASE("ipc::queue: everything comes in order, with every kind of ring", "[MP-QUE-01]"
                                                                            "[MP-QUE-04]") {
    auto pass = [](queue_options options, std::size_t capacity) -> task<> {
        ints q(capacity, options);
        ints there = other_end(q);
        auto both = [&](task_group& g) -> task<> {
            g.spawn(put_numbers(q, 0, 3000));
            co_await expect_numbers(there, 0, 3000);
        };
        co_await with_task_group(std::ref(both));
        CHECK(q.capacity() == capacity);
        CHECK(there.capacity() == capacity);
    };
    for (bool lane : {false, true})
        for (std::size_t capacity : {0u, 1u, 100u})
            run_within(30s, pass({.bytes = 1, .one_to_one = lane}, capacity));
    CHECK_THROWS_AS(ints(std::size_t{1} << 31), std::invalid_argument);
    CHECK_THROWS_AS(ints(0, {.bytes = std::size_t{1} << 40}), std::invalid_argument);
}

TEST_CASE("ipc::queue: get_some takes what is there, one at least and so many at most") {
    for (bool lane : {false, true})
        run_within(30s, [](queue_options options) -> task<> {
            ints q(0, options);
            ints there = other_end(q);
            co_await put_numbers(q, 0, 5);
            std::vector<int> some = co_await there.get_some(3);
            CHECK(some == std::vector<int>{0, 1, 2});
            CHECK(q.size() == 2);
            some = co_await there.get_some(std::size_t(-1));
            CHECK(some == std::vector<int>{3, 4});
            CHECK(q.empty());
            CHECK(q.unfinished() == 5);
            CHECK_THROWS_AS(there.get_some(0), std::invalid_argument);
            // What is there for all queues does so, too.
            std::vector<int> numbers{7, 8, 9};
            co_await put_all(q, numbers);
            some = co_await weft::get_some(there, 5);
            CHECK(some == numbers);
            // It waits for the first, and after a shutdown gives what is left.
            auto waits = [&](task_group& g) -> task<> {
                g.spawn([](ints& from) -> task<> {
                    std::vector<int> got = co_await from.get_some(10);
                    CHECK(got == std::vector<int>{5});
                }(there));
                co_await settle();
                co_await put_numbers(q, 5, 6);
            };
            co_await with_task_group(std::ref(waits));
            co_await put_numbers(q, 6, 8);
            q.shutdown();
            some = co_await there.get_some(10);
            CHECK(some == std::vector<int>{6, 7});
            co_await fails("shut down", there.get_some(10));

            // Strings, until one comes in parts.
            queue<std::string> texts(0, {.bytes = 1, .one_to_one = options.one_to_one});
            queue<std::string> other = other_end(texts);
            std::vector<std::string> got;
            auto both = [&](task_group& g) -> task<> {
                g.spawn([](queue<std::string>& to) -> task<> {
                    co_await to.put("a");
                    co_await to.put("b");
                    co_await to.put(text_of(10'000));
                    co_await to.put("c");
                }(texts));
                while (got.size() != 4) {
                    std::vector<std::string> more = co_await other.get_some(10);
                    got.insert(got.end(), more.begin(), more.end());
                }
            };
            co_await with_task_group(std::ref(both));
            CHECK(got == std::vector<std::string>{"a", "b", text_of(10'000), "c"});

            // One that isn't an item is an error of its own, and keeps nobody's from them.
            queue<std::string> bad(0, options);
            shared_memory m = shared_memory::adopt(descriptor(::dup(bad.memory().fd())));
            queue<std::uint64_t> others;
            std::memcpy(m.bytes().data() + 8, others.memory().bytes().data() + 8, 8);
            queue<std::uint64_t> liar(std::move(m));
            co_await liar.put(0);
            co_await liar.put(1'000'000);
            co_await liar.put(0);
            for (int round = 0; round != 2; ++round) {
                got = co_await bad.get_some(10);
                CHECK(got == std::vector<std::string>{""});
                if (round == 0)
                    co_await fails("codec", bad.get_some(10));
            }
        }({.one_to_one = lane}));
}

TEST_CASE("ipc::queue: who puts waits for room, who gets for an item, as long as it is told",
          "[MP-QUE-01][MP-QUE-02][MP-QUE-03][MP-QUE-05][MP-QUE-06]") {
    run_within(30s, []() -> task<> {
        ints q(2);
        ints there = other_end(q);
        CHECK(q.empty());
        CHECK_FALSE(q.full());
        CHECK_FALSE(there.try_get());
        co_await fails("empty", there.get_for(0ms));
        co_await fails("empty", there.get_for(1ms));
        co_await fails("empty", there.get_until(now() - 1s));
        CHECK_THROWS_AS(there.get_for(-1ms), std::invalid_argument);
        CHECK_THROWS_AS(there.put_for(1, -1ms), std::invalid_argument);
        co_await q.put(1);
        // It is there at once.
        CHECK_FALSE(there.empty());
        CHECK(there.size() == 1);
        CHECK(q.try_put(2));
        CHECK(there.full());
        CHECK_FALSE(q.try_put(3));
        co_await fails("full", q.put_for(3, 0ms));
        co_await fails("full", q.put_for(3, 1ms));
        co_await fails("full", q.put_until(3, now() - 1s));
        auto waits = [&](task_group& g) -> task<> {
            g.spawn(put_numbers(q, 3, 4));
            co_await settle();
            CHECK(q.size() == 2);
            co_await expect_numbers(there, 1, 4);
            g.spawn(expect_numbers(there, 4, 5));
            co_await settle();
            co_await q.put_for(4, 1h);
        };
        co_await with_task_group(std::ref(waits));
        CHECK(q.try_get() == std::nullopt);
        CHECK(q.try_put(5));
        CHECK(there.try_get() == 5);
    }());
}

TEST_CASE("ipc::queue: who is stopped has lost nothing, and passes on what it was woken for",
          "[P3]") {
    run_within(30s, []() -> task<> {
        ints q;
        ints there = other_end(q);
        std::vector<int> first, second;
        auto stops = [&](task_group& g) -> task<> {
            auto one = g.spawn(get_into(there, first));
            co_await settle();
            g.spawn(get_into(there, second));
            co_await settle();
            for (int i = 0; i != 50; ++i) {
                co_await q.put(i);
                if (i == 20)
                    one.cancel();
            }
            co_await until([&] { return first.size() + second.size() == 50; });
            g.cancel();
        };
        co_await with_task_group(std::ref(stops));
        CHECK(q.empty());
    }());
}

namespace {

auto count(const std::vector<std::string>& list, const std::string& text) {
    return std::count(list.begin(), list.end(), text);
}

/// Puts a text of many parts, gets it, and stops one of the two after so many turns. Gives whether
/// it came all the same.
task<bool> comes_though_stopped(int turns, bool the_put) {
    queue<std::string> q(0, {.bytes = 1});
    queue<std::string> there = other_end(q);
    const std::string whole = text_of(20'000);
    std::vector<std::string> got;
    auto both = [&](task_group& g) -> task<> {
        auto put = g.spawn(put_text(q, whole));
        auto get = g.spawn(get_into(there, got));
        for (int i = 0; i != turns; ++i)
            co_await yield();
        (the_put ? put : get).cancel();
        // Who comes next finds everything in order.
        if (!the_put)
            g.spawn(get_into(there, got));
        co_await q.put("after");
        co_await until([&] { return count(got, "after") == 1 && (the_put || got.size() == 2); });
        g.cancel();
    };
    co_await with_task_group(std::ref(both));
    CHECK(there.empty());
    co_return count(got, whole) == 1;
}

task<> join_and_note(ints& q, bool& joined) {
    co_await q.join();
    joined = true;
}

} // namespace

TEST_CASE("ipc::queue: an item in parts comes whole or not at all, whoever is stopped when",
          "[P3][P14]") {
    run_within(60s, []() -> task<> {
        int came = 0;
        for (int turns = 0; turns != 24; ++turns) {
            CAPTURE(turns);
            bool c = co_await comes_though_stopped(turns, true);
            came += c ? 1 : 0;
            c = co_await comes_though_stopped(turns, false);
            CHECK(c); // a stopped get takes nothing away
        }
        CHECK(came < 24); // a put that was stopped in time
    }());
}

TEST_CASE("ipc::queue: what can't be encoded or decoded is an error of that item alone",
          "[MP-QUE-07][MP-QUE-08]") {
    run_within(30s, []() -> task<> {
        queue<picky> q(1);
        picky negative{-1};
        co_await fails("codec", q.put(negative));
        CHECK_THROWS_AS(q.try_put(picky{-1}), ipc::codec_error);
        CHECK(q.empty()); // and it takes no room
        CHECK(q.try_put(picky{1}));
        picky one = co_await q.get();
        CHECK(one.value == 1);

        // What becomes of a value after put() has returned is nobody's business.
        queue<std::vector<int>> lists;
        std::vector<int> list{1, 2, 3};
        co_await lists.put(list);
        list[0] = 7;
        std::vector<int> got = co_await lists.get();
        CHECK(got == std::vector<int>{1, 2, 3});
        // Nor does a copy have to be made for it.
        co_await lists.put(std::span<const int>(list));
        got = co_await lists.get();
        CHECK(got == list);

        // Bytes that are no such item, from a process that lies about its type.
        queue<std::uint64_t> numbers;
        shared_memory m = shared_memory::adopt(descriptor(::dup(numbers.memory().fd())));
        queue<std::string> texts;
        std::memcpy(m.bytes().data() + 8, texts.memory().bytes().data() + 8, 8);
        queue<std::string> liar(std::move(m));
        co_await numbers.put(1'000'000);
        co_await fails("codec", liar.get());
        co_await numbers.put(1'000'000);
        CHECK_THROWS_AS(liar.try_get(), ipc::codec_error);
        CHECK(numbers.empty());
    }());
}

TEST_CASE("ipc::queue: join waits until everything that was put is done, wherever", "[MP-QUE-13]") {
    run_within(30s, []() -> task<> {
        ipc::joinable_queue<int> q;
        ints there = other_end(q);
        CHECK_THROWS_AS(q.task_done(), std::invalid_argument);
        bool done = co_await q.join();
        CHECK(done);
        co_await put_numbers(q, 0, 2);
        CHECK(q.unfinished() == 2);
        done = co_await q.join_for(0ms);
        CHECK_FALSE(done);
        done = co_await q.join_for(1ms);
        CHECK_FALSE(done);
        bool joined = false;
        auto waits = [&](task_group& g) -> task<> {
            g.spawn(join_and_note(q, joined));
            co_await expect_numbers(there, 0, 2);
            there.task_done();
            co_await settle();
            CHECK_FALSE(joined);
            there.task_done();
            co_await until([&] { return joined; });
        };
        co_await with_task_group(std::ref(waits));
        CHECK_THROWS_AS(there.task_done(), std::invalid_argument);
        done = co_await q.join_for(1h);
        CHECK(done);
    }());
}

TEST_CASE("ipc::queue: after a shutdown what is there can be got, unless it is thrown away") {
    run_within(30s, []() -> task<> {
        for (bool lane : {false, true}) {
            ints q(2, {.one_to_one = lane});
            ints there = other_end(q);
            co_await put_numbers(q, 0, 2);
            auto waits = [&](task_group& g) -> task<> {
                g.spawn([](ints& full) -> task<> { co_await fails("shut down", full.put(2)); }(q));
                co_await settle();
                q.shutdown();
            };
            co_await with_task_group(std::ref(waits));
            CHECK(there.is_shutdown());
            co_await fails("shut down", there.put(1));
            CHECK_THROWS_AS(there.try_put(1), queue_shut_down);
            co_await expect_numbers(there, 0, 1);
            CHECK(there.try_get() == 1);
            CHECK_THROWS_AS(there.try_get(), queue_shut_down);
            co_await fails("shut down", q.get());
        }
        ints q;
        ints there = other_end(q);
        co_await put_numbers(q, 0, 2);
        co_await expect_numbers(there, 0, 1);
        bool joined = false;
        auto waits = [&](task_group& g) -> task<> {
            g.spawn(join_and_note(q, joined));
            co_await settle();
            there.shutdown(true);
            CHECK(q.empty());
            CHECK(q.unfinished() == 1); // one was got
            q.task_done();
            co_await until([&] { return joined; });
        };
        co_await with_task_group(std::ref(waits));
        co_await fails("shut down", q.get());

        ints empty;
        auto gets = [&](task_group& g) -> task<> {
            g.spawn([](ints& e) -> task<> { co_await fails("shut down", e.get()); }(empty));
            co_await settle();
            other_end(empty).shutdown();
        };
        co_await with_task_group(std::ref(gets));
    }());
}

TEST_CASE("ipc::queue: a process that closes its end uses it no more, and others go on",
          "[MP-QUE-09][MP-QUE-12]") {
    run_within(30s, []() -> task<> {
        ints q;
        ints there = other_end(q);
        co_await put_numbers(q, 0, 1);
        auto waits = [&](task_group& g) -> task<> {
            g.spawn([](ints& end) -> task<> {
                auto how = co_await failure(end.join());
                CHECK(how == "state");
            }(q));
            co_await settle();
            q.close();
        };
        co_await with_task_group(std::ref(waits));
        q.close();
        CHECK(q.is_closed());
        co_await fails("state", q.put(1));
        co_await fails("state", q.get());
        CHECK_THROWS_AS(q.try_put(1), state_error);
        CHECK_THROWS_AS(q.try_get(), state_error);
        CHECK_FALSE(there.is_closed());
        co_await expect_numbers(there, 0, 1);

        ipc::simple_queue<std::string> simple;
        CHECK(simple.empty());
        co_await simple.put("a");
        CHECK_FALSE(simple.empty());
        std::string a = co_await simple.get();
        CHECK(a == "a");
        CHECK_FALSE(simple.try_get());
        co_await fails("empty", simple.get_for(1ms));
        auto closes = [&](task_group& g) -> task<> {
            g.spawn([](ipc::simple_queue<std::string>& s) -> task<> {
                co_await fails("state", s.get());
            }(simple));
            co_await settle();
            simple.close();
        };
        co_await with_task_group(std::ref(closes));
        co_await fails("state", simple.put("b"));
        CHECK_THROWS_AS(simple.empty(), state_error);
    }());
}

TEST_CASE("ipc::queue: nothing that stands in the memory leads outside of it", "[P21]") {
    auto bytes_of = [](const auto& q) { return q.memory().bytes(); };
    // Another type, no queue at all, numbers that don't fit the memory.
    ints numbers(5, {.bytes = 8192});
    CHECK_THROWS_AS(
        queue<std::string>(shared_memory::adopt(descriptor(::dup(numbers.memory().fd())))),
        protocol_error);
    CHECK_THROWS_AS(ints(shared_memory::create_nameless(100)), protocol_error);
    CHECK_THROWS_AS(ints(shared_memory::create_nameless(8192)), protocol_error);
    CHECK_THROWS_AS(ints(shared_memory()), protocol_error);
    for (std::size_t at : {16u, 17u, 19u, 23u, 24u}) {
        ints q(5, {.bytes = 8192});
        bytes_of(q)[at] ^= std::byte{0x81};
        CAPTURE(at);
        CHECK_THROWS_AS(other_end(q), protocol_error);
    }
    // Whatever is changed while it is in use: nothing worse than an error, or other items.
    std::uint64_t salt = seed();
    CAPTURE(salt);
    std::mt19937_64 random(salt);
    int refused = 0;
    for (int round = 0; round != 3000; ++round) {
        queue<std::string> q(0, {.bytes = 4096, .one_to_one = random() % 2 == 0});
        auto all = q.memory().bytes();
        for (int i = 0; i != 3; ++i)
            static_cast<void>(q.try_put(text_of(random() % 600)));
        if (random() % 2 == 0)
            static_cast<void>(q.try_get());
        // Not the locks: whoever is noted there and lives isn't disturbed.
        std::size_t at = random() % 2 == 0 ? 64 + 64 * (random() % 2) + random() % 8
                                           : 4096 + random() % (all.size() - 4096);
        const std::size_t n = at < 4096 ? 1 : 1 + random() % 8;
        for (std::size_t i = at; i < all.size() && i < at + n; ++i)
            all[i] = static_cast<std::byte>(random());
        try {
            for (int i = 0; i != 5; ++i)
                static_cast<void>(q.try_get());
            static_cast<void>(q.try_put("more"));
            static_cast<void>(q.size());
        } catch (const protocol_error&) {
            ++refused;
        } catch (const ipc::codec_error&) {
            ++refused;
        }
    }
    CHECK(refused != 0);
}

TEST_CASE("ipc::queue: plain threads use it as well") {
    ints q(3);
    ints there = other_end(q);
    long sum = 0;
    std::thread puts([&] { sync_wait(put_numbers(q, 0, 2000)); });
    std::thread gets([&] {
        for (int i = 0; i != 2000; ++i)
            sum += sync_wait(there.get());
    });
    puts.join();
    gets.join();
    CHECK(sum == 1999 * 1000);
}
