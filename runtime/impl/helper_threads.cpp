// SPDX-License-Identifier: MIT
#include "helper_threads.hpp"

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace weft::detail {

namespace {

constexpr unsigned most_threads = 8;
constexpr std::chrono::seconds patience{10};

// Never destroyed: a look-up that hangs must not hold up the end of the program.
struct helpers {
    std::mutex lock;
    std::condition_variable work_came;
    helper_job* first = nullptr;
    helper_job* last = nullptr;
    unsigned threads = 0;
    unsigned idle = 0;
    unsigned queued = 0;
};

helpers& all() {
    static helpers* const h = new helpers;
    return *h;
}

void take_out(helpers& h, helper_job& j) noexcept {
    (j.previous != nullptr ? j.previous->next : h.first) = j.next;
    (j.next != nullptr ? j.next->previous : h.last) = j.previous;
    j.queued = false;
    --h.queued;
}

void help(void*) noexcept {
    helpers& h = all();
    std::unique_lock in(h.lock);
    while (true) {
        ++h.idle;
        h.work_came.wait_for(in, patience, [&h] { return h.first != nullptr; });
        --h.idle;
        if (h.first == nullptr)
            break;
        helper_job& j = *h.first;
        take_out(h, j);
        in.unlock();
        j.run();
        // acq_rel: pairs with the waiter's exchange in abandon().
        int expected = helper_job::waiting;
        if (j.phase.compare_exchange_strong(expected, helper_job::finished,
                                            std::memory_order_acq_rel))
            j.waiter->finished();
        j.release();
        in.lock();
    }
    --h.threads;
}

} // namespace

// A signal of the process must find a thread of the program, not one of ours.
void start_quiet_thread(const char* name, void (*f)(void*), void* argument) {
    sigset_t every;
    sigset_t before;
    sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    try {
        std::thread([name, f, argument] {
            ::pthread_setname_np(::pthread_self(), name);
            f(argument);
        }).detach();
    } catch (...) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void start_on_helper(helper_job& job) {
    helpers& h = all();
    std::unique_lock in(h.lock);
    if (h.idle <= h.queued && h.threads < most_threads) {
        try {
            start_quiet_thread("weft-helper", help, nullptr);
            ++h.threads;
        } catch (const std::system_error&) {
            if (h.threads == 0)
                throw; // with one there is only longer to wait
        }
    }
    job.previous = h.last;
    (h.last != nullptr ? h.last->next : h.first) = &job;
    h.last = &job;
    job.queued = true;
    ++h.queued;
    in.unlock();
    h.work_came.notify_one();
}

bool withdraw_from_helper(helper_job& job) noexcept {
    helpers& h = all();
    std::lock_guard in(h.lock);
    if (!job.queued)
        return false;
    take_out(h, job);
    return true;
}

} // namespace weft::detail
