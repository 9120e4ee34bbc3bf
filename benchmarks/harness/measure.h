// SPDX-License-Identifier: MIT
// What each benchmark program needs of the operating system: the time, the processor time that it
// used, the memory that it had at most, and a place for its answers. Plain C, so that every peer
// can be asked with the same instruments.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline int64_t nanoseconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int64_t wall_ns(void) { return nanoseconds_of(CLOCK_MONOTONIC); }

/// Of all threads, in user mode and in the kernel.
static inline int64_t cpu_ns(void) { return nanoseconds_of(CLOCK_PROCESS_CPUTIME_ID); }

/// A line of /proc/self/status in bytes: "VmRSS:" for what is resident, "VmHWM:" for the most there
/// ever was.
static inline double status_bytes(const char* name) {
    FILE* f = fopen("/proc/self/status", "r");
    char line[256];
    double bytes = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            bytes = (double)strtoull(line + strlen(name), NULL, 10) * 1024;
    if (f != NULL)
        fclose(f);
    return bytes;
}

/// The output format that tools/bench reads.
static inline void print_metric(const char* metric, const char* unit, double value) {
    printf("%s\t%s\t%.6g\n", metric, unit, value);
    fflush(stdout);
}

static inline int compare_numbers(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

/// Sorts the values.
static inline double median_of(double* values, size_t count) {
    qsort(values, count, sizeof *values, compare_numbers);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/// How long each of a million sleepers sleeps: the same sequence for all, spread over the second
/// after the first.
static inline unsigned sleep_ms(uint32_t* state) {
    *state = *state * 1664525u + 1013904223u;
    return 1000 + (*state >> 16) % 1000;
}

/// Keeps the calling thread on the n-th of the processors that the program was given, if there are
/// that many.
static inline void pin_thread(int n) {
    cpu_set_t given, one;
    sched_getaffinity(0, sizeof given, &given);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &given) || n-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}
