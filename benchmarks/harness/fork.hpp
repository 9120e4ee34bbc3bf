// SPDX-License-Identifier: MIT
// Problems that fork all the way down, what they come to, and how they are timed. A program answers
// one of them: struct ASK with `static result start()`.
#pragma once
#include "measure.h"

#include <array>
#include <cstddef>
#include <vector>

constexpr int fib_of = 32;
constexpr long fib_sum = 2178309;
constexpr int skynet_width = 10;
constexpr long skynet_leaves = 1000000;
constexpr long skynet_sum = skynet_leaves * (skynet_leaves - 1) / 2;
constexpr int queens = 13;
constexpr long queens_sum = 73712;
constexpr int matrix_size = 1024;
constexpr int matrix_block = 64;

struct board {
    std::array<signed char, 16> column;
    int rows = 0;

    [[nodiscard]] bool may_stand(int c) const {
        for (int r = 0; r < rows; ++r)
            if (column[static_cast<std::size_t>(r)] == c ||
                column[static_cast<std::size_t>(r)] - c == r - rows ||
                column[static_cast<std::size_t>(r)] - c == rows - r)
                return false;
        return true;
    }
    [[nodiscard]] board with(int c) const {
        board b = *this;
        b.column[static_cast<std::size_t>(b.rows++)] = static_cast<signed char>(c);
        return b;
    }
};

/// A part of a product: `rows` x `columns` of c, from `depth` columns of a and rows of b.
struct product {
    double* c;
    const double* a;
    const double* b;
    int rows, columns, depth;

    [[nodiscard]] bool is_small() const {
        return rows <= matrix_block && columns <= matrix_block && depth <= matrix_block;
    }
    /// The same machine code for everybody, whatever it would be inlined into.
    [[gnu::noinline]] void multiply() const {
        for (int i = 0; i < rows; ++i)
            for (int k = 0; k < depth; ++k) {
                const double x = a[i * matrix_size + k];
                const double* from = b + k * matrix_size;
                double* to = c + i * matrix_size;
                for (int j = 0; j < columns; ++j)
                    to[j] += x * from[j];
            }
    }
    /// Halves of the longest side; `apart` if they may be computed at the same time.
    struct halves;
    [[nodiscard]] halves split() const;
};
struct product::halves {
    product first, second;
    bool apart;
};
inline product::halves product::split() const {
    product x = *this, y = *this;
    if (rows >= columns && rows >= depth) {
        x.rows = rows / 2;
        y.rows = rows - x.rows;
        y.c += x.rows * matrix_size;
        y.a += x.rows * matrix_size;
        return {x, y, true};
    }
    if (columns >= depth) {
        x.columns = columns / 2;
        y.columns = columns - x.columns;
        y.c += x.columns;
        y.b += x.columns;
        return {x, y, true};
    }
    x.depth = depth / 2;
    y.depth = depth - x.depth;
    y.a += x.depth;
    y.b += x.depth * matrix_size;
    return {x, y, false};
}

struct matrices {
    std::vector<double> a, b, c;
    matrices()
        : a(matrix_size * matrix_size, 1.5), b(matrix_size * matrix_size, 2.0),
          c(matrix_size * matrix_size) {}
    [[nodiscard]] product all() {
        return {c.data(), a.data(), b.data(), matrix_size, matrix_size, matrix_size};
    }
    /// What has been added up in the last element.
    [[nodiscard]] long check() const { return static_cast<long>(c.back()); }
};
constexpr long matrix_sum = 3 * matrix_size;

/// `solve(threads)` makes what it needs, calls its argument to start the time and again to stop it,
/// and gives the answer.
template <class Solve>
void ask_fork(long expected, Solve solve) {
    constexpr int rounds = 3;
    double before = status_bytes("VmRSS:");
    for (unsigned threads : {1u, 2u}) {
        double times[rounds];
        for (double& t : times) {
            int64_t begin = 0, end = 0;
            int calls = 0;
            long got = solve(threads, [&] { (calls++ == 0 ? begin : end) = wall_ns(); });
            if (got != expected) {
                fprintf(stderr, "%ld instead of %ld\n", got, expected);
                exit(1);
            }
            t = static_cast<double>(end - begin) / 1e6;
        }
        print_metric(threads == 1 ? "1 thread" : "2 threads", "ms", median_of(times, rounds));
    }
    print_metric("memory", "bytes", status_bytes("VmHWM:") - before);
}
