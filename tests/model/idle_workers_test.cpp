// SPDX-License-Identifier: MIT
#include "model/weaken.hpp"

#include "../../executors/impl/idle_workers.hpp"

#include <catch2/catch.hpp>

namespace weft::model {

namespace {

using idle = weft::detail::idle_workers<atomics>;

/// A pool whose work has no content. As in thread_pool.cpp.
class small_pool {
public:
    void post() {
        work_.fetch_add(1);
        help();
    }
    /// Fails if the workers sleep while there is work.
    void wait_until_done(int n) {
        while (done_.load() < n)
            atomics::pause();
    }
    void close(idle::bed* beds, std::size_t n) {
        closed_.store(true);
        for (std::size_t i = 0; i < n; ++i)
            if (idle_.rouse(beds[i]))
                atomics::wake(beds[i].asleep, 1);
    }

    void serve(idle::bed& bed) {
        bool searching = idle_.start_search(2);
        while (true) {
            if (take()) {
                if (searching && idle_.end_search() && work_.load() != 0)
                    help();
                searching = false;
                done_.fetch_add(1);
                continue;
            }
            if (closed_.load())
                break;
            if (!searching)
                searching = idle_.start_search(1);
            idle_.lie_down(bed, searching);
            searching = true;
            if (work_.load() != 0 || closed_.load()) {
                idle_.get_up(bed);
                continue;
            }
            while (bed.asleep.load(std::memory_order_acquire) != 0)
                atomics::wait(bed.asleep, 1u);
        }
        if (searching)
            static_cast<void>(idle_.end_search());
    }

    void check_rest() {
        check(idle_.asleep() == 0, "nobody is left in bed");
        check(idle_.counts().load() == 0, "nobody is counted who has gone");
        check(work_.load() == 0, "no work is left");
    }

private:
    bool take() {
        int n = work_.load();
        while (n != 0)
            if (work_.compare_exchange_strong(n, n - 1))
                return true;
        return false;
    }
    void help() {
        if (idle::bed* b = idle_.rouse_one())
            atomics::wake(b->asleep, 1);
    }

    idle idle_;
    atomics::atomic<int> work_{0};
    atomics::atomic<int> done_{0};
    atomics::atomic<bool> closed_{false};
};

void one_worker() {
    small_pool p;
    idle::bed bed;
    threads([&] { p.serve(bed); },
            [&] {
                p.post();
                p.wait_until_done(1);
                p.close(&bed, 1);
            });
    p.check_rest();
}

void one_worker_two_posters() {
    small_pool p;
    idle::bed bed;
    threads([&] { p.serve(bed); }, [&] { p.post(); },
            [&] {
                p.post();
                p.wait_until_done(2);
                p.close(&bed, 1);
            });
    p.check_rest();
}

void two_workers() {
    small_pool p;
    idle::bed beds[2];
    threads([&] { p.serve(beds[0]); }, [&] { p.serve(beds[1]); },
            [&] {
                p.post();
                p.post();
                p.wait_until_done(2);
                p.close(beds, 2);
            });
    p.check_rest();
}

constexpr bounds narrow{.preemptions = 1, .stale_reads = 1, .spurious = 0};

const std::vector<named_model> models{
    {"idle_workers, one", one_worker, {.stale_reads = 1}},
    {"idle_workers, two posters", one_worker_two_posters, narrow},
    {"idle_workers, two", two_workers, narrow},
};

} // namespace

TEST_CASE("idle_workers: no work lies around while all sleep, and that needs its orders") {
    auto piece = all_hold(models);
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
