// SPDX-License-Identifier: MIT
#include "worker_surroundings.hpp"

#include "system_call_filter.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <stdexcept>
#include <sys/resource.h>
#include <unistd.h>

namespace weft::detail {

namespace {

struct gate {
    const worker_surroundings* surroundings = nullptr;
    int letter = -1;
};
constinit gate worker_gate;

void set_limit(__rlimit_resource which, std::uint64_t soft, std::uint64_t hard, const char* name) {
    rlimit before{};
    if (::getrlimit(which, &before) != 0)
        throw_errno(errno, "getrlimit", name);
    if (soft > before.rlim_max)
        throw std::runtime_error("the limit of " + std::string(name) + ", " + std::to_string(soft) +
                                 ", is above the highest that this process may have, " +
                                 std::to_string(before.rlim_max));
    const rlimit wanted{soft, std::min<rlim_t>(hard, before.rlim_max)};
    if (::setrlimit(which, &wanted) != 0)
        throw_errno(errno, "setrlimit", name);
}

// Bytes of address space that are in use.
std::uint64_t address_space_in_use() noexcept {
    unsigned long pages = 0;
    if (std::FILE* f = std::fopen("/proc/self/statm", "re")) {
        if (std::fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        std::fclose(f);
    }
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void run_on_cpus(const std::vector<std::uint32_t>& cpus) {
    const std::uint32_t highest = *std::ranges::max_element(cpus);
    cpu_set_t* set = CPU_ALLOC(highest + 1);
    if (set == nullptr)
        throw std::bad_alloc();
    const std::size_t size = CPU_ALLOC_SIZE(highest + 1);
    CPU_ZERO_S(size, set);
    std::string names;
    for (std::uint32_t c : cpus) {
        CPU_SET_S(c, size, set);
        names += (names.empty() ? "CPU " : ", ") + std::to_string(c);
    }
    const bool set_so = ::sched_setaffinity(0, size, set) == 0;
    const int error_number = errno;
    CPU_FREE(set);
    if (!set_so)
        throw_errno(error_number, "sched_setaffinity", names);
}

} // namespace

void enter_surroundings(const worker_surroundings& s) {
    if (s.clean_environment && ::clearenv() != 0)
        throw_errno(errno, "clearenv");
    for (const std::string& variable : s.environment) {
        const auto equals = variable.find('=');
        const std::string name = variable.substr(0, equals);
        const bool done = equals == std::string::npos
                              ? ::unsetenv(name.c_str()) == 0
                              : ::setenv(name.c_str(), variable.c_str() + equals + 1, 1) == 0;
        if (!done)
            throw_errno(errno, "setenv", name);
    }
    if (!s.directory.empty() && ::chdir(s.directory.c_str()) != 0)
        throw_errno(errno, "chdir", s.directory);
    if (!s.cpus.empty())
        run_on_cpus(s.cpus);
}

void set_gate(const worker_surroundings& s, int letter) noexcept { worker_gate = {&s, letter}; }

bool gate_is_closed() noexcept { return worker_gate.surroundings == nullptr; }

block_bounds block_bounds_here() noexcept {
    const worker_surroundings* s = worker_gate.surroundings;
    return s == nullptr ? block_bounds() : block_bounds{s->most_in_blocks, s->kept_in_blocks};
}

bool gate_shuts_out_nothing() noexcept {
    const worker_surroundings* s = worker_gate.surroundings;
    return s == nullptr ||
           (s->open_files == 0 && s->cpu_seconds == 0 && s->memory == 0 && s->filter.empty());
}

void close_gate() {
    const worker_surroundings* s = worker_gate.surroundings;
    if (s == nullptr)
        return;
    if (s->open_files != 0)
        set_limit(RLIMIT_NOFILE, s->open_files, s->open_files, "open files");
    // The soft limit is the one that SIGXCPU comes at.
    if (s->cpu_seconds != 0)
        set_limit(RLIMIT_CPU, s->cpu_seconds, s->cpu_seconds + 1, "seconds of CPU time");
    if (s->memory != 0) {
        // Else it would be each task's failure, over and over.
        if (std::uint64_t used = address_space_in_use(); s->memory <= used)
            throw std::runtime_error("the limit of bytes of memory, " + std::to_string(s->memory) +
                                     ", is less than what a worker begins with, " +
                                     std::to_string(used));
        set_limit(RLIMIT_AS, s->memory, s->memory, "bytes of memory");
    }
    install_filter(s->filter);
    ::close(worker_gate.letter);
    worker_gate = gate();
}

} // namespace weft::detail
