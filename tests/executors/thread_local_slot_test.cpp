// SPDX-License-Identifier: MIT
#include <weft/executors/thread_local_slot.hpp>

#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "executors/gate.hpp"
#include "sync/patience.hpp"

namespace {

using weft::thread_local_slot;
using weft::tests::gate;

std::atomic<int> alive{0};

struct counted {
    explicit counted(int n = 0) : value(n) { ++alive; }
    counted(const counted& other) : value(other.value) { ++alive; }
    counted& operator=(const counted&) = default;
    ~counted() { --alive; }
    int value;
};

template <class F>
void on_another_thread(F f) {
    std::thread(f).join();
}

} // namespace

TEST_CASE("thread_local_slot: each thread has a value of its own", "[T-LOCAL-01]") {
    thread_local_slot<std::string> one;
    thread_local_slot<std::string> two;
    CHECK(one.find() == nullptr);
    one.get() = "main";
    CHECK(two.get().empty());
    on_another_thread([&] {
        CHECK(one.find() == nullptr);
        CHECK(one.get().empty());
        one.get() = "other";
        CHECK(*one.find() == "other");
    });
    CHECK(one.get() == "main");
    CHECK(two.get().empty());
}

TEST_CASE("thread_local_slot: the initialiser runs when a thread first asks", "[T-LOCAL-02]") {
    int made = 0;
    thread_local_slot<std::unique_ptr<int>> slot([&made] { return std::make_unique<int>(++made); });
    CHECK(made == 0);
    CHECK(*slot.get() == 1);
    CHECK(*slot.get() == 1);
    on_another_thread([&] { CHECK(*slot.get() == 2); });
    on_another_thread([&] { CHECK(slot.find() == nullptr); });
    CHECK(made == 2);

    bool fails = true;
    thread_local_slot<int> fragile([&fails] {
        if (fails)
            throw std::runtime_error("not now");
        return 5;
    });
    CHECK_THROWS_WITH(fragile.get(), "not now");
    CHECK(fragile.find() == nullptr);
    fails = false;
    CHECK(fragile.get() == 5);
}

TEST_CASE("thread_local_slot: values go with their thread or with the slot", "[T-LOCAL-03]") {
    alive = 0;
    SECTION("the thread first") {
        thread_local_slot<counted> slot;
        slot.get();
        on_another_thread([&] {
            slot.get();
            CHECK(alive == 2);
        });
        CHECK(alive == 1);
    }
    SECTION("the slot first") {
        auto slot = std::make_unique<thread_local_slot<counted>>([] { return counted(3); });
        slot->get();
        gate g;
        std::thread other([&] {
            slot->get();
            g.pass();
            // Another one in the same place knows nothing of the former.
            thread_local_slot<counted> next;
            CHECK(next.find() == nullptr);
            CHECK(next.get().value == 0);
        });
        weft::tests::until_here([&] { return g.arrived == 1; });
        CHECK(alive == 2);
        slot.reset();
        CHECK(alive == 0);
        g.open();
        other.join();
    }
    SECTION("values that ask for values in the end") {
        struct asks {
            explicit asks(thread_local_slot<counted>& o) : other(&o) {}
            asks(const asks&) = default;
            asks& operator=(const asks&) = delete;
            ~asks() {
                if (armed)
                    other->get();
            }
            thread_local_slot<counted>* other;
            bool armed = false;
        };
        thread_local_slot<counted> first;
        thread_local_slot<asks> second([&] { return asks(first); });
        on_another_thread([&] { second.get().armed = true; });
        CHECK(alive == 0);
    }
    SECTION("at random") {
        std::vector<std::thread> threads;
        std::atomic<int> wrong{0};
        for (unsigned i = 0; i < 4; ++i)
            threads.emplace_back([i, &wrong] {
                weft::tests::dice d(17, i);
                for (int k = 0; k < 200; ++k) {
                    thread_local_slot<counted> mine([k] { return counted(k); });
                    if (d.below(2) == 0)
                        wrong += mine.get().value == k ? 0 : 1;
                    std::thread([&] {
                        if (d.below(2) == 0)
                            mine.get();
                    }).join();
                }
            });
        for (std::thread& t : threads)
            t.join();
        CHECK(wrong == 0);
    }
    CHECK(alive == 0);
}
