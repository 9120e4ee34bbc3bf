// SPDX-License-Identifier: MIT
// Large messages from a process to another one: copied into shared memory, and out of it.
#include "../../harness/measure.h"

#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 4
#define ROUNDS 5

struct channel {
    sem_t full, empty, done;
};

static void* shared(size_t size) {
    void* at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        exit(1);
    return at;
}

static void ask(const char* metric, size_t size, int n) {
    struct channel* c = shared(sizeof *c);
    char* slots = shared(SLOTS * size);
    sem_init(&c->full, 1, 0);
    sem_init(&c->empty, 1, SLOTS);
    sem_init(&c->done, 1, 0);
    char* m = malloc(size);
    memset(m, 1, size);
    pid_t child = fork();
    if (child == 0) {
        pin_thread(1);
        for (int i = 0; i < (ROUNDS + 1) * n; ++i) {
            sem_wait(&c->full);
            memcpy(m, slots + (size_t)(i % SLOTS) * size, size);
            sem_post(&c->empty);
            if (m[size - 1] != (char)(i % n))
                _exit(1);
            if (i % n == n - 1)
                sem_post(&c->done);
        }
        _exit(0);
    }
    pin_thread(0);
    double times[ROUNDS];
    for (int r = -1; r < ROUNDS; ++r) {
        int64_t before = wall_ns();
        for (int i = 0; i < n; ++i) {
            sem_wait(&c->empty);
            m[size - 1] = (char)i;
            memcpy(slots + (size_t)(((r + 1) * n + i) % SLOTS) * size, m, size);
            sem_post(&c->full);
        }
        sem_wait(&c->done);
        if (r >= 0)
            times[r] = (double)(wall_ns() - before) / n;
    }
    waitpid(child, NULL, 0);
    print_metric(metric, "us", median_of(times, ROUNDS) / 1000);
    free(m);
}

int main(void) {
    cpu_set_t given;
    sched_getaffinity(0, sizeof given, &given);
    ask("1 MiB", (size_t)1 << 20, 200);
    sched_setaffinity(0, sizeof given, &given);
    ask("16 MiB", (size_t)16 << 20, 20);
}
