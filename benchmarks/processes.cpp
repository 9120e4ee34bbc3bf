// SPDX-License-Identifier: MIT
// Has functions called in worker processes: there and back, many at once, with large arguments and
// results; and starts a worker.
#include "harness/processes.hpp"

#include <weft/executors/map.hpp>
#include <weft/executors/process_pool.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>

#include <cstring>
#include <numeric>
#include <span>
#include <unistd.h>

constexpr int submissions = 200000;
constexpr int items = 400000;
constexpr int rounds = 5;

static int twice(int n) { return 2 * n; }
static void take_the_other_processor() { pin_thread(1); }
static std::size_t size_of(std::span<const std::byte> bytes) {
    return bytes.size() + (bytes.back() != std::byte{1} ? 1 : 0);
}
static std::vector<std::byte> bytes_of(std::size_t size) {
    return std::vector<std::byte>(size, std::byte{1});
}

// One worker, on the other processor.
static weft::task<> ask_round_trips() {
    weft::process_pool pool({.workers = 1}, weft::fn<&take_the_other_processor>);
    static_cast<void>(co_await pool.call(weft::fn<&twice>, 0));
    pin_thread(0);
    std::vector<double> times(trips_asleep);
    for (double& t : times) {
        wait_until_it_sleeps();
        int64_t begin = wall_ns();
        static_cast<void>(co_await pool.call(weft::fn<&twice>, 1));
        t = static_cast<double>(wall_ns() - begin) / 1000;
    }
    print_metric("round trip asleep", "us", median_of(times));
    times.assign(trips_spinning, 0);
    int64_t last = wall_ns();
    for (double& t : times) {
        static_cast<void>(co_await pool.call(weft::fn<&twice>, 1));
        int64_t now = wall_ns();
        t = static_cast<double>(now - last) / 1000;
        last = now;
    }
    print_metric("round trip spinning", "us", median_of(times));
    co_await pool.shutdown();
}

static weft::task<> submit_all(weft::process_pool& pool) {
    std::vector<weft::future<int>> all;
    all.reserve(submissions);
    for (int i = 0; i != submissions; ++i)
        all.push_back(pool.submit(weft::fn<&twice>, i));
    for (int i = 0; i != submissions; ++i) {
        int n = co_await std::move(all[static_cast<std::size_t>(i)]);
        if (n != 2 * i)
            exit(1);
    }
}

static weft::task<> map_all(weft::process_pool& pool, std::size_t chunk, int n) {
    std::vector<int> in(static_cast<std::size_t>(n));
    std::iota(in.begin(), in.end(), 0);
    auto all = weft::map(pool, {.chunk = chunk, .look_ahead = 64}, [](int i) { return 2 * i; }, in);
    int seen = 0;
    while (auto got = co_await all.next())
        if (*got != 2 * seen++)
            exit(1);
    if (seen != n)
        exit(1);
}

// Several times, and the median.
template <class Round>
static weft::task<> ask(const char* metric, const char* unit, double scale, Round round) {
    std::vector<double> times;
    for (int r = -1; r != rounds; ++r) {
        int64_t begin = wall_ns();
        co_await round();
        if (r >= 0)
            times.push_back(static_cast<double>(wall_ns() - begin) / scale);
    }
    print_metric(metric, unit, median_of(times));
}

static weft::task<> ask_throughput() {
    weft::process_pool pool({.workers = 2});
    co_await ask("submit", "ns", submissions, [&] { return submit_all(pool); });
    co_await ask("map 1", "ns", items / 4, [&] { return map_all(pool, 1, items / 4); });
    co_await ask("map 100", "ns", items, [&] { return map_all(pool, 100, items); });
    co_await pool.shutdown();
}

static weft::task<> send_all(weft::process_pool& pool, const std::vector<std::byte>& bytes, int n) {
    for (int i = 0; i != n; ++i) {
        std::size_t size = co_await pool.call(weft::fn<&size_of>, std::span(bytes));
        if (size != bytes.size())
            exit(1);
    }
}

static weft::task<> fetch_all(weft::process_pool& pool, std::size_t size, int n) {
    for (int i = 0; i != n; ++i) {
        std::vector<std::byte> got = co_await pool.call(weft::fn<&bytes_of>, size);
        if (got.size() != size || got.back() != std::byte{1})
            exit(1);
    }
}

static weft::task<> ask_large() {
    weft::process_pool pool({.workers = 1}, weft::fn<&take_the_other_processor>);
    static_cast<void>(co_await pool.call(weft::fn<&twice>, 0));
    pin_thread(0);
    auto ask_size = [&](const char* there, const char* back, std::size_t size,
                        int n) -> weft::task<> {
        std::vector<std::byte> bytes(size, std::byte{1});
        co_await ask(there, "us", n * 1000.0, [&] { return send_all(pool, bytes, n); });
        co_await ask(back, "us", n * 1000.0, [&] { return fetch_all(pool, size, n); });
    };
    co_await ask_size("1 MiB argument", "1 MiB result", std::size_t{1} << 20, 100);
    co_await ask_size("16 MiB argument", "16 MiB result", std::size_t{16} << 20, 10);
    co_await pool.shutdown();
}

static weft::task<> ask_start() {
    std::vector<double> times(starts);
    for (double& t : times) {
        int64_t begin = wall_ns();
        weft::process_pool pool({.workers = 1});
        static_cast<void>(co_await pool.call(weft::fn<&twice>, 0));
        t = static_cast<double>(wall_ns() - begin) / 1000;
        co_await pool.shutdown();
    }
    print_metric("start", "us", median_of(times));
}

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    if (argc == 2 && strcmp(argv[1], answers_only) == 0)
        return write(STDOUT_FILENO, "", 1) == 1 ? 0 : 1;
    cpu_set_t given;
    sched_getaffinity(0, sizeof given, &given);
    auto ask_with_all = [&](const char* name, auto question) {
        if (!is_asked(argc, argv, name))
            return;
        sched_setaffinity(0, sizeof given, &given);
        weft::run(question());
    };
    ask_with_all("trips", ask_round_trips);
    ask_with_all("throughput", ask_throughput);
    ask_with_all("large", ask_large);
    ask_with_all("start", ask_start);
}
