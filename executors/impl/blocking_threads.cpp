// SPDX-License-Identifier: MIT
#include "blocking_threads.hpp"

#include "native_thread.hpp"

#include <weft/executors/thread.hpp>
#include <weft/runtime/detail/frame_pool.hpp>

#include <algorithm>
#include <utility>

namespace weft::detail {

bool blocking_threads::post(pool_work& c) {
    std::list<member> over;
    std::unique_lock lock(mutex_);
    if (closed_)
        return false;
    queue_.push(c);
    pool_work_list::put(c, pool_work_list::place::queue);
    ++queued_;
    over.swap(over_);
    if (queued_ > idle_ && members_.size() < limits_.most) {
        try {
            start_one();
        } catch (...) {
            if (members_.empty()) {
                queue_.remove(c);
                pool_work_list::put(c, pool_work_list::place::nowhere);
                --queued_;
                throw;
            }
        }
    } else if (idle_ != 0) {
        wake_.notify_one();
    }
    lock.unlock();
    reap(over);
    return true;
}

// Under the lock, which the new thread takes first of all.
void blocking_threads::start_one() {
    member& m = members_.emplace_back();
    m.of = this;
    m.number = started_;
    int e = 0;
    try {
        thread_attributes attributes(limits_.stack_size != 0 ? limits_.stack_size
                                                             : thread_stack_size());
        signals_held_off hold;
        e = ::pthread_create(&m.handle, attributes.get(), run_member, &m);
    } catch (...) {
        members_.pop_back();
        throw;
    }
    if (e != 0) {
        members_.pop_back();
        throw_errno(e, "a thread of a pool");
    }
    ++started_;
}

void* blocking_threads::run_member(void* m) noexcept {
    auto& me = *static_cast<member*>(m);
    me.of->serve(me);
    return nullptr;
}

void blocking_threads::serve(member& me) noexcept {
    attach_thread_state();
    {
        std::lock_guard lock(mutex_); // until it is in the list as it should be
    }
    try {
        ::pthread_setname_np(::pthread_self(), name_(me.number).c_str());
    } catch (...) { // no memory for a name
        static_cast<void>(me.number);
    }
    bool goes_on = initialise_();
    std::unique_lock lock(mutex_);
    while (goes_on) {
        if (pool_work* c = queue_.first()) {
            queue_.remove(*c);
            --queued_;
            ++begun_;
            if (c->stop != nullptr)
                me.stop = *c->stop;
            pool_work_list::put(*c, pool_work_list::place::nowhere);
            lock.unlock();
            pool_work_list::run(*c, pool_turn::run);
            std::optional<std::stop_source> over;
            lock.lock();
            over.swap(me.stop);
            continue;
        }
        if (closed_)
            break;
        ++idle_;
        bool wanted = wake_.wait_until(lock, saturated_sum(clock::now(), limits_.idle_time),
                                       [&] { return closed_ || !queue_.empty(); });
        --idle_;
        if (!wanted)
            break;
    }
    auto mine =
        std::find_if(members_.begin(), members_.end(), [&](const member& m) { return &m == &me; });
    over_.splice(over_.end(), members_, mine);
    bool last = closed_ && members_.empty();
    if (members_.empty())
        none_left_.notify_all();
    lock.unlock();
    if (last)
        tell_end_();
}

bool blocking_threads::withdraw(pool_work& c) noexcept {
    std::lock_guard lock(mutex_);
    if (pool_work_list::where(c) != pool_work_list::place::queue)
        return false;
    queue_.remove(c);
    --queued_;
    pool_work_list::put(c, pool_work_list::place::nowhere);
    return true;
}

void blocking_threads::drop_pending() noexcept {
    pool_work_list dropped;
    {
        std::lock_guard lock(mutex_);
        dropped = queue_.take_droppable();
        for (const pool_work* c = dropped.first(); c != nullptr; c = pool_work_list::after(*c))
            --queued_;
    }
    dropped.run_all(pool_turn::gone);
}

void blocking_threads::fail_pending() noexcept {
    pool_work_list failed;
    {
        std::lock_guard lock(mutex_);
        failed = queue_.take_all();
        queued_ = 0;
    }
    failed.run_all(pool_turn::gone);
}

void blocking_threads::close() noexcept {
    std::lock_guard lock(mutex_);
    closed_ = true;
    wake_.notify_all();
}

void blocking_threads::ask_to_stop() noexcept {
    std::vector<std::stop_source> asked;
    {
        std::lock_guard lock(mutex_);
        for (const member& m : members_)
            if (m.stop)
                asked.push_back(*m.stop);
    }
    for (std::stop_source& s : asked)
        s.request_stop(); // it runs callbacks
}

bool blocking_threads::has_ended() const noexcept {
    std::lock_guard lock(mutex_);
    return closed_ && members_.empty() && queue_.empty();
}

void blocking_threads::reap(std::list<member>& over) noexcept {
    for (member& m : over)
        ::pthread_join(m.handle, nullptr);
    over.clear();
}

void blocking_threads::join() noexcept {
    std::list<member> over;
    {
        std::unique_lock lock(mutex_);
        none_left_.wait(lock, [&] { return members_.empty(); });
        over.swap(over_);
    }
    reap(over);
}

unsigned blocking_threads::threads() const noexcept {
    std::lock_guard lock(mutex_);
    return static_cast<unsigned>(members_.size());
}
std::size_t blocking_threads::queued() const noexcept {
    std::lock_guard lock(mutex_);
    return queued_;
}
std::uint64_t blocking_threads::begun() const noexcept {
    std::lock_guard lock(mutex_);
    return begun_;
}

} // namespace weft::detail
