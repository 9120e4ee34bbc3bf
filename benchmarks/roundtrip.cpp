// SPDX-License-Identifier: MIT
// Eight bytes to another process and back: through two queues, and over a connection.
#include "harness/median.hpp"

#include <weft/ipc/connection.hpp>
#include <weft/ipc/process.hpp>
#include <weft/ipc/queue.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>

#include <vector>

constexpr int warm_up = 2000;

// How long each took; the median doesn't mind that now and then something else has the processor.
class laps {
public:
    explicit laps(int n) { each_.reserve(static_cast<size_t>(n)); }
    void begin() { last_ = wall_ns(); }
    void end() {
        int64_t now = wall_ns();
        each_.push_back(static_cast<double>(now - last_));
        last_ = now;
    }
    double median() { return median_of(each_.data(), each_.size()); }

private:
    std::vector<double> each_;
    int64_t last_ = 0;
};

using numbers = weft::ipc::queue<uint64_t>;

static weft::task<> return_numbers(numbers from, numbers to, int n) {
    pin_thread(1); // if there is another one
    for (int i = 0; i < n; ++i) {
        uint64_t got = co_await from.get();
        co_await to.put(got);
    }
}

static weft::task<> return_messages(weft::ipc::connection c, int n) {
    for (int i = 0; i < n; ++i) {
        weft::ipc::byte_buffer m = co_await c.receive_bytes();
        co_await c.send_bytes(m.bytes());
    }
}

static weft::task<> ask_queues(const char* metric, const char* unit, double scale, int n) {
    numbers there(0, {.bytes = 4096, .one_to_one = true});
    numbers back(0, {.bytes = 4096, .one_to_one = true});
    weft::ipc::process p(weft::fn<&return_numbers>, there, back, n + warm_up);
    co_await p.start();
    pin_thread(0);
    laps all(n);
    for (int i = -warm_up; i < n; ++i) {
        if (i == 0)
            all.begin();
        co_await there.put(static_cast<uint64_t>(i));
        static_cast<void>(co_await back.get());
        if (i >= 0)
            all.end();
    }
    print_metric(metric, unit, all.median() / scale);
    co_await p.join();
}

static weft::task<> ask_connection(const char* metric, bool read_ahead, int n) {
    auto ends = weft::ipc::make_connection_pair({.read_ahead = read_ahead});
    weft::ipc::connection mine = std::move(ends.first);
    weft::ipc::process p(weft::fn<&return_messages>, std::move(ends.second), n + warm_up);
    co_await p.start();
    laps all(n);
    uint64_t sent = 7;
    for (int i = -warm_up; i < n; ++i) {
        if (i == 0)
            all.begin();
        co_await mine.send_bytes(std::as_bytes(std::span(&sent, 1)));
        weft::ipc::byte_buffer m = co_await mine.receive_bytes();
        if (i >= 0)
            all.end();
    }
    print_metric(metric, "us", all.median() / 1000);
    co_await p.join();
}

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    weft::run(ask_queues("queue spinning", "ns", 1, 300000));
    // From here on both are on one processor, where nobody can look out for the other.
    pin_thread(0);
    weft::run(ask_queues("queue sleeping", "us", 1000, 30000));
    weft::run(ask_connection("connection", false, 30000));
    weft::run(ask_connection("connection ahead", true, 30000));
}
