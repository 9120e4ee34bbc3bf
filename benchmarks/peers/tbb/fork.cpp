// SPDX-License-Identifier: MIT
// Forks all the way down with oneTBB: a task_group at each fork, of which the caller does one part.
#include "../../harness/fork.hpp"

#include <tbb/global_control.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

struct fib {
    static constexpr long sum = fib_sum;
    static long of(int n) {
        if (n < 2)
            return n;
        long a = 0, b = 0;
        tbb::task_group g;
        g.run([&b, n] { b = of(n - 2); });
        a = of(n - 1);
        g.wait();
        return a + b;
    }
    long start() { return of(fib_of); }
};

struct skynet {
    static constexpr long sum = skynet_sum;
    static long from(long number, long leaves) {
        if (leaves == 1)
            return number;
        std::array<long, skynet_width> sums;
        tbb::task_group g;
        for (int i = 1; i < skynet_width; ++i)
            g.run([&sums, i, number, leaves] {
                sums[static_cast<std::size_t>(i)] =
                    from(number + i * (leaves / skynet_width), leaves / skynet_width);
            });
        sums[0] = from(number, leaves / skynet_width);
        g.wait();
        long all = 0;
        for (long s : sums)
            all += s;
        return all;
    }
    long start() { return from(0, skynet_leaves); }
};

struct nqueens {
    static constexpr long sum = queens_sum;
    static long below(const board& b) {
        if (b.rows == queens)
            return 1;
        std::array<long, queens> counts{};
        tbb::task_group g;
        for (int c = 0; c < queens; ++c)
            if (b.may_stand(c))
                g.run([&counts, &b, c] { counts[static_cast<std::size_t>(c)] = below(b.with(c)); });
        g.wait();
        long all = 0;
        for (long n : counts)
            all += n;
        return all;
    }
    long start() { return below(board()); }
};

struct matmul {
    static constexpr long sum = matrix_sum;
    static void of(product p) {
        if (p.is_small()) {
            p.multiply();
            return;
        }
        product::halves h = p.split();
        if (h.apart) {
            tbb::parallel_invoke([&h] { of(h.first); }, [&h] { of(h.second); });
        } else {
            of(h.first);
            of(h.second);
        }
    }
    long start() {
        of(m.all());
        return m.check();
    }
    matrices m;
};

int main() {
    ask_fork(ASK::sum, [](unsigned threads, auto clock) {
        tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
        tbb::task_arena arena(static_cast<int>(threads));
        ASK problem;
        long sum = 0;
        arena.execute([&] {
            clock();
            sum = problem.start();
            clock();
        });
        return sum;
    });
}
