// SPDX-License-Identifier: MIT
#include "thread_pool_state.hpp"

#include "native_thread.hpp"

#include <weft/executors/cpus.hpp>
#include <weft/executors/thread.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/kernel.hpp>
#include <weft/runtime/unhandled.hpp>

#include <algorithm>
#include <cerrno>
#include <sched.h>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace weft::detail {

namespace {

// How long one looks for work before it sleeps, in nanoseconds: about as long as to sleep and be
// woken takes.
constexpr std::int64_t look_time = 50'000;
constexpr unsigned looks_between_yields = 16;
constexpr unsigned yields = 32; // a round in which std_atomics::pause yields the processor
// Who gets the processor back later than this has found that others want it. Then it is better to
// sleep at once, for who is woken comes first; so many times, and twice as many the next time.
constexpr std::int64_t long_yield = 20'000;
constexpr unsigned most_crowded = 1024;
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
        return o.cpus.empty() ? usable_cpus() : static_cast<unsigned>(o.cpus.size());
    if (*o.threads < 1 || *o.threads > 1 << 15)
        throw std::invalid_argument("thread_pool: from 1 to 32768 threads");
    return static_cast<unsigned>(*o.threads);
}

std::vector<int> cpus_of_pool(const thread_pool_options& o) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (!o.cpus.empty())
        ::sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu : o.cpus)
        if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(static_cast<unsigned>(cpu), &allowed))
            throw std::invalid_argument("thread_pool: the process may not use CPU " +
                                        std::to_string(cpu));
    return std::vector<int>(o.cpus.begin(), o.cpus.end());
}

blocking_threads::limits blocking_limits(const thread_pool_options& o) {
    if (o.blocking_threads < 1 || o.blocking_threads > 1 << 15)
        throw std::invalid_argument("thread_pool: from 1 to 32768 threads for what blocks");
    require_stack(o.stack_size);
    return {static_cast<unsigned>(o.blocking_threads), o.blocking_idle, o.stack_size};
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

thread_pool_state::thread_pool_state(const thread_pool_options& o,
                                     std::function<void()> initialiser)
    : size_(size_of_pool(o)), stack_size_(o.stack_size), cpus_(cpus_of_pool(o)),
      name_(name_of_pool(o)), initialiser_(std::move(initialiser)), dormant_(size_),
      blocking_(
          blocking_limits(o), [this](unsigned n) { return name_of_thread(name_, size_ + n); },
          [this] { return run_initialiser(); }, [this] { tell_if_ended(); }),
      watch_(
          o.starving_after,
          [this]() -> starvation_watch::numbers {
              return {queued_.load(std::memory_order_relaxed), begun()};
          },
          [this](std::size_t waiting) { report_starvation(waiting); }) {
    workers_.reserve(size_);
    for (unsigned i = 0; i < size_; ++i)
        workers_.push_back(std::make_unique<worker>(*this, i));
    for (unsigned i = size_; i-- > 0;) // the first on top
        idle_.lie_down(*workers_[i], false);
    watch_.start();
}

thread_pool_state::~thread_pool_state() {
    end();
    join();
    watch_.end();
    for (auto& w : workers_) // for the few instructions that a poster still needs
        while (w->posting.load(std::memory_order_acquire) != 0)
            std::this_thread::yield();
    for (auto& w : workers_) { // questions that came when there was nobody to answer
        w->take_mail();
        w->run_ready();
    }
    WEFT_ASSERT(waiters_ == nullptr, "a thread pool went away while a task awaited its end");
}

std::vector<fork_runner*> thread_pool_state::threads() {
    std::vector<fork_runner*> found;
    std::lock_guard lock(mutex_);
    for (auto& w : workers_)
        if (w->lives)
            found.push_back(w.get());
    return found;
}

thread_pool_statistics thread_pool_state::statistics() const {
    thread_pool_statistics s;
    {
        std::lock_guard lock(mutex_);
        s.threads = alive_;
    }
    std::uint32_t asleep = idle_.asleep();
    std::uint32_t dormant = dormant_.load(std::memory_order_relaxed);
    s.idle = asleep > dormant ? asleep - dormant : 0;
    s.queued = queued_.load(std::memory_order_relaxed) + blocking_.queued();
    s.begun = begun() + blocking_.begun();
    s.blocking = blocking_.threads();
    return s;
}

// --- Work ----------------------------------------------------------------------------------------

void thread_pool_state::post(pool_work& c) {
    if (c.blocks ? !blocking_.post(c) : !push(c)) {
        if (broken_.load(std::memory_order_acquire)) // pairs with the release in break_down()
            throw broken_thread_pool(why_broken_);
        throw state_error("the thread pool was shut down and takes no more calls");
    }
    if (c.blocks)
        return;
    if (int error = help(); error != 0 && withdraw(c)) {
        tell_if_ended();
        throw std::system_error(error, std::generic_category(), "start a thread of a pool");
    }
}

bool thread_pool_state::withdraw(pool_work& c) noexcept {
    if (list::where(c) != place::queue)
        return false; // and the pool may be gone
    if (c.blocks)
        return blocking_.withdraw(c);
    short_hold held(lock_);
    if (list::where(c) != place::queue)
        return false;
    queue_.remove(c);
    queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    list::put(c, place::nowhere);
    return true;
}

void thread_pool_state::leave(pool_work& c) noexcept {
    bool last = false;
    {
        short_hold held(lock_);
        inside_.remove(c);
        may_fork_.fetch_sub(1, std::memory_order_relaxed); // its pushes have been taken
        list::put(c, place::nowhere);
        last = closing_ && inside_.empty();
    }
    if (last)
        wake_all();
}

void thread_pool_state::announce_stop() noexcept {
    news_.fetch_add(1, std::memory_order_seq_cst); // as what is posted: see idle_workers
    wake_all();
}

bool thread_pool_state::push(pool_work& c) noexcept {
    {
        short_hold held(lock_);
        if (closing_)
            return false;
        queue_.push(c);
        list::put(c, place::queue);
        // seq_cst: see idle_workers
        queued_.store(queued_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
    }
    watch_.note_waiting();
    return true;
}

pool_work* thread_pool_state::pull(worker& w) noexcept {
    if (queued_.load(std::memory_order_relaxed) == 0)
        return nullptr;
    short_hold held(lock_);
    pool_work* c = queue_.pop();
    if (c == nullptr)
        return nullptr;
    queued_.store(queued_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    if (c->stays) {
        inside_.push(*c);
        // seq_cst, before its thread looks for sleepers: see fence_for_pushes()
        may_fork_.fetch_add(1, std::memory_order_seq_cst);
    }
    if (c->stop != nullptr)
        w.stop = *c->stop;
    list::put(*c, c->stays ? place::inside : place::nowhere);
    return c;
}

// --- Threads -------------------------------------------------------------------------------------

int thread_pool_state::start(worker& w) noexcept {
    std::lock_guard lock(mutex_);
    int error = ENOMEM;
    try {
        thread_attributes attributes(stack_size_ != 0 ? stack_size_ : thread_stack_size());
        signals_held_off hold;
        // Before it runs: it may lie down and be roused before we have gone on.
        w.has_thread.store(true, std::memory_order_release); // pairs with wake_all()
        if (started_.load(std::memory_order_relaxed) <= w.number)
            started_.store(w.number + 1, std::memory_order_release); // pairs with who looks at them
        error = ::pthread_create(&w.thread, attributes.get(), run_worker, &w);
    } catch (const std::system_error& e) {
        error = e.code().value();
    }
    if (error == 0) {
        w.joinable = w.lives = true;
        dormant_.fetch_sub(1, std::memory_order_relaxed);
        ++alive_;
        return 0;
    }
    w.has_thread.store(false, std::memory_order_relaxed);
    idle_.put_back(w);
    return alive_ != 0 ? 0 : error; // one less than could be: the others will come to it
}

void* thread_pool_state::run_worker(void* w) noexcept {
    auto& me = *static_cast<worker*>(w);
    me.pool.serve(me);
    return nullptr;
}

void thread_pool_state::serve(worker& w) noexcept {
    ::pthread_setname_np(::pthread_self(), w.name.c_str());
    if (!cpus_.empty()) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<unsigned>(cpus_[w.number % cpus_.size()]), &one);
        ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one); // or it was taken away since
    }
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
        w.lives = false;
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
    bool done = run_initialiser();
    initialising_.fetch_sub(1, std::memory_order_relaxed);
    return done;
}

bool thread_pool_state::run_initialiser() noexcept {
    if (!initialiser_)
        return true;
    try {
        try {
            initialiser_();
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
    list::run(c, pool_turn::run); // which may free it
    w.came_out();
    w.current_strand = nullptr; // it may be gone
    if (w.stop) {               // written by this thread, and read by who destroys the pool
        std::optional<std::stop_source> over;
        short_hold held(lock_);
        over.swap(w.stop);
    }
}

// --- Sleeping and waking -------------------------------------------------------------------------

int thread_pool_state::help() noexcept {
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

void thread_pool_state::found(bool& searching, const pool_work* what) noexcept {
    if (!searching)
        return;
    searching = false;
    if (!idle_.end_search())
        return;
    fence_for_pushes(what != nullptr && what->stays ? 1 : 0);
    if (has_work())
        help();
}

void thread_pool_state::fence_for_pushes(unsigned but_for) const noexcept {
    // seq_cst: one that begins later looks for sleepers after this
    if (may_fork_.load(std::memory_order_seq_cst) > but_for)
        std_atomics::fence_all();
}

bool thread_pool_state::has_work() const noexcept {
    if (queued_.load(std::memory_order_seq_cst) != 0) // see idle_workers
        return true;
    for (unsigned i = 0; i < started_.load(std::memory_order_acquire); ++i)
        if (!workers_[i]->deque.looks_empty())
            return true;
    return false;
}

bool thread_pool_state::look_around(worker& w) noexcept {
    const kernel& k = real_kernel();
    const bool may_yield = w.crowded == 0;
    if (!may_yield)
        --w.crowded;
    const std::int64_t began = k.now(k.state);
    std::int64_t at = began;
    do {
        // Where processors are scarce, whom we have just woken may wait for this one.
        if (may_yield) {
            std_atomics::pause(yields);
            const std::int64_t before = std::exchange(at, k.now(k.state));
            if (at - before > long_yield) {
                w.crowded = w.crowded_next;
                w.crowded_next = std::min(w.crowded_next * 2, most_crowded);
                return is_wanted(w);
            }
            w.crowded_next = fewest_crowded;
        }
        for (unsigned n = 0; n < looks_between_yields; ++n) {
            if (is_wanted(w))
                return true;
            std_atomics::pause(0);
        }
    } while (may_yield && at - began < look_time);
    return false;
}

void thread_pool_state::sleep(worker& w, bool searching) noexcept {
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

// --- A thread's own ------------------------------------------------------------------------------

thread_pool_state::worker::worker(thread_pool_state& p, unsigned n)
    : fork_runner(post_to, times, p.idle_.counts(), p.news_, help_out, announce, wanted), pool(p),
      number(n), name(name_of_thread(p.name_, n)), random(n + 1) {}

void thread_pool_state::worker::fire_timers() noexcept {
    while (timer_is_due()) {
        timer& due = times.pop();
        due.fire(due);
    }
}

void thread_pool_state::worker::run_ready() noexcept {
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

// --- What goes wrong -----------------------------------------------------------------------------

void thread_pool_state::report_starvation(std::size_t waiting) const noexcept {
    try {
        report_unhandled(
            name_.c_str(), std::source_location(),
            std::make_exception_ptr(timeout_error(
                "a thread pool starves: " + std::to_string(waiting) + " calls wait, and for " +
                std::to_string(
                    std::chrono::duration_cast<std::chrono::milliseconds>(watch_.limit()).count()) +
                " ms none of the threads, of which there may be " + std::to_string(size_) +
                ", has begun one")));
    } catch (const std::bad_alloc&) { // there are worse shortages, then
        static_cast<void>(size_);
    }
}

void thread_pool_state::break_down(std::string why) noexcept {
    if (breaking_.exchange(true, std::memory_order_relaxed))
        return;
    why_broken_ = std::move(why);
    broken_.store(true, std::memory_order_release);
    close();
    fail_queue();
}

// --- The end -------------------------------------------------------------------------------------

std::exception_ptr thread_pool_state::reason_of_end() const noexcept {
    // acquire: pairs with the release in break_down()
    return broken_.load(std::memory_order_acquire)
               ? std::make_exception_ptr(broken_thread_pool(why_broken_))
               : std::make_exception_ptr(ipc::pool_terminated());
}

void thread_pool_state::drop_pending() noexcept {
    pool_queue::taken dropped;
    {
        short_hold held(lock_);
        dropped = queue_.take_droppable();
        queued_.store(queued_.load(std::memory_order_relaxed) - dropped.count(),
                      std::memory_order_relaxed);
    }
    dropped.run_all(pool_turn::gone); // which may free them
    blocking_.drop_pending();
    wake_all(); // there may be nothing left to wait for
    tell_if_ended();
}

bool thread_pool_state::shut_down(thread_pool_shutdown_op& op) noexcept {
    close();
    std::lock_guard lock(mutex_);
    if (has_ended())
        return false;
    op.next_ = waiters_;
    waiters_ = &op;
    return true;
}

bool thread_pool_state::forget(thread_pool_shutdown_op& op) noexcept {
    std::lock_guard lock(mutex_);
    for (thread_pool_shutdown_op** at = &waiters_; *at != nullptr; at = &(*at)->next_) {
        if (*at == &op) {
            *at = op.next_;
            return true;
        }
    }
    return false;
}

void thread_pool_state::join() noexcept {
    std::lock_guard lock(joining_);
    for (auto& w : workers_)
        if (std::exchange(w->joinable, false))
            ::pthread_join(w->thread, nullptr);
    blocking_.join();
}

bool thread_pool_state::finished() noexcept {
    short_hold held(lock_);
    return closing_ && queued_.load(std::memory_order_relaxed) == 0 && inside_.empty();
}

void thread_pool_state::tell_if_ended() noexcept {
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

void thread_pool_state::wake_all() noexcept {
    for (unsigned i = 0; i < started_.load(std::memory_order_acquire); ++i)
        if (workers_[i]->has_thread.load(std::memory_order_acquire) && idle_.rouse(*workers_[i]))
            wake_one_on(workers_[i]->asleep);
}

void thread_pool_state::close() noexcept {
    {
        short_hold held(lock_);
        closing_ = true;
    }
    blocking_.close();
    wake_all();
}

void thread_pool_state::fail_queue() noexcept {
    pool_queue::taken failed;
    {
        short_hold held(lock_);
        failed = queue_.take_all();
        queued_.store(0, std::memory_order_relaxed);
    }
    failed.run_all(pool_turn::gone);
    blocking_.fail_pending();
}

void thread_pool_state::end() noexcept {
    close();
    bool announce = false;
    {
        short_hold held(lock_);
        announce = !inside_.empty();
        for (pool_work* c = inside_.first(); c != nullptr; c = list::after(*c))
            list::run(*c, pool_turn::stop);
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
    blocking_.ask_to_stop();
}

} // namespace weft::detail
