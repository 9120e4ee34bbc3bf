// SPDX-License-Identifier: MIT
// What the model checker finds, and what it doesn't take for a mistake: the small programs with
// which memory models are told apart, and the mistakes that lock-free code is known for.
#include "model/expect.hpp"

#include <weft/runtime/detail/atomics.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <set>

namespace weft::model {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto seq_cst = std::memory_order_seq_cst;

template <class T>
using shared = atomics::atomic<T>;

/// Which results of two loads occur.
using outcomes = std::set<std::pair<int, int>>;

} // namespace

// --- Orders --------------------------------------------------------------------------------------

TEST_CASE("litmus: a message that is passed with release and acquire is whole") {
    auto passing = [](std::memory_order store, std::memory_order load) {
        return [=] {
            plain<int> data{0};
            shared<int> flag{0};
            threads(
                [&] {
                    data = 42;
                    flag.store(1, store);
                },
                [&] {
                    if (flag.load(load) == 1)
                        check(data == 42, "the data is there");
                });
        };
    };
    holds("message passing", passing(release, acquire));
    holds("message passing, sequentially consistent", passing(seq_cst, seq_cst));
    breaks("message passing, relaxed store", passing(relaxed, acquire), "data race");
    breaks("message passing, relaxed load", passing(release, relaxed), "data race");
    // Also where the data is atomic, so that there is no race to be seen.
    auto of_atomics = [](std::memory_order store, std::memory_order load) {
        return [=] {
            shared<int> data{0};
            shared<int> flag{0};
            threads(
                [&] {
                    data.store(42, relaxed);
                    flag.store(1, store);
                },
                [&] {
                    if (flag.load(load) == 1)
                        check(data.load(relaxed) == 42, "the data is there");
                });
        };
    };
    holds("message passing of atomics", of_atomics(release, acquire));
    breaks("message passing of atomics, relaxed store", of_atomics(relaxed, acquire), "is there");
    breaks("message passing of atomics, relaxed load", of_atomics(release, relaxed), "is there");
}

TEST_CASE("litmus: a waiting loop with a pause ends, and sees what it waited for") {
    auto waiting = [](std::memory_order load) {
        return [=] {
            plain<int> data{0};
            shared<int> flag{0};
            threads(
                [&] {
                    data = 42;
                    flag.store(1, release);
                },
                [&] {
                    while (flag.load(load) == 0)
                        atomics::pause();
                    check(data == 42, "the data is there");
                });
        };
    };
    holds("waiting", waiting(acquire));
    breaks("waiting, relaxed", waiting(relaxed), "data race");
}

TEST_CASE("litmus: both stores may be late, but for sequentially consistent ones") {
    auto buffering = [](std::memory_order store, std::memory_order load, outcomes& seen) {
        return [=, &seen] {
            shared<int> x{0};
            shared<int> y{0};
            int a = 0;
            int b = 0;
            threads(
                [&] {
                    x.store(1, store);
                    a = y.load(load);
                },
                [&] {
                    y.store(1, store);
                    b = x.load(load);
                });
            keep([&] { seen.emplace(a, b); });
        };
    };
    outcomes weak;
    holds("store buffering, relaxed", buffering(relaxed, relaxed, weak));
    CHECK(weak == outcomes{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
    outcomes paired;
    holds("store buffering, release and acquire", buffering(release, acquire, paired));
    CHECK(paired == outcomes{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
    outcomes strong;
    holds("store buffering", buffering(seq_cst, seq_cst, strong));
    CHECK(strong == outcomes{{0, 1}, {1, 0}, {1, 1}});
    outcomes half;
    holds("store buffering, half of it", buffering(seq_cst, acquire, half));
    CHECK(half.contains({0, 0}));
}

TEST_CASE("litmus: fences order what is relaxed") {
    auto buffering = [](std::memory_order fence, outcomes& seen) {
        return [=, &seen] {
            shared<int> x{0};
            shared<int> y{0};
            int a = 0;
            int b = 0;
            threads(
                [&] {
                    x.store(1, relaxed);
                    atomics::fence(fence);
                    a = y.load(relaxed);
                },
                [&] {
                    y.store(1, relaxed);
                    atomics::fence(fence);
                    b = x.load(relaxed);
                });
            keep([&] { seen.emplace(a, b); });
        };
    };
    outcomes strong;
    holds("store buffering with fences", buffering(seq_cst, strong));
    CHECK(strong == outcomes{{0, 1}, {1, 0}, {1, 1}});
    outcomes weak;
    holds("store buffering with weaker fences", buffering(acq_rel, weak));
    CHECK(weak.contains({0, 0}));

    auto passing = [](std::memory_order before, std::memory_order after) {
        return [=] {
            plain<int> data{0};
            shared<int> flag{0};
            threads(
                [&] {
                    data = 42;
                    atomics::fence(before);
                    flag.store(1, relaxed);
                },
                [&] {
                    if (flag.load(relaxed) == 1) {
                        atomics::fence(after);
                        check(data == 42, "the data is there");
                    }
                });
        };
    };
    holds("message passing with fences", passing(release, acquire));
    breaks("message passing, no fence before", passing(acquire, acquire), "data race");
    breaks("message passing, no fence after", passing(release, release), "data race");
}

TEST_CASE(
    "litmus: who fences for all is ordered with those who store ahead, and they with no other") {
    auto buffering = [](auto first, auto second, outcomes& seen) {
        return [=, &seen] {
            shared<int> x{0};
            shared<int> y{0};
            int a = 0;
            int b = 0;
            threads(
                [&] {
                    first(x);
                    a = y.load(relaxed);
                },
                [&] {
                    second(y);
                    b = x.load(relaxed);
                });
            keep([&] { seen.emplace(a, b); });
        };
    };
    auto plainly = [](shared<int>& to) { to.store(1, relaxed); };
    auto ahead = [](shared<int>& to) { atomics::store_ahead(to, 1); };
    auto fenced = [](shared<int>& to) {
        to.store(1, relaxed);
        atomics::fence_all();
    };
    outcomes strong;
    holds("store buffering, one fences for both", buffering(ahead, fenced, strong));
    CHECK(strong == outcomes{{0, 1}, {1, 0}, {1, 1}});
    outcomes both;
    holds("store buffering, both fence for both", buffering(fenced, fenced, both));
    CHECK(both == outcomes{{0, 1}, {1, 0}, {1, 1}});
    outcomes cheap;
    holds("store buffering, both store ahead", buffering(ahead, ahead, cheap));
    CHECK(cheap.contains({0, 0}));
    outcomes half;
    holds("store buffering, one fences for all", buffering(plainly, fenced, half));
    CHECK(half.contains({0, 0}));

    // Each fence is passed by one thread after the other, and orders them with none but its own.
    bool seen_by_fence = false;
    holds("two who store ahead, and a third who fences", [&] {
        shared<int> x{0};
        shared<int> y{0};
        bool fenced_between = false;
        int a = 0;
        int b = 0;
        threads(
            [&] {
                atomics::store_ahead(x, 1);
                a = y.load(relaxed);
            },
            [&] {
                atomics::store_ahead(y, 1);
                b = x.load(relaxed);
            },
            [&] {
                atomics::fence_all();
                fenced_between = true;
            });
        keep([&] { seen_by_fence |= fenced_between && a == 0 && b == 0; });
    });
    CHECK(seen_by_fence);
}

TEST_CASE("litmus: two readers see two independent writers in different orders, or not") {
    auto readers = [](std::memory_order store, std::memory_order load, bool& differ) {
        return [=, &differ] {
            shared<int> x{0};
            shared<int> y{0};
            std::array<int, 4> r{};
            threads([&] { x.store(1, store); }, [&] { y.store(1, store); },
                    [&] {
                        r[0] = x.load(load);
                        r[1] = y.load(load);
                    },
                    [&] {
                        r[2] = y.load(load);
                        r[3] = x.load(load);
                    });
            differ = differ || r == std::array{1, 0, 1, 0};
        };
    };
    bool weak = false;
    holds("independent writers, release and acquire", readers(release, acquire, weak));
    CHECK(weak);
    bool strong = false;
    holds("independent writers", readers(seq_cst, seq_cst, strong));
    CHECK_FALSE(strong);
}

TEST_CASE("litmus: nobody reads a location backwards") {
    holds("coherence", [] {
        shared<int> x{0};
        threads(
            [&] {
                x.store(1, relaxed);
                x.store(2, relaxed);
            },
            [&] {
                int first = x.load(relaxed);
                int second = x.load(relaxed);
                check(second >= first, "no older store after a newer one");
            });
    });
    // Nor through somebody else.
    holds("coherence by a third", [] {
        shared<int> x{0};
        shared<int> flag{0};
        threads([&] { x.store(1, relaxed); },
                [&] {
                    if (x.load(relaxed) == 1)
                        flag.store(1, release);
                },
                [&] {
                    if (flag.load(acquire) == 1)
                        check(x.load(relaxed) == 1, "what happened before isn't forgotten");
                });
    });
}

TEST_CASE("litmus: a chain of synchronisations carries everything") {
    auto chain = [](std::memory_order middle) {
        return [=] {
            plain<int> data{0};
            shared<int> x{0};
            shared<int> y{0};
            threads(
                [&] {
                    data = 1;
                    x.store(1, release);
                },
                [&] {
                    if (x.load(middle) == 1)
                        y.store(1, release);
                },
                [&] {
                    if (y.load(acquire) == 1)
                        check(data == 1, "the data is there");
                });
        };
    };
    holds("chain", chain(acquire));
    breaks("chain with a relaxed link", chain(relaxed), "data race");
}

TEST_CASE("litmus: a release sequence goes on with what modifies, and with nothing else") {
    auto sequence = [](bool modifies) {
        return [=] {
            plain<int> data{0};
            shared<int> x{0};
            threads(
                [&] {
                    data = 1;
                    x.store(1, release);
                },
                [&] {
                    if (modifies)
                        x.fetch_add(1, relaxed);
                    else if (x.load(relaxed) == 1)
                        x.store(2, relaxed);
                },
                [&] {
                    if (x.load(acquire) == 2)
                        check(data == 1, "the data is there");
                });
        };
    };
    holds("release sequence", sequence(true));
    breaks("release sequence, broken by a store", sequence(false), "data race");
}

TEST_CASE("litmus: what is read isn't made up from itself") {
    // Loads don't read stores that come later: see README.md.
    outcomes seen;
    holds("load buffering", [&] {
        shared<int> x{0};
        shared<int> y{0};
        int a = 0;
        int b = 0;
        threads(
            [&] {
                a = x.load(relaxed);
                y.store(1, relaxed);
            },
            [&] {
                b = y.load(relaxed);
                x.store(1, relaxed);
            });
        keep([&] { seen.emplace(a, b); });
    });
    CHECK(seen == outcomes{{0, 0}, {0, 1}, {1, 0}});
}

// --- Modifying -----------------------------------------------------------------------------------

TEST_CASE("litmus: modifications are atomic, a load and a store aren't") {
    holds("counting", [] {
        shared<int> n{0};
        threads([&] { n.fetch_add(1, relaxed); }, [&] { n.fetch_add(1, relaxed); },
                [&] { n.fetch_add(1, relaxed); });
        check(n.load(relaxed) == 3, "each counts");
    });
    breaks(
        "counting by load and store",
        [] {
            shared<int> n{0};
            auto count = [&] { n.store(n.load(seq_cst) + 1, seq_cst); };
            threads(count, count);
            check(n.load(relaxed) == 2, "each counts");
        },
        "each counts");
    holds("counting by comparing", [] {
        shared<int> n{0};
        auto count = [&] {
            int seen = n.load(relaxed);
            while (!n.compare_exchange_weak(seen, seen + 1, relaxed, relaxed)) {
            }
        };
        threads(count, count);
        check(n.load(relaxed) == 2, "each counts");
    });
}

TEST_CASE("litmus: a weak comparison may fail in vain, a strong one doesn't") {
    breaks(
        "weak comparison",
        [] {
            shared<int> n{0};
            int expected = 0;
            check(n.compare_exchange_weak(expected, 1, relaxed, relaxed), "it succeeds");
        },
        "it succeeds");
    holds("strong comparison", [] {
        shared<int> n{0};
        int expected = 0;
        check(n.compare_exchange_strong(expected, 1, relaxed, relaxed), "it succeeds");
    });
}

TEST_CASE("litmus: a comparison that fails may have read an old value") {
    bool old = false;
    holds("failing comparison", [&] {
        shared<int> x{0};
        shared<int> y{0};
        threads(
            [&] {
                x.store(1, relaxed);
                y.store(1, relaxed);
            },
            [&] {
                if (y.load(relaxed) == 1) {
                    int expected = 7;
                    x.compare_exchange_strong(expected, 8, relaxed, relaxed);
                    old = old || expected == 0;
                }
            });
    });
    CHECK(old);
}

TEST_CASE("litmus: two flags keep two threads apart if they are sequentially consistent") {
    auto dekker = [](std::memory_order store, std::memory_order load) {
        return [=] {
            shared<int> first{0};
            shared<int> second{0};
            plain<int> guarded{0};
            threads(
                [&] {
                    first.store(1, store);
                    if (second.load(load) == 0)
                        guarded = 1;
                },
                [&] {
                    second.store(1, store);
                    if (first.load(load) == 0)
                        guarded = 2;
                });
        };
    };
    holds("dekker", dekker(seq_cst, seq_cst));
    breaks("dekker, weak load", dekker(seq_cst, acquire), "data race");
    breaks("dekker, weak store", dekker(release, seq_cst), "data race");
}

// --- Known mistakes ------------------------------------------------------------------------------

TEST_CASE("litmus: a plain variable that nobody guards is a race") {
    breaks(
        "plain variable",
        [] {
            plain<int> n{0};
            threads([&] { n = 1; }, [&] { n = 2; });
        },
        "data race");
    breaks(
        "plain variable, read",
        [] {
            plain<int> n{0};
            threads([&] { n = 1; }, [&] { check(n >= 0, "any"); });
        },
        "data race");
    holds("plain variable, only read", [] {
        plain<int> n{1};
        threads([&] { check(n == 1, "as before"); }, [&] { check(n == 1, "as before"); });
        n = 2;
    });
}

TEST_CASE("litmus: who looks and then sleeps misses the wake-up in between") {
    // Sleeps on a bell that rings only if somebody is known to sleep.
    auto parking = [](bool says_before_it_looks, std::memory_order o) {
        return [=] {
            shared<int> work{0};
            shared<int> parked{0};
            doorbell bell;
            threads(
                [&] {
                    if (says_before_it_looks)
                        parked.store(1, o);
                    bool found = work.load(o) == 1;
                    if (!says_before_it_looks)
                        parked.store(1, o);
                    if (!found)
                        bell.wait();
                },
                [&] {
                    work.store(1, o);
                    if (parked.load(o) == 1)
                        bell.ring();
                });
        };
    };
    holds("parking", parking(true, seq_cst));
    breaks("parking, looks too early", parking(false, seq_cst), "everybody waits");
    auto weaker = [&](bool store) {
        // As parking(true, ...), where one half of the handshake is only ordered in pairs.
        return [=] {
            shared<int> work{0};
            shared<int> parked{0};
            doorbell bell;
            threads(
                [&] {
                    parked.store(1, seq_cst);
                    if (work.load(store ? seq_cst : acquire) == 0)
                        bell.wait();
                },
                [&] {
                    work.store(1, store ? release : seq_cst);
                    if (parked.load(seq_cst) == 1)
                        bell.ring();
                });
        };
    };
    breaks("parking, weak store", weaker(true), "everybody waits");
    breaks("parking, weak load", weaker(false), "everybody waits");
}

TEST_CASE("litmus: a futex compares, so that no wake-up is missed") {
    auto waiting = [](bool wakes_before_it_stores) {
        return [=] {
            shared<std::uint32_t> word{0};
            threads(
                [&] {
                    while (word.load(acquire) == 0)
                        atomics::wait(word, 0u);
                },
                [&] {
                    if (wakes_before_it_stores)
                        atomics::wake(word, 1);
                    word.store(1, release);
                    if (!wakes_before_it_stores)
                        atomics::wake(word, 1);
                });
        };
    };
    holds("futex", waiting(false));
    breaks("futex, woken too early", waiting(true), "everybody waits");
    holds("atomic wait", [] {
        shared<int> word{0};
        plain<int> data{0};
        threads(
            [&] {
                word.wait(0, acquire);
                check(data == 1, "the data is there");
            },
            [&] {
                data = 1;
                word.store(1, release);
                word.notify_one();
            });
    });
    breaks(
        "one wake-up for two",
        [] {
            shared<std::uint32_t> word{0};
            auto waits = [&] {
                while (word.load(acquire) == 0)
                    atomics::wait(word, 0u);
            };
            threads(waits, waits, [&] {
                word.store(1, release);
                atomics::wake(word, 1);
            });
        },
        "everybody waits");
}

TEST_CASE("litmus: a futex wait ends for no reason, or because its time is over") {
    std::set<detail::woken> ways;
    holds("ways to wake", [&] {
        shared<std::uint32_t> word{0};
        threads(
            [&] {
                detail::woken how = atomics::wait(word, 0u, true);
                keep([&] { ways.insert(how); });
            },

            [&] {
                word.store(1, release);
                atomics::wake(word, 1);
            });
    });
    using detail::woken;
    CHECK(ways == std::set{woken::by_wake, woken::changed, woken::timed_out, woken::spuriously});
    // With time it isn't a deadlock.
    holds("nobody wakes", [] {
        shared<std::uint32_t> word{0};
        threads([&] { atomics::wait(word, 0u, true); });
    });
    breaks(
        "nobody wakes, and no time",
        [] {
            shared<std::uint32_t> word{0};
            threads([&] { atomics::wait(word, 0u); });
        },
        "everybody waits");
}

TEST_CASE("litmus: two locks taken crosswise are a deadlock") {
    auto crosswise = [](bool crossed) {
        return [=] {
            weft::detail::short_lock<atomics> a;
            weft::detail::short_lock<atomics> b;
            threads(
                [&] {
                    weft::detail::short_hold first(a);
                    weft::detail::short_hold second(b);
                },
                [&] {
                    weft::detail::short_hold first(crossed ? b : a);
                    weft::detail::short_hold second(crossed ? a : b);
                });
        };
    };
    holds("two locks", crosswise(false));
    breaks("two locks, crosswise", crosswise(true), "everybody waits");
}

TEST_CASE("litmus: a loop without a pause doesn't end") {
    breaks("no pause",
           [] {
               shared<int> flag{0};
               threads([&] { flag.store(1, release); },
                       [&] {
                           while (flag.load(acquire) == 0) {
                           }
                       });
           },
           "doesn't end", {.preemptions = 1, .steps = 200});
}

TEST_CASE("litmus: a stack that compares pointers alone takes a node that came back") {
    struct node {
        shared<node*> next{nullptr};
    };
    breaks(
        "bad stack",
        [] {
            std::array<node, 2> nodes;
            shared<node*> head{nullptr};
            auto push = [&](node* n) {
                node* top = head.load(relaxed);
                do
                    n->next.store(top, relaxed);
                while (!head.compare_exchange_strong(top, n, release, relaxed));
            };
            auto pop = [&]() -> node* {
                node* top = head.load(acquire);
                while (top != nullptr) {
                    node* below = top->next.load(relaxed);
                    if (head.compare_exchange_strong(top, below, acquire, acquire))
                        break;
                }
                return top;
            };
            push(&nodes[1]);
            push(&nodes[0]);
            std::array<std::array<node*, 2>, 2> kept{};
            threads([&] { kept[0][0] = pop(); },
                    [&] {
                        node* n = pop();
                        kept[1][0] = pop();
                        if (n != nullptr)
                            push(n); // the address is there again, what was below it isn't
                    });
            node* left = pop();
            check(left == nullptr || (left != kept[0][0] && left != kept[1][0]),
                  "a node is in one hand");
        },
        "in one hand");
}

// --- Ends ----------------------------------------------------------------------------------------

TEST_CASE("litmus: what is destroyed isn't used any more") {
    // The second one destroys the lock as soon as it has had it.
    auto ending = [](bool looks_afterwards) {
        return [=] {
            auto* word = new shared<int>(1);
            threads(
                [&] {
                    word->store(0, release);
                    if (looks_afterwards)
                        word->load(relaxed);
                },
                [&] {
                    while (word->load(acquire) == 1)
                        atomics::pause();
                    delete word;
                });
        };
    };
    holds("last look", ending(false));
    result r = explore("one look too many", ending(true));
    REQUIRE(r.failure);
    CHECK_THAT(*r.failure, Catch::Contains("isn't there") || Catch::Contains("may still be using"));
}

TEST_CASE("litmus: a crash and an exception are failures of the model") {
    breaks("exception", [] { throw std::runtime_error("that was it"); }, "that was it");
    breaks("exception in a thread", [] { threads([] { throw 1; }); }, "threw");
    breaks("crash", [] { threads([] { *static_cast<volatile int*>(nullptr) = 1; }); }, "crashed");
    breaks("abort", [] { std::abort(); }, "crashed");
}

TEST_CASE("litmus: a thread may vanish at any step") {
    // A lock whose word names its holder, as a robust futex does.
    auto robust = [](bool recovers) {
        return [=] {
            shared<std::uint32_t> word{0};
            auto take = [&](std::uint32_t me) {
                while (true) {
                    std::uint32_t seen = 0;
                    if (word.compare_exchange_strong(seen, me, acquire, relaxed))
                        return;
                    atomics::wait(word, seen);
                }
            };
            auto give = [&] {
                word.store(0, release);
                atomics::wake(word, 1);
            };
            threads(mortal{[&] {
                               take(1);
                               give();
                           },
                           [&] {
                               if (!recovers)
                                   return;
                               if (word.load(relaxed) == 1)
                                   give();
                               else // it may have died after it had given it back
                                   atomics::wake(word, 1);
                           }},
                    [&] {
                        take(2);
                        give();
                    });
        };
    };
    const bounds one_dies{.spurious = 0, .deaths = 1};
    holds("robust lock", robust(true), one_dies);
    breaks("lock whose holder dies", robust(false), "everybody waits", one_dies);
    holds("lock whose holder lives", robust(false));
}

// --- The search itself ---------------------------------------------------------------------------

TEST_CASE("litmus: what takes two preemptions is found with two, and not with one") {
    auto model = [] {
        shared<int> n{0};
        threads(
            [&] {
                n.store(1, seq_cst);
                if (n.load(seq_cst) == 2)
                    n.store(3, seq_cst);
            },
            [&] {
                if (n.load(seq_cst) == 1) {
                    n.store(2, seq_cst);
                    check(n.load(seq_cst) != 3, "nobody answers in between");
                }
            });
    };
    breaks("two preemptions", model, "answers in between", {.preemptions = 2, .stale_reads = 0});
    holds("one preemption", model, {.preemptions = 1, .stale_reads = 0});
}

TEST_CASE("litmus: a search visits as many orders as there are") {
    // Two threads of two steps each can be interleaved in 6 ways; all need two preemptions at most.
    auto count = [](unsigned preemptions) {
        return explore("counting orders",
                       [] {
                           shared<int> a{0};
                           shared<int> b{0};
                           threads(
                               [&] {
                                   a.store(1, relaxed);
                                   a.store(2, relaxed);
                               },
                               [&] {
                                   b.store(1, relaxed);
                                   b.store(2, relaxed);
                               });
                       },
                       {.preemptions = preemptions})
            .executions;
    };
    CHECK(count(0) == 2);
    CHECK(count(1) == 4);
    CHECK(count(2) == 6);
    CHECK(count(3) == 6);
}

TEST_CASE("litmus: a failure can be seen again by its schedule") {
    auto model = [] {
        shared<int> n{0};
        auto add = [&] { n.store(n.load(seq_cst) + 1, seq_cst); };
        threads(add, add);
        check(n.load(relaxed) == 2, "each counts");
    };
    result found = explore("replayed", model);
    REQUIRE(found.failure);
    CHECK_FALSE(found.schedule.empty());
    ::setenv("WEFT_MODEL_REPLAY", ("replayed@" + found.schedule).c_str(), 1);
    result again = explore("replayed", model);
    result other = explore("replayed differently", [] {});
    ::setenv("WEFT_MODEL_REPLAY", "replayed@", 1);
    result harmless = explore("replayed", model);
    ::unsetenv("WEFT_MODEL_REPLAY");
    CHECK(again.executions == 1);
    CHECK(again.failure == found.failure);
    CHECK(again.trace == found.trace);
    CHECK(other.passed());
    CHECK_FALSE(harmless.failure);
}

TEST_CASE("litmus: a model that isn't the same each time is told so") {
    int calls = 0;
    breaks(
        "random model",
        [&] {
            if (++calls % 2 == 0)
                choose(3);
            else
                choose(2);
        },
        "led somewhere else");
}

TEST_CASE("litmus: a search beyond its bound isn't complete") {
    result r = explore("many",
                       [] {
                           for (int i = 0; i < 10; ++i)
                               choose(4);
                       },
                       {.executions = 100});
    CHECK(r.executions == 100);
    CHECK_FALSE(r.failure);
    CHECK_FALSE(r.passed());
}

} // namespace weft::model
