// SPDX-License-Identifier: MIT
#include "support/audit.hpp"

#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weft::tests {
namespace {

std::vector<std::string>& resident_names() {
    static std::vector<std::string> names;
    return names;
}

bool is_resident(const std::string& name) {
    for (const std::string& pattern : resident_names()) {
        if (pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                                   : name == pattern)
            return true;
    }
    // Threads that the kernel makes for a ring are held by the ring, whose descriptor is looked at.
    return name.starts_with("iou-");
}

/// Calls f(name) for the entries of a directory; `own`, the descriptor used for looking, is told as
/// well.
template <class F>
bool each_entry(const std::string& path, F f) {
    std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), closedir);
    if (!dir)
        return false;
    while (const dirent* entry = readdir(dir.get())) {
        std::string name = entry->d_name;
        if (name != "." && name != "..")
            f(std::move(name), dirfd(dir.get()));
    }
    return true;
}

void must_read(bool done, const char* path) {
    if (!done)
        throw std::system_error(errno, std::generic_category(), path);
}

bool is_number(const std::string& text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

std::string link_target(const std::string& path) {
    char target[512];
    ssize_t n = readlink(path.c_str(), target, sizeof target);
    return n < 0 ? std::string() : std::string(target, static_cast<std::size_t>(n));
}

std::string first_line(const std::string& path) {
    std::string line;
    std::getline(std::ifstream(path), line);
    return line;
}

void look_for_descriptors(holdings& h) {
    must_read(each_entry("/proc/self/fd",
                         [&](const std::string& name, int own) {
                             int number = std::atoi(name.c_str());
                             if (number != own)
                                 h.descriptors[number] = link_target("/proc/self/fd/" + name);
                         }),
              "/proc/self/fd");
}

void look_for_threads(holdings& h) {
    must_read(each_entry("/proc/self/task",
                         [&](const std::string& id, int) {
                             std::string name = first_line("/proc/self/task/" + id + "/comm");
                             // A thread that ended while we looked has no name any more.
                             if (!name.empty() && !is_resident(name))
                                 h.threads[std::atoi(id.c_str())] = name;
                         }),
              "/proc/self/task");
}

void look_for_children(holdings& h) {
    // Asking first saves reading the whole of /proc: nearly always there are none. Reaps nothing.
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD)
        return;
    const std::string self = std::to_string(getpid());
    must_read(each_entry("/proc",
                         [&](const std::string& pid, int) {
                             if (!is_number(pid))
                                 return;
                             // pid (command) state parent ...; a command may hold blanks and
                             // parentheses.
                             std::string stat = first_line("/proc/" + pid + "/stat");
                             std::size_t open = stat.find('(');
                             std::size_t close = stat.rfind(')');
                             if (open == std::string::npos || close == std::string::npos)
                                 return;
                             std::string rest = stat.substr(close + 2);
                             if (rest.substr(2, rest.find(' ', 2) - 2) != self)
                                 return;
                             h.children[std::atoi(pid.c_str())] =
                                 stat.substr(open, close - open + 1) + " in state " +
                                 rest.substr(0, 1);
                         }),
              "/proc");
}

constexpr std::string_view own_name_begins = "weft-test-";

/// Whether it comes from own_shared_name() in another process.
bool is_of_another_test(std::string_view shared_name) {
    return shared_name.starts_with(own_name_begins) &&
           !shared_name.starts_with(own_shared_name(""));
}

/// The inode of a name in /dev/shm; empty if there is none, or it is another user's.
std::string inode_of(const std::string& shared_name) {
    struct stat st{};
    const bool ours =
        lstat(("/dev/shm/" + shared_name).c_str(), &st) == 0 && st.st_uid == geteuid();
    return ours ? std::to_string(st.st_ino) : std::string();
}

void look_for_shared_names(holdings& h) {
    each_entry("/dev/shm", [&](const std::string& name, int) {
        if (std::string inode = inode_of(name); !inode.empty() && !is_of_another_test(name))
            h.shared_names[name] = std::move(inode);
    });
}

/// Whether another process has this name open or mapped: then it is that one's. Tests run side by
/// side.
bool is_used_elsewhere(const std::string& shared_name) {
    const std::string path = "/dev/shm/" + shared_name;
    const std::string self = std::to_string(getpid());
    bool used = false;
    each_entry("/proc", [&](const std::string& pid, int) {
        if (used || pid == self || !is_number(pid))
            return;
        each_entry("/proc/" + pid + "/fd", [&](const std::string& fd, int) {
            used = used || link_target("/proc/" + pid + "/fd/" + fd) == path;
        });
        std::ifstream maps("/proc/" + pid + "/maps");
        for (std::string line; !used && std::getline(maps, line);)
            used = line.ends_with(path);
    });
    return used;
}

std::vector<std::string> differences(const holdings& before, const holdings& now) {
    std::vector<std::string> all;
    for (const auto& [number, target] : now.descriptors) {
        auto old = before.descriptors.find(number);
        if (old == before.descriptors.end())
            all.push_back("descriptor " + std::to_string(number) + " is left: " + target);
        else if (old->second != target)
            all.push_back("descriptor " + std::to_string(number) + " led to " + old->second +
                          " before, and leads to " + target);
    }
    for (const auto& [number, target] : before.descriptors) {
        if (!now.descriptors.contains(number))
            all.push_back("descriptor " + std::to_string(number) + " was closed: " + target);
    }
    for (const auto& [pid, what] : now.children) {
        if (!before.children.contains(pid))
            all.push_back("child " + std::to_string(pid) + " is left: " + what);
    }
    for (const auto& [id, name] : now.threads) {
        if (!before.threads.contains(id))
            all.push_back("thread " + std::to_string(id) + " is left: " + name);
    }
    for (const auto& [name, inode] : now.shared_names) {
        auto old = before.shared_names.find(name);
        // Whoever used it may have removed it while we asked.
        if ((old == before.shared_names.end() || old->second != inode) &&
            !is_used_elsewhere(name) && inode_of(name) == inode)
            all.push_back("/dev/shm/" + name + " is left");
    }
    return all;
}

holdings baseline;

class audit_listener : public Catch::TestEventListenerBase {
public:
    using TestEventListenerBase::TestEventListenerBase;

    void testRunStarting(const Catch::TestRunInfo&) override {
        // The thread sanitizer starts a thread of its own beside the first one of the program.
        std::thread([] {}).join();
    }
    void sectionStarting(const Catch::SectionInfo&) override {
        if (depth_++ == 0)
            baseline = look();
    }
    void sectionEnded(const Catch::SectionStats&) override {
        // At the end of the outermost section the case still counts assertions; testCaseEnded() is
        // too late.
        if (--depth_ != 0)
            return;
        std::vector<std::string> all = left_over(baseline, std::chrono::seconds(2));
        // Of threads, children and names that go by themselves, on a busy machine.
        auto may_go = [](const std::string& thing) { return !thing.starts_with("descriptor"); };
        if (std::any_of(all.begin(), all.end(), may_go))
            all = left_over(baseline, std::chrono::seconds(20));
        std::string report;
        for (const std::string& thing : all)
            report += "\n  " + thing;
        if (!report.empty())
            FAIL_CHECK("audit: the test did not leave things as they were:" << report);
    }

private:
    int depth_ = 0;
};

} // namespace

holdings look() {
    holdings h;
    look_for_descriptors(h);
    look_for_threads(h);
    look_for_children(h);
    look_for_shared_names(h);
    return h;
}

std::vector<std::string> left_over(const holdings& before, std::chrono::milliseconds bound) {
    using namespace std::chrono_literals;
    const auto end = std::chrono::steady_clock::now() + bound;
    // Nothing tells when the kernel is done with a thread or a child, hence this loop.
    for (auto pause = 1ms;; pause = std::min(2 * pause, 50ms)) {
        std::vector<std::string> all = differences(before, look());
        if (all.empty() || std::chrono::steady_clock::now() >= end)
            return all;
        std::this_thread::sleep_for(pause);
    }
}

std::string own_shared_name(std::string_view what) {
    return std::string(own_name_begins) + std::to_string(getpid()) + "-" + std::string(what);
}

void accept_current_state() { baseline = look(); }

resident_thread::resident_thread(std::string_view name) { resident_names().emplace_back(name); }

CATCH_REGISTER_LISTENER(audit_listener)

} // namespace weft::tests
