// SPDX-License-Identifier: MIT
// A number to another process and twice that back: two words of shared memory, with a futex and
// without. And weft's own program, started by posix_spawn to say that it is there.
#include "../../harness/processes.hpp"

#include <atomic>
#include <cstdlib>
#include <linux/futex.h>
#include <spawn.h>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct box {
    alignas(64) std::atomic<uint32_t> turn{0}; // how many numbers have been put
    int number = 0;
};
struct pair_of_boxes {
    box there, back;
};

static void put(box& b, int number, bool wakes) {
    b.number = number;
    b.turn.fetch_add(1, std::memory_order_release);
    if (wakes)
        syscall(SYS_futex, &b.turn, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

static int get(box& b, uint32_t turn, bool sleeps) {
    for (uint32_t seen = b.turn.load(std::memory_order_acquire); seen != turn;
         seen = b.turn.load(std::memory_order_acquire)) {
        if (sleeps)
            syscall(SYS_futex, &b.turn, FUTEX_WAIT, seen, nullptr, nullptr, 0);
    }
    return b.number;
}

static void ask_round_trips(const char* metric, int n, bool sleep) {
    void* m = mmap(nullptr, sizeof(pair_of_boxes), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        exit(1);
    auto& boxes = *new (m) pair_of_boxes;
    pid_t child = fork();
    if (child == 0) {
        pin_thread(1);
        for (int i = 1; i <= n; ++i)
            put(boxes.back, 2 * get(boxes.there, static_cast<uint32_t>(i), sleep), sleep);
        _exit(0);
    }
    pin_thread(0);
    std::vector<double> times(static_cast<size_t>(n));
    for (int i = 1; i <= n; ++i) {
        if (sleep)
            wait_until_it_sleeps();
        int64_t begin = wall_ns();
        put(boxes.there, i, sleep);
        if (get(boxes.back, static_cast<uint32_t>(i), sleep) != 2 * i)
            exit(1);
        times[static_cast<size_t>(i - 1)] = static_cast<double>(wall_ns() - begin) / 1000;
    }
    waitpid(child, nullptr, 0);
    print_metric(metric, "us", median_of(times));
}

static void ask_start(const std::string& program) {
    if (access(program.c_str(), X_OK) != 0)
        return;
    std::vector<double> times(starts);
    for (double& t : times) {
        int64_t begin = wall_ns();
        int ends[2];
        if (pipe(ends) != 0)
            exit(1);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        std::string name = program, argument = answers_only;
        char* arguments[] = {name.data(), argument.data(), nullptr};
        pid_t child = 0;
        char byte = 1;
        if (posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ) != 0 ||
            read(ends[0], &byte, 1) != 1)
            exit(1);
        t = static_cast<double>(wall_ns() - begin) / 1000;
        posix_spawn_file_actions_destroy(&actions);
        close(ends[0]);
        close(ends[1]);
        waitpid(child, nullptr, 0);
    }
    print_metric("start", "us", median_of(times));
}

int main(int argc, char** argv) {
    cpu_set_t given;
    sched_getaffinity(0, sizeof given, &given);
    if (is_asked(argc, argv, "trips")) {
        ask_round_trips("round trip asleep", trips_asleep, true);
        sched_setaffinity(0, sizeof given, &given);
        ask_round_trips("round trip spinning", trips_spinning, false);
        sched_setaffinity(0, sizeof given, &given);
    }
    std::string self = argv[0];
    if (is_asked(argc, argv, "start"))
        ask_start(self.substr(0, self.rfind('/') + 1) + "bench-weft-processes");
}
