// SPDX-License-Identifier: MIT
#include <weft/executors/cpus.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sched.h>
#include <unistd.h>
#include <vector>

namespace weft {

namespace {

unsigned cpus_of_affinity() {
    // The kernel's mask may be larger than cpu_set_t: grow until it fits.
    for (unsigned cpus = 1024; cpus <= 1u << 20; cpus *= 2) {
        std::vector<unsigned long> mask(cpus / (8 * sizeof(unsigned long)));
        std::size_t size = mask.size() * sizeof(unsigned long);
        auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
        if (::sched_getaffinity(0, size, set) == 0)
            return static_cast<unsigned>(CPU_COUNT_S(size, set));
        if (errno != EINVAL)
            break;
    }
    return cpu_count();
}

std::string first_line(const std::string& path) {
    std::string line;
    std::ifstream file(path);
    std::getline(file, line);
    return line;
}

void lower(unsigned& limit, unsigned to) noexcept {
    if (to != 0 && (limit == 0 || to < limit))
        limit = to;
}

// The tightest quota of this process's group and all groups above it; 0: none.
unsigned cpus_of_cgroups() {
    unsigned limit = 0;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) { // id:controllers:path
        auto first = line.find(':');
        auto second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos)
            continue;
        std::string controllers = line.substr(first + 1, second - first - 1);
        const bool v2 = controllers.empty();
        if (!v2 && ("," + controllers + ",").find(",cpu,") == std::string::npos)
            continue;
        std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
        for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
            if (v2)
                lower(limit, detail::cpus_of_quota(first_line(root + path + "/cpu.max")));
            else
                lower(limit,
                      detail::cpus_of_quota(first_line(root + path + "/cpu.cfs_quota_us") + " " +
                                            first_line(root + path + "/cpu.cfs_period_us")));
            if (path.empty() || path.rfind('/') == std::string::npos)
                break;
        }
    }
    return limit;
}

} // namespace

namespace detail {

unsigned cpus_of_quota(const std::string& line) noexcept {
    char* end = nullptr;
    long quota = std::strtol(line.c_str(), &end, 10); // 0 for "max", -1 for v1's "no limit"
    long period = std::strtol(end, nullptr, 10);
    if (quota <= 0 || period <= 0)
        return 0;
    return static_cast<unsigned>(std::min((quota - 1) / period + 1, 1L << 20));
}

} // namespace detail

unsigned cpu_count() noexcept {
    return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

unsigned usable_cpus() noexcept {
    unsigned cpus = 1;
    try {
        cpus = cpus_of_affinity();
        if (unsigned quota = cpus_of_cgroups(); quota != 0)
            cpus = std::min(cpus, quota);
    } catch (...) { // no memory to find out: what is known so far
        static_cast<void>(cpus);
    }
    return std::max(1u, cpus);
}

} // namespace weft
