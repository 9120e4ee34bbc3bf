// SPDX-License-Identifier: MIT
#include <weft/executors/thread_pool.hpp>

#include <weft/executors/cpus.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/detail/timer_heap.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/kernel.hpp>

#include "impl/idle_workers.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace weft::detail {

namespace {

// How often one looks for work before it sleeps: about as long as to sleep and be woken takes.
constexpr unsigned looks = 1000;
constexpr unsigned looks_between_yields = 16;
constexpr unsigned yields = 32; // a round in which std_atomics::pause yields the processor
// Strands that are run before others get a turn, and how often what comes from outside goes first.
constexpr unsigned batch = 256;
constexpr unsigned outsiders_first = 64;

void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t until) noexcept {
    const kernel& k = real_kernel();
    k.park(k.state, reinterpret_cast<std::uint32_t*>(&word), value, until);
}

void wake_one_on(std::atomic<std::uint32_t>& word) noexcept {
    const kernel& k = real_kernel();
    k.unpark(k.state, reinterpret_cast<std::uint32_t*>(&word));
}

unsigned size_of_pool(const thread_pool_options& o) {
    if (!o.threads)
        return usable_cpus();
    if (*o.threads < 1 || *o.threads > 1 << 15)
        throw std::invalid_argument("thread_pool: from 1 to 32768 threads");
    return static_cast<unsigned>(*o.threads);
}

std::string name_of_pool(const thread_pool_options& o) {
    static std::atomic<unsigned> last{0};
    if (o.name != nullptr)
        return o.name;
    return "weft-pool-" + std::to_string(last.fetch_add(1, std::memory_order_relaxed) + 1);
}

// As the system shows it. What tells threads apart isn't cut.
std::string name_of_thread(const std::string& pool, unsigned number) {
    std::string end = "_" + std::to_string(number);
    return pool.substr(0, 15 - end.size()) + end;
}

} // namespace

class thread_pool_state {
    using idle = idle_workers<>;

public:
    thread_pool_state(const thread_pool_options& o, std::function<void()> initialiser)
        : size_(size_of_pool(o)), name_(name_of_pool(o)), initialiser_(std::move(initialiser)),
          dormant_(size_) {
        workers_.reserve(size_);
        for (unsigned i = 0; i < size_; ++i)
            workers_.push_back(std::make_unique<worker>(*this, i));
        for (unsigned i = size_; i-- > 0;) // the first on top
            idle_.lie_down(*workers_[i], false);
    }
    thread_pool_state(const thread_pool_state&) = delete;
    thread_pool_state& operator=(const thread_pool_state&) = delete;
    ~thread_pool_state() {
        end();
        join();
        for (auto& w : workers_) // for the few instructions that a poster still needs
            while (w->posting.load(std::memory_order_acquire) != 0)
                std::this_thread::yield();
        WEFT_ASSERT(waiters_ == nullptr, "a thread pool went away while a task awaited its end");
    }

    // --- Work ------------------------------------------------------------------------------------

    void post(pool_work& c) {
        if (!push(c)) {
            if (broken_.load(std::memory_order_acquire)) // pairs with the release in break_down()
                throw broken_thread_pool(why_broken_);
            throw state_error("the thread pool was shut down and takes no more calls");
        }
        if (int error = help(); error != 0 && withdraw(c)) {
            tell_if_ended();
            throw std::system_error(error, std::generic_category(), "a thread of a pool");
        }
    }

    // True: withdrawn.
    bool withdraw(pool_work& c) noexcept {
        if (c.at_.load(std::memory_order_acquire) != pool_work::place::queue)
            return false; // and the pool may be gone
        short_hold held(lock_);
        if (c.at_.load(std::memory_order_relaxed) != pool_work::place::queue)
            return false;
        take_out(queue_, c);
        queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
        c.at_.store(pool_work::place::nowhere, std::memory_order_relaxed);
        return true;
    }

    void leave(pool_work& c) noexcept {
        bool last = false;
        {
            short_hold held(lock_);
            take_out(inside_, c);
            may_fork_.fetch_sub(1, std::memory_order_relaxed); // its pushes have been taken
            c.at_.store(pool_work::place::nowhere, std::memory_order_release);
            last = closing_ && inside_.first == nullptr;
        }
        if (last)
            wake_all();
    }

    // Strands look for stops before they wait for anything, and those that wait are here.
    void announce_stop() noexcept {
        news_.fetch_add(1, std::memory_order_seq_cst); // as what is posted: see idle_workers
        wake_all();
    }

    // --- The end ---------------------------------------------------------------------------------

    [[nodiscard]] std::exception_ptr reason_of_end() const noexcept {
        // acquire: pairs with the release in break_down()
        return broken_.load(std::memory_order_acquire)
                   ? std::make_exception_ptr(broken_thread_pool(why_broken_))
                   : std::make_exception_ptr(ipc::pool_terminated());
    }

    /// What was accepted is run, and the threads end by themselves.
    void stop_accepting() noexcept { close(); }

    /// What may be dropped and hasn't had its turn has none any more.
    void drop_pending() noexcept {
        list dropped;
        {
            short_hold held(lock_);
            std::size_t left = 0;
            for (pool_work* c = queue_.first; c != nullptr;) {
                pool_work* next = c->next_;
                if (c->droppable) {
                    take_out(queue_, *c);
                    put_in(dropped, *c);
                    c->at_.store(pool_work::place::nowhere, std::memory_order_release);
                } else {
                    ++left;
                }
                c = next;
            }
            queued_.store(left, std::memory_order_relaxed);
        }
        for (pool_work* c = dropped.first; c != nullptr;) {
            pool_work* next = c->next_;
            c->run_(*c, pool_turn::gone); // which may free it
            c = next;
        }
        wake_all(); // there may be nothing left to wait for
        tell_if_ended();
    }

    // False: it has come already.
    bool shut_down(thread_pool_shutdown_op& op) noexcept {
        close();
        std::lock_guard lock(mutex_);
        if (has_ended())
            return false;
        op.next_ = waiters_;
        waiters_ = &op;
        return true;
    }

    // True: it won't be told.
    bool forget(thread_pool_shutdown_op& op) noexcept {
        std::lock_guard lock(mutex_);
        for (thread_pool_shutdown_op** at = &waiters_; *at != nullptr; at = &(*at)->next_) {
            if (*at == &op) {
                *at = op.next_;
                return true;
            }
        }
        return false;
    }

    // Precondition: no thread is alive, or all are about to end.
    void join() noexcept {
        std::lock_guard lock(joining_);
        for (auto& w : workers_)
            if (w->thread.joinable())
                w->thread.join();
    }

    [[nodiscard]] unsigned size() const noexcept { return size_; }
    [[nodiscard]] thread_pool_statistics statistics() const {
        thread_pool_statistics s;
        {
            std::lock_guard lock(mutex_);
            s.threads = alive_;
        }
        std::uint32_t asleep = idle_.asleep();
        std::uint32_t dormant = dormant_.load(std::memory_order_relaxed);
        s.idle = asleep > dormant ? asleep - dormant : 0;
        s.queued = queued_.load(std::memory_order_relaxed);
        for (const auto& w : workers_)
            s.begun += w->begun.load(std::memory_order_relaxed);
        return s;
    }

private:
    struct worker : fork_runner, idle::bed {
        worker(thread_pool_state& p, unsigned n)
            : fork_runner(post_to, times, p.idle_.counts(), p.news_, help_out, announce, wanted),
              pool(p), number(n), name(name_of_thread(p.name_, n)), random(n + 1) {}

        static void post_to(runner& r, detail::work& w) noexcept;
        static void help_out(fork_runner& r) noexcept { static_cast<worker&>(r).pool.help(); }
        static void announce(fork_runner& r) noexcept {
            static_cast<worker&>(r).pool.announce_stop();
        }
        static bool wanted(fork_runner& r) noexcept {
            auto& self = static_cast<worker&>(r);
            // relaxed: whoever computes asks again
            self.turns_round = self.mail.load(std::memory_order_relaxed) != nullptr ||
                               self.has_stops_to_pass_on() || self.timer_is_due();
            return self.turns_round || self.has_ready();
        }
        [[nodiscard]] bool timer_is_due() const noexcept {
            return !times.empty() && times.next() <= now();
        }
        [[nodiscard]] bool has_mail() const noexcept {
            return mail.load(std::memory_order_seq_cst) != nullptr; // see idle_workers
        }
        void take_mail() noexcept;
        void fire_timers() noexcept {
            while (timer_is_due()) {
                timer& due = times.pop();
                due.fire(due);
            }
        }
        void run_ready() noexcept {
            turns_round = false;
            for (unsigned n = 0; n < batch && has_ready() && !turns_round; ++n) {
                if (is_traced()) [[unlikely]]
                    run_traced(pop_ready());
                else
                    run(pop_ready());
                came_out();
            }
            current_strand = nullptr; // it may be gone
        }

        thread_pool_state& pool;
        const unsigned number;
        const std::string name;
        timer_heap times;
        bool turns_round = false; // to mail, stops and timers, before what else is ready
        unsigned turns = 0;
        std::uint32_t random;
        std::thread thread;                   // guarded by mutex_
        std::optional<std::stop_source> stop; // of the function that runs; guarded by lock_
        std::atomic<std::uint64_t> begun{0};
        std::atomic<bool> has_thread{false};
        // Written by others.
        alignas(64) std::atomic<detail::work*> mail{nullptr};
        std::atomic<std::uint32_t> posting{0};
    };

    struct list {
        pool_work* first = nullptr;
        pool_work* last = nullptr;
    };
    static void put_in(list& l, pool_work& c) noexcept {
        c.next_ = nullptr;
        c.previous_ = l.last;
        (l.last == nullptr ? l.first : l.last->next_) = &c;
        l.last = &c;
    }
    static void take_out(list& l, pool_work& c) noexcept {
        (c.previous_ == nullptr ? l.first : c.previous_->next_) = c.next_;
        (c.next_ == nullptr ? l.last : c.next_->previous_) = c.previous_;
    }

    bool push(pool_work& c) noexcept {
        short_hold held(lock_);
        if (closing_)
            return false;
        put_in(queue_, c);
        c.at_.store(pool_work::place::queue, std::memory_order_relaxed);
        // seq_cst: see idle_workers
        queued_.store(queued_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
        return true;
    }

    pool_work* pull(worker& w) noexcept {
        if (queued_.load(std::memory_order_relaxed) == 0)
            return nullptr;
        short_hold held(lock_);
        pool_work* c = queue_.first;
        if (c == nullptr)
            return nullptr;
        take_out(queue_, *c);
        queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
        if (c->stays) {
            put_in(inside_, *c);
            // seq_cst, before its thread looks for sleepers: see fence_for_pushes()
            may_fork_.fetch_add(1, std::memory_order_seq_cst);
        }
        if (c->stop != nullptr)
            w.stop = *c->stop;
        c->at_.store(c->stays ? pool_work::place::inside : pool_work::place::nowhere,
                     std::memory_order_release); // pairs with the acquire in withdraw()
        return c;
    }

    // Has somebody come for what was just posted, if nobody is on the way. Gives the error if there
    // is no thread, and none can be started.
    int help() noexcept {
        idle::bed* b = idle_.rouse_one();
        if (b == nullptr)
            return 0;
        auto& w = static_cast<worker&>(*b);
        if (w.has_thread.load(std::memory_order_relaxed)) { // ordered by the lock of idle_
            wake_one_on(w.asleep);
            return 0;
        }
        return start(w);
    }

    // For who has roused it. Gives the error if there is no thread at all.
    int start(worker& w) noexcept;
    void serve(worker& w) noexcept;
    bool step(worker& w, bool& searching) noexcept;
    bool steal(worker& w, bool& searching) noexcept;
    void call(worker& w, pool_work& c) noexcept;
    // What was looked for is found.
    void found(bool& searching, const pool_work* what = nullptr) noexcept {
        if (!searching)
            return;
        searching = false;
        if (!idle_.end_search())
            return;
        fence_for_pushes(what != nullptr && what->stays ? 1 : 0);
        if (has_work())
            help();
    }
    // Who pushes into its deque doesn't fence. Whoever has lain down, or doesn't look for work any
    // more, does it for both before a last look: of the two, one sees the other. `but_for`: so many
    // haven't begun.
    void fence_for_pushes(unsigned but_for = 0) const noexcept {
        // seq_cst: one that begins later looks for sleepers after this
        if (may_fork_.load(std::memory_order_seq_cst) > but_for)
            std_atomics::fence_all();
    }
    [[nodiscard]] bool has_work() const noexcept {
        if (queued_.load(std::memory_order_seq_cst) != 0) // see idle_workers
            return true;
        for (unsigned i = 0; i < started_.load(std::memory_order_acquire); ++i)
            if (!workers_[i]->deque.looks_empty())
                return true;
        return false;
    }
    [[nodiscard]] bool is_wanted(worker& w) const noexcept {
        return w.has_mail() || w.has_stops_to_pass_on() || has_work();
    }
    [[nodiscard]] bool look_around(worker& w) noexcept {
        for (unsigned n = 0; n < looks; ++n) {
            if (is_wanted(w))
                return true;
            // Where processors are scarce, whom we have just woken may wait for this one.
            std_atomics::pause(n % looks_between_yields == 0 ? yields : 0);
        }
        return false;
    }
    void sleep(worker& w, bool searching) noexcept {
        idle_.lie_down(w, searching);
        fence_for_pushes();
        if (is_wanted(w) || finished()) {
            idle_.get_up(w);
            return;
        }
        const std::int64_t until =
            w.times.empty() ? INT64_MAX : w.times.next().time_since_epoch().count();
        while (w.asleep.load(std::memory_order_acquire) != 0) { // pairs with the release in take()
            if (until != INT64_MAX && now().time_since_epoch().count() >= until) {
                idle_.get_up(w);
                return;
            }
            sleep_on(w.asleep, 1, until);
        }
    }

    [[nodiscard]] bool finished() noexcept {
        short_hold held(lock_);
        return closing_ && queue_.first == nullptr && inside_.first == nullptr;
    }
    // Precondition: mutex_ is held.
    [[nodiscard]] bool has_ended() noexcept { return alive_ == 0 && finished(); }
    void tell_if_ended() noexcept {
        std::lock_guard lock(mutex_);
        if (!has_ended())
            return;
        thread_pool_shutdown_op* told = std::exchange(waiters_, nullptr);
        while (told != nullptr) {
            thread_pool_shutdown_op* next = told->next_;
            told->wake_from_anywhere();
            told = next;
        }
    }

    void wake_all() noexcept {
        for (unsigned i = 0; i < started_.load(std::memory_order_acquire); ++i)
            if (workers_[i]->has_thread.load(std::memory_order_acquire) &&
                idle_.rouse(*workers_[i]))
                wake_one_on(workers_[i]->asleep);
    }

    void close() noexcept {
        {
            short_hold held(lock_);
            closing_ = true;
        }
        wake_all();
    }

    // False: there is nothing for the thread to do any more.
    bool initialise(bool& searching) noexcept;
    void break_down(std::string why) noexcept;
    void fail_queue() noexcept;
    // What waits fails, what runs is asked to stop.
    void end() noexcept;

    const unsigned size_;
    const std::string name_;
    const std::function<void()> initialiser_;
    std::atomic<bool> breaking_{false}; // the first whose initialiser threw says why
    std::atomic<bool> broken_{false};   // it has said so
    std::string why_broken_;
    std::mutex joining_;
    mutable std::mutex mutex_; // for threads and their number
    unsigned alive_ = 0;
    thread_pool_shutdown_op* waiters_ = nullptr;

    std::vector<std::unique_ptr<worker>> workers_;
    std::atomic<unsigned> started_{0};   // all behind these never had a thread
    std::atomic<std::uint32_t> dormant_; // those that have none
    std::atomic<std::uint32_t> news_{0}; // stops that were announced
    std::atomic<unsigned> initialising_{
        0}; // threads that are. A guess: they are counted in no order
    idle idle_;

    alignas(64) short_lock<> lock_;     // for the following
    list queue_;                        // what outsiders posted
    list inside_;                       // what stays until it leaves
    std::atomic<unsigned> may_fork_{0}; // how many these are
    std::atomic<std::size_t> queued_{0};
    bool closing_ = false;
};

// --- Threads -------------------------------------------------------------------------------------

int thread_pool_state::start(worker& w) noexcept {
    std::lock_guard lock(mutex_);
    int error = 0;
    try {
        sigset_t blocked, before;
        ::sigfillset(&blocked);
        // Signals of the program go to threads that expect them; those that say what the thread
        // itself did wrong, or that profilers send, stay.
        for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
            ::sigdelset(&blocked, s);
        ::pthread_sigmask(SIG_SETMASK, &blocked, &before);
        struct restore {
            const sigset_t& mask;
            ~restore() { ::pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
        } at_end{before};
        // Before it runs: it may lie down and be roused before we have gone on.
        w.has_thread.store(true, std::memory_order_release); // pairs with wake_all()
        if (started_.load(std::memory_order_relaxed) <= w.number)
            started_.store(w.number + 1, std::memory_order_release); // pairs with who looks at them
        w.thread = std::thread([this, &w] { serve(w); });
        dormant_.fetch_sub(1, std::memory_order_relaxed);
        ++alive_;
        return 0;
    } catch (const std::system_error& e) {
        error = e.code().value();
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
    }
    w.has_thread.store(false, std::memory_order_relaxed);
    idle_.put_back(w);
    return alive_ != 0 ? 0 : error; // one less than could be: the others will come to it
}

void thread_pool_state::serve(worker& w) noexcept {
    ::pthread_setname_np(::pthread_self(), w.name.c_str());
    attach_thread_state();
    this_thread_state.current_runner = &w;
    bool searching = true; // as all who were roused
    for (bool goes_on = initialise(searching); goes_on;) {
        w.pass_stops_on();
        w.fire_timers();
        if (step(w, searching))
            continue;
        if (!searching)
            searching = idle_.start_search(1);
        if (searching && look_around(w))
            continue;
        if (finished())
            break;
        sleep(w, searching);
        searching = true;
    }
    if (searching)
        static_cast<void>(idle_.end_search()); // nothing comes any more
    this_thread_state.current_runner = nullptr;
    {
        std::lock_guard lock(mutex_);
        --alive_;
    }
    tell_if_ended();
}

bool thread_pool_state::initialise(bool& searching) noexcept {
    if (!initialiser_)
        return true;
    // That may take its time: who comes meanwhile rouses others. So do we, for all but as many as
    // those who are being initialised will take.
    searching = false;
    unsigned others = initialising_.fetch_add(1, std::memory_order_relaxed);
    if (idle_.end_search() && queued_.load(std::memory_order_seq_cst) > others + 1)
        help();
    try {
        try {
            initialiser_();
            initialising_.fetch_sub(1, std::memory_order_relaxed);
            return true;
        } catch (...) {
            break_down("an initialiser of the thread pool failed: " +
                       describe(std::current_exception()));
        }
    } catch (...) { // no memory for the text
        break_down({});
    }
    return false;
}

void thread_pool_state::break_down(std::string why) noexcept {
    if (breaking_.exchange(true, std::memory_order_relaxed))
        return;
    why_broken_ = std::move(why);
    broken_.store(true, std::memory_order_release);
    close();
    fail_queue();
}

// Runs something, if there is something.
bool thread_pool_state::step(worker& w, bool& searching) noexcept {
    if (w.has_mail())
        w.take_mail();
    if (w.has_ready()) {
        found(searching);
        w.run_ready();
        return true;
    }
    bool outside_first = ++w.turns % outsiders_first == 0;
    if (outside_first) {
        if (pool_work* c = pull(w)) {
            found(searching, c);
            call(w, *c);
            return true;
        }
    }
    if (!w.deque.looks_empty() && w.can_steal()) {
        if (promise_base* c = w.deque.pop()) {
            found(searching);
            w.run_stolen(*c);
            w.came_out();
            return true;
        }
    }
    if (pool_work* c = pull(w)) {
        found(searching, c);
        call(w, *c);
        return true;
    }
    return steal(w, searching);
}

bool thread_pool_state::steal(worker& w, bool& searching) noexcept {
    unsigned n = started_.load(std::memory_order_acquire); // pairs with the release in start()
    w.random = w.random * 1664525u + 1013904223u;
    unsigned first = (w.random >> 16) % n;
    for (unsigned i = 0; i < n; ++i) {
        worker& victim = *workers_[(first + i) % n];
        if (&victim == &w || victim.deque.looks_empty())
            continue;
        if (!w.can_steal()) { // no memory: the victim will come to it, or there is some later
            std_atomics::pause(64);
            return false;
        }
        // The end of the search needs a fence, and so does the steal: one for both.
        bool look_for_more = std::exchange(searching, false) && idle_.end_search();
        promise_base* c = victim.deque.steal();
        if (look_for_more && has_work())
            help();
        if (c != nullptr) {
            w.run_stolen(*c);
            w.came_out();
            return true;
        }
    }
    return false;
}

void thread_pool_state::call(worker& w, pool_work& c) noexcept {
    w.begun.store(w.begun.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    w.current_strand = nullptr;
    c.run_(c, pool_turn::run); // which may free it
    w.came_out();
    w.current_strand = nullptr; // it may be gone
    if (w.stop) {               // written by this thread, and read by who destroys the pool
        std::optional<std::stop_source> over;
        short_hold held(lock_);
        over.swap(w.stop);
    }
}

void thread_pool_state::worker::take_mail() noexcept {
    // acquire: pairs with the push in post_to()
    detail::work* newest = mail.exchange(nullptr, std::memory_order_acquire);
    detail::work* oldest = nullptr;
    detail::work* last = newest;
    while (newest != nullptr) { // the stack has the newest on top: turn it round
        detail::work* earlier = newest->next;
        if (newest->run == nullptr)
            static_cast<strand*>(newest)->flags |= strand::scheduled;
        newest->next = oldest;
        oldest = newest;
        newest = earlier;
    }
    if (oldest != nullptr)
        ready_.append(*oldest, *last);
}

void thread_pool_state::worker::post_to(runner& r, detail::work& w) noexcept {
    auto& self = static_cast<worker&>(r);
    // As soon as the work is in the mailbox the pool may come to its end. Relaxed: the push below
    // publishes it to whoever takes the work.
    self.posting.fetch_add(1, std::memory_order_relaxed);
    detail::work* head = self.mail.load(std::memory_order_relaxed);
    do {
        w.next = head;
        // seq_cst: see idle_workers
    } while (!self.mail.compare_exchange_weak(head, &w, std::memory_order_seq_cst,
                                              std::memory_order_relaxed));
    if (self.pool.idle_.rouse(self))
        wake_one_on(self.asleep);
    self.posting.fetch_sub(1, std::memory_order_release); // pairs with the pool's destructor
}

void thread_pool_state::fail_queue() noexcept {
    list failed;
    {
        short_hold held(lock_);
        failed = std::exchange(queue_, list());
        queued_.store(0, std::memory_order_relaxed);
        for (pool_work* c = failed.first; c != nullptr; c = c->next_)
            c->at_.store(pool_work::place::nowhere, std::memory_order_release); // see withdraw()
    }
    for (pool_work* c = failed.first; c != nullptr;) {
        pool_work* next = c->next_;
        c->run_(*c, pool_turn::gone);
        c = next;
    }
}

void thread_pool_state::end() noexcept {
    close();
    bool announce = false;
    {
        short_hold held(lock_);
        for (pool_work* c = inside_.first; c != nullptr; c = c->next_) {
            c->run_(*c, pool_turn::stop);
            announce = true;
        }
    }
    fail_queue();
    if (announce)
        announce_stop();
    for (auto& w : workers_) {
        std::optional<std::stop_source> source;
        {
            short_hold held(lock_);
            source = w->stop;
        }
        if (source)
            source->request_stop(); // it runs callbacks
    }
}

// --- A call --------------------------------------------------------------------------------------

const operation_type thread_call_base::kind{cancel_call, "a thread pool's answer"};

thread_call_base::homecoming::homecoming(thread_call_base& c) noexcept
    : work([](work& w) noexcept { static_cast<homecoming&>(w).call.stopped(); }), call(c) {}

thread_call_base::thread_call_base(thread_pool_state& pool, call_function f) noexcept
    : operation(kind), pool_work(take_turn), pool_(pool), call_(f), homecoming_(*this) {}

thread_call_base::thread_call_base(thread_call_base&& other) noexcept
    : operation(std::move(other)), pool_work(take_turn), stop_(std::move(other.stop_)),
      pool_(other.pool_), call_(other.call_), homecoming_(*this) {}

void thread_call_base::start() noexcept {
    pool_work::stop = stop_ ? &*stop_ : nullptr;
    setting_.emplace();
    try {
        pool_.post(*this);
    } catch (...) {
        error_ = std::current_exception();
        complete();
    }
}

void thread_call_base::cancel_call(operation& op) noexcept {
    auto& self = static_cast<thread_call_base&>(op);
    if (self.pool_.withdraw(self)) {
        self.stopped();
    } else if (self.stop_) {
        self.cancelled_.store(true,
                              std::memory_order_release); // pairs with the acquire in take_turn
        self.stop_->request_stop(); // runs callbacks; the frame can't be resumed before we return
    }
}

// A function that could see a stop and returned after it gave up half-way: it has no result.
bool thread_call_base::given_up() const noexcept {
    if (!stop_ || !stop_->stop_requested())
        return false;
    if (!error_)
        return true;
    try {
        std::rethrow_exception(error_);
    } catch (const cancelled_error&) {
        return true;
    } catch (...) { // an error all the same
        return false;
    }
}

void thread_call_base::take_turn(pool_work& w, pool_turn turn) noexcept {
    auto& self = static_cast<thread_call_base&>(w);
    if (turn == pool_turn::gone)
        self.error_ = reason_of_end(self.pool_);
    else
        self.setting_->run(
            [](void* c) {
                auto& call = *static_cast<thread_call_base*>(c);
                call.call_(call);
            },
            &self);
    if (self.given_up()) {
        // acquire: pairs with the release in cancel_call
        if (self.cancelled_.load(std::memory_order_acquire)) {
            self.owner().run_by->post(self.homecoming_); // a strand's flags are its own thread's
            return;
        }
        self.error_ = std::make_exception_ptr(ipc::pool_terminated()); // it was the pool that asked
    }
    self.wake_from_anywhere();
}

void post(thread_pool_state& pool, pool_work& w) { pool.post(w); }

std::exception_ptr reason_of_end(const thread_pool_state& pool) noexcept {
    return pool.reason_of_end();
}

bool withdraw(thread_pool_state& pool, pool_work& w) noexcept { return pool.withdraw(w); }

void drop_pending(thread_pool_state& pool) noexcept { pool.drop_pending(); }

void leave(thread_pool_state& pool, pool_work& w) noexcept { pool.leave(w); }

void announce_stop(thread_pool_state& pool) noexcept { pool.announce_stop(); }

// --- Shutdown ------------------------------------------------------------------------------------

const operation_type thread_pool_shutdown_op::kind{cancel_wait, "the end of a thread pool"};

thread_pool_shutdown_op::thread_pool_shutdown_op(thread_pool_state& pool) noexcept
    : operation(kind), pool_(pool) {}

thread_pool_shutdown_op::thread_pool_shutdown_op(thread_pool_shutdown_op&& other) noexcept
    : operation(std::move(other)), pool_(other.pool_) {}

void thread_pool_shutdown_op::start() noexcept {
    if (!pool_.shut_down(*this))
        complete();
}

void thread_pool_shutdown_op::cancel_wait(operation& op) noexcept {
    auto& self = static_cast<thread_pool_shutdown_op&>(op);
    if (self.pool_.forget(self))
        self.stopped();
}

void thread_pool_shutdown_op::await_resume() noexcept { pool_.join(); }

} // namespace weft::detail

namespace weft {

thread_pool::thread_pool(const thread_pool_options& options) : thread_pool(options, nullptr) {}

thread_pool::thread_pool(const thread_pool_options& options, std::function<void()> initialiser)
    : state_(std::make_unique<detail::thread_pool_state>(options, std::move(initialiser))) {}

thread_pool::~thread_pool() = default;

detail::thread_pool_shutdown_op thread_pool::shutdown() noexcept {
    return detail::thread_pool_shutdown_op(*state_);
}

task<> thread_pool::shutdown(shutdown_options how) {
    state_->stop_accepting();
    if (how.cancel_pending) {
        drops_.store(true, std::memory_order_relaxed);
        state_->drop_pending();
    }
    if (how.wait)
        co_await shutdown();
}

unsigned thread_pool::size() const noexcept { return state_->size(); }

thread_pool_statistics thread_pool::statistics() const { return state_->statistics(); }

} // namespace weft
