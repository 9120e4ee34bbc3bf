// SPDX-License-Identifier: MIT
// Posts to a loop that is busy with two tasks which take turns.
#include "harness/wakeup.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

static weft::task<> keep_busy(const bool& done) {
    pin_thread(1);
    while (!done)
        co_await weft::yield();
}

int main() {
    weft::runtime runtime({.loops = 2});
    weft::loop& busy = runtime.get_loop(1);
    bool done = false;
    busy.post([&] {
        weft::spawn(keep_busy(done));
        weft::spawn(keep_busy(done));
    });
    pin_thread(0);
    ask_posts([&](auto f) { busy.post(std::move(f)); });
    busy.post([&] { done = true; });
}
