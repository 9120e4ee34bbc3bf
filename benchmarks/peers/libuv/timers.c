// SPDX-License-Identifier: MIT
// A million bare timers of libuv, without anything that would wait for them.
#include "../../harness/measure.h"

#include <uv.h>

enum { count = 1000000 };

static unsigned fired;

static void due(uv_timer_t* timer) {
    ++fired;
    free(timer);
}

int main(void) {
    uv_loop_t* loop = uv_default_loop();
    double memory = status_bytes("VmRSS:");
    int64_t cpu = cpu_ns();
    uint32_t seed = 1;
    for (int i = 0; i < count; ++i) {
        uv_timer_t* timer = malloc(sizeof *timer);
        uv_timer_init(loop, timer);
        uv_timer_start(timer, due, sleep_ms(&seed), 0);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (fired != count)
        return 1;
    print_metric("cpu", "ms", (double)(cpu_ns() - cpu) / 1e6);
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - memory) / count);
    return 0;
}
