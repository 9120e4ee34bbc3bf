// SPDX-License-Identifier: MIT
// Wakes a loop that sleeps, and sends a function back and forth between two, by hand.
#include "../../harness/wakeup.hpp"
#include "loop.hpp"

constexpr int round_trips = 20000;

int main() {
    by_hand::loop home, away;
    bool away_done = false;
    std::thread thread([&] {
        pin_thread(1);
        away.run_until(away_done);
    });
    pin_thread(0);

    ask_wakeups([&](auto f) { away.post(std::move(f)); });

    // The same two nodes go round and round.
    struct ball : by_hand::loop::node {
        by_hand::loop* to = nullptr;
        ball* answer = nullptr;
        int left = round_trips;
        bool done = false;
    } there, back;
    there.to = &home;
    there.answer = &back;
    there.run = [](by_hand::loop::node* n) {
        auto* self = static_cast<ball*>(n);
        self->to->post_node(self->answer);
    };
    back.to = &away;
    back.answer = &there;
    back.run = [](by_hand::loop::node* n) {
        auto* self = static_cast<ball*>(n);
        if (--self->left == 0)
            self->done = true;
        else
            self->to->post_node(self->answer);
    };
    int64_t begin = wall_ns();
    away.post_node(&there);
    home.run_until(back.done);
    print_metric("round trip", "us", static_cast<double>(wall_ns() - begin) / 1000 / round_trips);

    away.post([&] { away_done = true; });
    thread.join();
}
