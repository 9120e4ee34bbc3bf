// SPDX-License-Identifier: MIT
#include <weft/executors/thread_pool.hpp>

#include <weft/executors/cpus.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <atomic>
#include <csignal>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace weft::detail {

class thread_pool_state {
public:
    explicit thread_pool_state(const thread_pool_options& o)
        : size_(o.threads == 0 ? usable_cpus() : o.threads), name_(o.name) {
        if (size_ > 1u << 16)
            throw std::invalid_argument("thread_pool: too many threads");
        threads_.reserve(size_);
    }
    thread_pool_state(const thread_pool_state&) = delete;
    thread_pool_state& operator=(const thread_pool_state&) = delete;
    ~thread_pool_state() {
        end();
        join();
        WEFT_ASSERT(waiters_ == nullptr, "a thread pool went away while a task awaited its end");
    }

    // --- Calls -----------------------------------------------------------------------------------

    void post(pool_work& c) {
        std::unique_lock lock(mutex_);
        if (closing_)
            throw state_error("the thread pool was shut down and takes no more calls");
        if (idle_ != nullptr) {
            worker& w = *idle_;
            hand(w, c);
            lock.unlock();
            w.parked.notify_one();
            return;
        }
        push(c);
        if (threads_.size() < size_)
            add_thread(c);
    }

    // True: withdrawn.
    bool withdraw(pool_work& c) noexcept {
        std::lock_guard lock(mutex_);
        switch (c.at_) {
        case pool_work::place::queue:
            remove(c);
            break;
        case pool_work::place::handed:
            threads_[c.thread_]->handed = nullptr; // who finds nothing when it wakes
            break;
        case pool_work::place::nowhere:
            return false;
        }
        c.at_ = pool_work::place::nowhere;
        return true;
    }

    // --- The end ---------------------------------------------------------------------------------

    /// What was accepted is run, and the threads end by themselves.
    void stop_accepting() noexcept {
        std::lock_guard lock(mutex_);
        close();
    }
    // False: it has come already.
    bool shut_down(thread_pool_shutdown_op& op) noexcept {
        std::lock_guard lock(mutex_);
        close();
        if (alive_ == 0)
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
        for (auto& w : threads_)
            if (w->thread.joinable())
                w->thread.join();
    }

    [[nodiscard]] unsigned size() const noexcept { return size_; }
    [[nodiscard]] thread_pool_statistics statistics() const {
        std::lock_guard lock(mutex_);
        thread_pool_statistics s;
        s.threads = alive_;
        for (worker* w = idle_; w != nullptr; w = w->next_idle)
            ++s.idle;
        s.queued = queued_;
        s.begun = begun_;
        return s;
    }

private:
    struct worker {
        std::thread thread;
        std::atomic<std::uint32_t> parked{0};
        pool_work* handed = nullptr;      // guarded by the lock, as are the following
        std::stop_source* stop = nullptr; // of what runs
        worker* next_idle = nullptr;
        unsigned number = 0;
    };

    void push(pool_work& c) noexcept {
        c.at_ = pool_work::place::queue;
        c.next_ = nullptr;
        c.previous_ = last_;
        (last_ == nullptr ? first_ : last_->next_) = &c;
        last_ = &c;
        ++queued_;
    }
    void remove(pool_work& c) noexcept {
        (c.previous_ == nullptr ? first_ : c.previous_->next_) = c.next_;
        (c.next_ == nullptr ? last_ : c.next_->previous_) = c.previous_;
        --queued_;
    }
    // Takes the worker on top of the idle ones and lets it go on; the caller notifies.
    void hand(worker& w, pool_work& c) noexcept {
        idle_ = w.next_idle;
        w.handed = &c;
        c.at_ = pool_work::place::handed;
        c.thread_ = w.number;
        w.parked.store(0, std::memory_order_release); // pairs with the acquire in park()
    }

    void add_thread(pool_work& c) {
        try {
            auto w = std::make_unique<worker>();
            w->number = static_cast<unsigned>(threads_.size());
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
            worker* raw = w.get();
            w->thread = std::thread([this, raw] { work(*raw); });
            std::string name = name_.substr(0, 10) + "-" + std::to_string(w->number);
            ::pthread_setname_np(w->thread.native_handle(), name.c_str());
            threads_.push_back(std::move(w)); // there is room
            ++alive_;
        } catch (...) {
            if (alive_ != 0)
                return; // one thread less than could be: the others will come to it
            remove(c);
            c.at_ = pool_work::place::nowhere;
            throw;
        }
    }

    void work(worker& w) noexcept {
        std::unique_lock lock(mutex_);
        while (true) {
            pool_work* c = std::exchange(w.handed, nullptr);
            if (c == nullptr && first_ != nullptr) {
                c = first_;
                remove(*c);
            }
            if (c != nullptr) {
                c->at_ = pool_work::place::nowhere;
                std::optional<std::stop_source> stop;
                if (c->stop != nullptr)
                    stop = *c->stop;
                w.stop = stop ? &*stop : nullptr;
                ++begun_;
                lock.unlock();
                c->run_(*c, pool_turn::run); // which may free it
                lock.lock();
                w.stop = nullptr;
            } else if (closing_) {
                break;
            } else {
                w.next_idle = idle_;
                idle_ = &w;
                w.parked.store(1, std::memory_order_relaxed);
                lock.unlock();
                w.parked.wait(1, std::memory_order_acquire); // pairs with the release in hand()
                lock.lock();
            }
        }
        if (--alive_ == 0) {
            thread_pool_shutdown_op* told = std::exchange(waiters_, nullptr);
            while (told != nullptr) {
                thread_pool_shutdown_op* next = told->next_;
                told->wake_from_anywhere();
                told = next;
            }
        }
    }

    void close() noexcept {
        closing_ = true;
        while (idle_ != nullptr) {
            worker& w = *idle_;
            idle_ = w.next_idle;
            w.parked.store(0, std::memory_order_release); // pairs with the acquire in work()
            w.parked.notify_one();
        }
    }

    // What waits fails, what runs is asked to stop.
    void end() noexcept {
        std::unique_lock lock(mutex_);
        close();
        while (first_ != nullptr) {
            pool_work& c = *first_;
            remove(c);
            fail(c, lock);
        }
        for (auto& w : threads_) {
            if (pool_work* c = std::exchange(w->handed, nullptr))
                fail(*c, lock);
            if (w->stop == nullptr)
                continue;
            std::stop_source source = *w->stop;
            lock.unlock(); // it runs callbacks
            source.request_stop();
            lock.lock();
        }
    }
    static void fail(pool_work& c, std::unique_lock<std::mutex>& lock) noexcept {
        c.at_ = pool_work::place::nowhere;
        lock.unlock();
        c.run_(c, pool_turn::gone);
        lock.lock();
    }

    const unsigned size_;
    const std::string name_;
    std::mutex joining_;
    mutable std::mutex mutex_; // for all that follows
    std::vector<std::unique_ptr<worker>> threads_;
    worker* idle_ = nullptr; // who went to sleep last is on top
    pool_work* first_ = nullptr;
    pool_work* last_ = nullptr;
    std::size_t queued_ = 0;
    std::uint64_t begun_ = 0;
    unsigned alive_ = 0;
    thread_pool_shutdown_op* waiters_ = nullptr;
    bool closing_ = false;
};

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
        self.error_ = std::make_exception_ptr(ipc::pool_terminated());
    else
        self.call_(self);
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

bool withdraw(thread_pool_state& pool, pool_work& w) noexcept { return pool.withdraw(w); }

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

thread_pool::thread_pool(const thread_pool_options& options)
    : state_(std::make_unique<detail::thread_pool_state>(options)) {}

thread_pool::~thread_pool() = default;

detail::thread_pool_shutdown_op thread_pool::shutdown() noexcept {
    return detail::thread_pool_shutdown_op(*state_);
}

task<> thread_pool::shutdown(shutdown_options how) {
    if (how.cancel_pending)
        drops_.store(true, std::memory_order_relaxed); // the lock that closes the pool publishes it
    if (how.wait)
        co_await shutdown();
    else
        state_->stop_accepting();
}

unsigned thread_pool::size() const noexcept { return state_->size(); }

thread_pool_statistics thread_pool::statistics() const { return state_->statistics(); }

} // namespace weft
