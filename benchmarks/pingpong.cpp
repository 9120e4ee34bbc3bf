// SPDX-License-Identifier: MIT
// Two tasks of one loop that send an item back and forth through two queues with room for one.
#include "harness/median.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/when_all.hpp>
#include <weft/sync/queue.hpp>

constexpr int count = 1000000;

static weft::task<> serve(weft::queue<int>& to, weft::queue<int>& from) {
    for (int i = 0; i < count; ++i) {
        co_await to.put(i);
        static_cast<void>(co_await from.get());
    }
}

static weft::task<> return_all(weft::queue<int>& from, weft::queue<int>& to) {
    for (int i = 0; i < count; ++i) {
        int item = co_await from.get();
        co_await to.put(item);
    }
}

static weft::task<> play() {
    weft::queue<int> there(1);
    weft::queue<int> back(1);
    co_await weft::when_all(serve(there, back), return_all(there, back));
}

int main() {
    print_time_each("round trip", count, [] { weft::run(play()); });
}
