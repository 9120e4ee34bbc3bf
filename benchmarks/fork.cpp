// SPDX-License-Identifier: MIT
// Forks all the way down on a thread pool.
#include "harness/fork.hpp"

#include <weft/executors/on_pool.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <array>
#include <span>

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
    static weft::task<> from(long number, long leaves, long& sum) {
        if (leaves == 1) {
            sum = number;
            co_return;
        }
        std::array<long, skynet_width> sums;
        std::array<weft::task<>, skynet_width> children;
        for (std::size_t i = 0; i < skynet_width; ++i)
            children[i] = from(number + static_cast<long>(i) * (leaves / skynet_width),
                               leaves / skynet_width, sums[i]);
        co_await weft::when_all(std::span(children));
        sum = 0;
        for (long s : sums)
            sum += s;
    }
    static weft::task<long> start() {
        long all = 0;
        co_await from(0, skynet_leaves, all);
        co_return all;
    }
};

struct nqueens {
    static constexpr long sum = queens_sum;
    static weft::task<> below(board b, long& count) {
        if (b.rows == queens) {
            count = 1;
            co_return;
        }
        std::array<long, queens> counts{};
        std::array<weft::task<>, queens> children;
        std::size_t n = 0;
        for (int c = 0; c < queens; ++c)
            if (b.may_stand(c)) {
                children[n] = below(b.with(c), counts[n]);
                ++n;
            }
        co_await weft::when_all(std::span(children).first(n));
        count = 0;
        for (std::size_t i = 0; i < n; ++i)
            count += counts[i];
    }
    static weft::task<long> start() {
        long all = 0;
        co_await below(board(), all);
        co_return all;
    }
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
