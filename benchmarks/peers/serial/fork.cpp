// SPDX-License-Identifier: MIT
// The plain functions, which fork nothing: on one processor, however many there are.
#include "../../harness/fork.hpp"

struct fib {
    static constexpr long sum = fib_sum;
    [[gnu::noinline]] static long of(int n) { return n < 2 ? n : of(n - 1) + of(n - 2); }
    long start() { return of(fib_of); }
};

struct skynet {
    static constexpr long sum = skynet_sum;
    [[gnu::noinline]] static long from(long number, long leaves) {
        if (leaves == 1)
            return number;
        long all = 0;
        for (int i = 0; i < skynet_width; ++i)
            all += from(number + i * (leaves / skynet_width), leaves / skynet_width);
        return all;
    }
    long start() { return from(0, skynet_leaves); }
};

struct nqueens {
    static constexpr long sum = queens_sum;
    [[gnu::noinline]] static long below(const board& b) {
        if (b.rows == queens)
            return 1;
        long all = 0;
        for (int c = 0; c < queens; ++c)
            if (b.may_stand(c))
                all += below(b.with(c));
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
        of(h.first);
        of(h.second);
    }
    long start() {
        of(m.all());
        return m.check();
    }
    matrices m;
};

int main() {
    ask_fork(ASK::sum, [](unsigned, auto clock) {
        ASK problem;
        clock();
        long sum = problem.start();
        clock();
        return sum;
    });
}
