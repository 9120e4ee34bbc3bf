// SPDX-License-Identifier: MIT
#include "oom_watch.hpp"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>
#include <utility>

namespace weft::detail {

namespace {
std::string& other_counter_file() {
    static std::string file;
    return file;
}
} // namespace

void set_oom_counter_file(std::string file) { other_counter_file() = std::move(file); }

std::string oom_counter_file() {
    if (const std::string& other = other_counter_file(); !other.empty())
        return other;
    std::ifstream groups("/proc/self/cgroup");
    std::string v1;
    for (std::string line; std::getline(groups, line);) { // id:controllers:path
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos)
            continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        std::string file = "/sys/fs/cgroup" + path + "/memory.events";
        if (controllers.empty() && ::access(file.c_str(), R_OK) == 0)
            return file;
        file = "/sys/fs/cgroup/memory" + path + "/memory.oom_control";
        if (controllers == "memory" && ::access(file.c_str(), R_OK) == 0)
            v1 = file;
    }
    if (!v1.empty())
        return v1;
    return ::access("/proc/vmstat", R_OK) == 0 ? "/proc/vmstat" : "";
}

oom_watch::oom_watch() : file_(other_counter_file()) {}

oom_watch::oom_watch(std::string file) : file_(std::move(file)), begun_(true) { seen_ = count(); }

void oom_watch::begin() noexcept {
    if (!std::exchange(begun_, true) && file_.empty()) {
        try {
            file_ = oom_counter_file();
        } catch (...) { // no memory: there is no counter
            file_.clear();
        }
    }
    seen_ = count();
}

bool oom_watch::explains_kill() noexcept {
    if (!begun_ || count() <= seen_)
        return false;
    ++seen_;
    return true;
}

std::uint64_t oom_watch::count() const noexcept {
    std::uint64_t n = 0;
    std::FILE* f = file_.empty() ? nullptr : std::fopen(file_.c_str(), "re");
    if (f == nullptr)
        return 0;
    char line[256];
    while (std::fgets(line, sizeof line, f) != nullptr)
        if (std::strncmp(line, "oom_kill ", 9) == 0 && std::sscanf(line + 9, "%" SCNu64, &n) == 1)
            break;
    std::fclose(f);
    return n;
}

} // namespace weft::detail
