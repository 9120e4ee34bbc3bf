// SPDX-License-Identifier: MIT
// Posts to a loop that is busy with two coroutines which take turns, by hand. The loop looks into
// its mailbox once in 256 turns.
#include "../../harness/wakeup.hpp"
#include "coroutine.hpp"
#include "loop.hpp"

static by_hand::detached keep_busy(by_hand::ready_queue& queue, by_hand::loop& l,
                                   const bool& done) {
    unsigned turn = 0;
    while (!done) {
        if (++turn % 128 == 0)
            l.take_mail();
        co_await by_hand::yield(queue);
    }
}

int main() {
    by_hand::loop busy;
    bool done = false;
    std::thread thread([&] {
        pin_thread(1);
        by_hand::ready_queue queue;
        queue.push(keep_busy(queue, busy, done).frame);
        queue.push(keep_busy(queue, busy, done).frame);
        queue.run();
    });
    pin_thread(0);
    ask_posts([&](auto f) { busy.post(std::move(f)); });
    busy.post([&] { done = true; });
    thread.join();
}
