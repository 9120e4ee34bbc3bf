// SPDX-License-Identifier: MIT
// Eight bytes to another process and back: in two words of shared memory, with a futex and without,
// and over a socket pair.
#include "../../harness/measure.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WARM_UP 2000

/// How long each took; the median doesn't mind that now and then something else has the processor.
static double laps[300000];

struct box {
    _Alignas(64) _Atomic uint32_t turn; // how many numbers have been put
    uint64_t number;
};

static void put(struct box* b, uint64_t number, int wakes) {
    b->number = number;
    atomic_fetch_add(&b->turn, 1);
    if (wakes)
        syscall(SYS_futex, &b->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint64_t get(struct box* b, uint32_t turn, int sleeps) {
    for (uint32_t seen = atomic_load(&b->turn); seen != turn; seen = atomic_load(&b->turn))
        if (sleeps)
            syscall(SYS_futex, &b->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
    return b->number;
}

static double ask_boxes(int n, int sleeps) {
    struct box* boxes =
        mmap(NULL, 2 * sizeof *boxes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        pin_thread(1); // if there is another one
        for (int i = 1; i <= n + WARM_UP; ++i)
            put(&boxes[1], get(&boxes[0], (uint32_t)i, sleeps), sleeps);
        _exit(0);
    }
    pin_thread(0);
    int64_t last = 0;
    for (int i = 1; i <= n + WARM_UP; ++i) {
        put(&boxes[0], (uint64_t)i, sleeps);
        get(&boxes[1], (uint32_t)i, sleeps);
        int64_t now = wall_ns();
        if (i > WARM_UP)
            laps[i - WARM_UP - 1] = (double)(now - last);
        last = now;
    }
    waitpid(child, NULL, 0);
    return median_of(laps, (size_t)n);
}

static void transfer(int fd, uint64_t* number, int sends) {
    ssize_t n = sends ? write(fd, number, sizeof *number) : read(fd, number, sizeof *number);
    if (n != sizeof *number)
        exit(1);
}

static double ask_sockets(int n) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        exit(1);
    uint64_t number = 7;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < n + WARM_UP; ++i) {
            transfer(ends[1], &number, 0);
            transfer(ends[1], &number, 1);
        }
        _exit(0);
    }
    int64_t last = 0;
    for (int i = 0; i < n + WARM_UP; ++i) {
        transfer(ends[0], &number, 1);
        transfer(ends[0], &number, 0);
        int64_t now = wall_ns();
        if (i >= WARM_UP)
            laps[i - WARM_UP] = (double)(now - last);
        last = now;
    }
    waitpid(child, NULL, 0);
    return median_of(laps, (size_t)n);
}

int main(void) {
    print_metric("queue spinning", "ns", ask_boxes(300000, 0));
    print_metric("queue sleeping", "us", ask_boxes(30000, 1) / 1000);
    print_metric("connection", "us", ask_sockets(30000) / 1000);
    print_metric("connection ahead", "us", ask_sockets(30000) / 1000); // the same, at its time
}
