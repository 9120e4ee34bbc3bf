// SPDX-License-Identifier: MIT
// A user's program: it is built against weft as installed and as a subproject.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/sync/event.hpp>

#include <cstdio>

namespace {
weft::task<> wait_for(weft::event& ready, int& answer) {
    co_await ready.wait();
    answer = 42;
}

weft::task<int> answer() {
    weft::event ready;
    int value = 0;
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        group.spawn(wait_for(ready, value));
        ready.set();
        co_return;
    });
    co_return value;
}
} // namespace

int main() {
    int value = weft::run(answer());
    std::printf("%d\n", value);
    return value == 42 ? 0 : 1;
}
