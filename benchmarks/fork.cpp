// SPDX-License-Identifier: MIT
// Forks all the way down on a thread pool.
#include "harness/fork.hpp"

#include <weft/executors/on_pool.hpp>
#include <weft/runtime/sync_wait.hpp>

struct fib {
    static constexpr long sum = fib_sum;
    static weft::task<long> of(int n) {
        if (n < 2)
            co_return n;
        auto [a, b] = co_await weft::when_all(of(n - 1), of(n - 2));
        co_return a + b;
    }
    weft::task<long> start() { return of(fib_of); }
};

struct skynet {
    static constexpr long sum = skynet_sum;
    static weft::task<long> from(long number, long leaves) {
        if (leaves == 1)
            co_return number;
        std::vector<weft::task<long>> children;
        children.reserve(skynet_width);
        for (int i = 0; i < skynet_width; ++i)
            children.push_back(from(number + i * (leaves / skynet_width), leaves / skynet_width));
        std::vector<long> sums = co_await weft::when_all(std::move(children));
        long all = 0;
        for (long s : sums)
            all += s;
        co_return all;
    }
    weft::task<long> start() { return from(0, skynet_leaves); }
};

struct nqueens {
    static constexpr long sum = queens_sum;
    static weft::task<long> below(board b) {
        if (b.rows == queens)
            co_return 1;
        std::vector<weft::task<long>> children;
        children.reserve(queens);
        for (int c = 0; c < queens; ++c)
            if (b.may_stand(c))
                children.push_back(below(b.with(c)));
        std::vector<long> counts = co_await weft::when_all(std::move(children));
        long all = 0;
        for (long n : counts)
            all += n;
        co_return all;
    }
    weft::task<long> start() { return below(board()); }
};

struct matmul {
    static constexpr long sum = matrix_sum;
    static weft::task<> of(product p) {
        if (p.is_small()) {
            p.multiply();
            co_return;
        }
        product::halves h = p.split();
        if (h.apart) {
            co_await weft::when_all(of(h.first), of(h.second));
        } else {
            co_await of(h.first);
            co_await of(h.second);
        }
    }
    weft::task<long> start() {
        co_await of(m.all());
        co_return m.check();
    }
    matrices m;
};

int main() {
    ask_fork(ASK::sum, [](unsigned threads, auto clock) {
        weft::thread_pool pool({.threads = threads});
        ASK problem;
        clock();
        long sum = weft::sync_wait(weft::on(pool, problem.start()));
        clock();
        return sum;
    });
}
