// SPDX-License-Identifier: MIT
#include <weft/executors/default_pool.hpp>

#include <weft/executors/cpus.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sync_wait.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unhandled.hpp>

#include <algorithm>
#include <mutex>
#include <source_location>
#include <thread>
#include <vector>

namespace weft {

namespace {

class default_pools {
public:
    static default_pools& instance() {
        static default_pools all;
        return all;
    }
    default_pools(const default_pools&) = delete;
    default_pools& operator=(const default_pools&) = delete;

    std::shared_ptr<thread_pool> get() {
        std::lock_guard lock(mutex_);
        if (!current_) {
            thread_pool_options o;
            o.threads = static_cast<int>(std::min(32u, usable_cpus() + 4));
            o.name = "weft-pool";
            current_ = std::make_shared<thread_pool>(o);
        }
        return current_;
    }
    std::shared_ptr<thread_pool> take() {
        std::lock_guard lock(mutex_);
        return std::move(current_);
    }
    void keep_until_the_end(std::shared_ptr<thread_pool> p) {
        std::lock_guard lock(mutex_);
        ending_.push_back(std::move(p));
    }
    void has_ended(const std::shared_ptr<thread_pool>& p) {
        std::lock_guard lock(mutex_);
        std::erase(ending_, p);
    }

private:
    default_pools() = default;
    // The end of the program.
    ~default_pools() {
        if (current_)
            ending_.push_back(std::move(current_));
        if (ending_.empty())
            return;
        // On another thread: what this one needs for waiting may be gone already.
        std::thread([this] {
            for (const auto& p : ending_)
                sync_wait(p->shutdown());
        }).join();
    }

    std::mutex mutex_;
    std::shared_ptr<thread_pool> current_;
    std::vector<std::shared_ptr<thread_pool>> ending_;
};

} // namespace

std::shared_ptr<thread_pool> default_pool() { return default_pools::instance().get(); }

task<bool> shutdown_default_pool(time_point deadline) {
    std::shared_ptr<thread_pool> pool = default_pools::instance().take();
    if (!pool)
        co_return true;
    // Closed at once, and out of this frame's hands: whatever ends the wait, nobody blocks for it.
    default_pools::instance().keep_until_the_end(pool);
    co_await pool->shutdown({.wait = false});
    bool ended = true;
    try {
        co_await with_deadline(deadline, pool->shutdown());
    } catch (const timeout_error&) {
        ended = false;
    }
    if (ended)
        default_pools::instance().has_ended(pool);
    else
        detail::report_unhandled("the shutdown of the default pool", std::source_location(),
                                 std::make_exception_ptr(timeout_error(
                                     "the functions that run there didn't end in time")));
    co_return ended;
}

} // namespace weft
