// SPDX-License-Identifier: MIT
#include "futex_thread.hpp"

#include "helper_threads.hpp"

#include <weft/runtime/assert.hpp>

#include <array>
#include <cerrno>
#include <ctime>
#include <linux/futex.h>
#include <mutex>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::detail {

namespace {
constexpr unsigned waits_of_a_thread = FUTEX_WAITV_MAX - 1; // and the word that calls itself
constexpr int futex_thread_patience = 10;                   // seconds
} // namespace

struct futex_thread {
    struct place {
        futex_waiter* who = nullptr;
        bool is_new = false; // the thread doesn't wait for it yet
    };

    std::mutex lock; // guards all but `calls`
    futex_word calls{0};
    std::array<place, waits_of_a_thread> places;
    unsigned taken = 0;
    bool runs = false;
    futex_thread* next = nullptr;

    bool take(futex_waiter& w);
    void call() noexcept;
    void run() noexcept;
};

namespace {

// Never destroyed: they may run until the process ends.
constinit std::atomic<futex_thread*> futex_threads{nullptr};

void forget_futex_threads() noexcept {
    futex_threads.store(nullptr, std::memory_order_relaxed); // a child begins with one thread
}

futex_waitv waits_for(const futex_word& word, std::uint32_t expected, std::uint32_t flags) {
    futex_waitv w{};
    w.val = expected;
    w.uaddr = address_of(&word);
    w.flags = FUTEX_32 | flags;
    return w;
}

void run_futex_thread(void* t) { static_cast<futex_thread*>(t)->run(); }

} // namespace

bool futex_thread::take(futex_waiter& w) {
    std::lock_guard in(lock);
    if (taken == places.size())
        return false;
    if (!runs) {
        start_quiet_thread("weft-futex", run_futex_thread, this);
        runs = true;
    }
    unsigned at = 0;
    while (places[at].who != nullptr)
        ++at;
    places[at] = {&w, true};
    w.thread = this;
    w.place = at;
    ++taken;
    call();
    return true;
}

void futex_thread::call() noexcept {
    calls.fetch_add(1, std::memory_order_relaxed); // the lock orders what is called for
    ::syscall(SYS_futex, &calls, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void futex_thread::run() noexcept {
    std::array<futex_waitv, waits_of_a_thread + 1> all;
    std::array<unsigned, waits_of_a_thread + 1> at{};
    std::array<futex_waiter*, waits_of_a_thread> done;
    std::unique_lock in(lock);
    while (true) {
        unsigned n = 1;
        all[0] = waits_for(calls, calls.load(std::memory_order_relaxed), FUTEX_PRIVATE_FLAG);
        for (unsigned i = 0; i < places.size(); ++i) {
            if (places[i].who == nullptr)
                continue;
            places[i].is_new = false;
            all[n] = waits_for(*places[i].who->word, places[i].who->expected, 0);
            at[n++] = i;
        }
        timespec until{};
        if (n == 1) {
            ::clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += futex_thread_patience;
        }
        in.unlock();
        long woken = ::syscall(SYS_futex_waitv, all.data(), n, 0, n == 1 ? &until : nullptr,
                               CLOCK_MONOTONIC);
        const int error = woken < 0 ? errno : 0;
        in.lock();

        unsigned ended = 0;
        const futex_word* last = nullptr;
        std::uint32_t seen = 0;
        auto end = [&](place& p, std::int32_t result) {
            p.who->outcome = result;
            done[ended++] = std::exchange(p.who, nullptr);
            --taken;
        };
        // False: it was withdrawn meanwhile.
        auto end_entry = [&](unsigned i, std::int32_t result) {
            place& p = places[at[i]];
            bool there = p.who != nullptr && !p.is_new;
            if (there)
                end(p, result);
            return there;
        };
        // What one that was withdrawn has used up is for another one, who may wait here as well.
        auto pass_on = [&](const futex_word& word) {
            for (place& p : places) {
                if (p.who != nullptr && p.who->word == &word) {
                    end(p, 0);
                    return;
                }
            }
            futex_wake(word, 1);
        };
        switch (error) {
        case 0: // this one was woken, perhaps some before it, and none behind it
            for (unsigned i = 1; i <= static_cast<unsigned>(woken); ++i) {
                if (!end_entry(i, 0))
                    pass_on(*reinterpret_cast<const futex_word*>(all[i].uaddr));
            }
            break;
        case EAGAIN: // some word, which isn't said, was another
            for (unsigned i = 1; i < n; ++i) {
                // Those who wait for one word see the same there: else a later one might go first.
                const futex_waiter* who = places[at[i]].who;
                if (who == nullptr || who->word != reinterpret_cast<futex_word*>(all[i].uaddr))
                    continue;
                if (who->word != last) {
                    last = who->word;
                    seen = last->load(std::memory_order_relaxed);
                }
                if (seen != all[i].val)
                    end_entry(i, -EAGAIN);
            }
            break;
        case EINTR: // a stopped process went on
            break;
        case ETIMEDOUT:
            if (taken == 0) {
                runs = false;
                return;
            }
            break;
        default: // ENOSYS, EPERM: a filter of system calls; EFAULT: a word that isn't there
            WEFT_ASSERT(n > 1, "the kernel refuses to wait for a word of our own");
            for (unsigned i = 1; i < n; ++i)
                end_entry(i, -error);
            break;
        }
        in.unlock();
        for (unsigned i = 0; i < ended; ++i)
            done[i]->home->post(*done[i]);
        in.lock();
    }
}

void start_futex_wait(futex_waiter& w) {
    static const int registered = ::pthread_atfork(nullptr, nullptr, forget_futex_threads);
    static_cast<void>(registered);
    // acquire: pairs with the release below, for a thread's own memory
    futex_thread* first = futex_threads.load(std::memory_order_acquire);
    for (futex_thread* t = first; t != nullptr; t = t->next) {
        if (t->take(w))
            return;
    }
    auto* t = new futex_thread;
    try {
        t->take(w);
    } catch (...) {
        delete t;
        throw;
    }
    t->next = first;
    while (!futex_threads.compare_exchange_weak(t->next, t, std::memory_order_release,
                                                std::memory_order_relaxed))
        continue;
}

bool withdraw_futex_wait(futex_waiter& w) noexcept {
    futex_thread& t = *w.thread;
    std::lock_guard in(t.lock);
    if (t.places[w.place].who != &w)
        return false;
    t.places[w.place] = {};
    --t.taken;
    t.call(); // the thread must not use up wake-ups for it any longer
    return true;
}

} // namespace weft::detail
