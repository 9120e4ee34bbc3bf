// SPDX-License-Identifier: MIT
// The start method fork: this process forks, and the child becomes what it would have become as a
// program started anew.
#include "fork_server.hpp"
#include "process_record.hpp"
#include "tracker.hpp"

#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace weft::ipc::detail {

namespace {

// The ring's own threads run nothing of the program.
bool belongs_to_kernel(const char* thread) {
    std::ifstream file(std::string("/proc/self/task/") + thread + "/comm");
    std::string name;
    return std::getline(file, name) && name.starts_with("iou-");
}

unsigned threads_of_this_process() {
    DIR* tasks = ::opendir("/proc/self/task");
    if (tasks == nullptr)
        throw_errno(errno, "count the threads", "/proc/self/task");
    unsigned n = 0;
    while (const dirent* e = ::readdir(tasks))
        n += e->d_name[0] == '.' || belongs_to_kernel(e->d_name) ? 0 : 1;
    ::closedir(tasks);
    return n;
}

// What the parent has open isn't the child's. The numbers stay taken: objects that a fork has
// copied will close them, and mustn't close what was opened in their place.
void hide_all_but(const std::vector<int>& kept, int null) {
    DIR* all = ::opendir("/proc/self/fd");
    if (all == nullptr)
        throw_errno(errno, "list the descriptors", "/proc/self/fd");
    while (const dirent* e = ::readdir(all)) {
        const int fd = std::atoi(e->d_name); // 0 for . and ..
        if (fd > STDERR_FILENO && fd != ::dirfd(all) && fd != null &&
            !std::binary_search(kept.begin(), kept.end(), fd))
            ::dup3(null, fd, O_CLOEXEC);
    }
    ::closedir(all);
}

// As in a program that was started anew.
void forget_signals() noexcept {
    for (int s = 1; s < NSIG; ++s)
        std::signal(s, SIG_DFL); // EINVAL for those that can't be, and the C library's own
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Where the parent had closed a standard stream, something else may have its number.
void clear_standard_streams(descriptor& d) {
    if (!d || d.get() > STDERR_FILENO)
        return;
    descriptor higher(::fcntl(d.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!higher)
        throw_errno(errno, "fcntl F_DUPFD_CLOEXEC", "in a process that was forked");
    d = std::move(higher);
}

int be_child(process_record& r, descriptor parent, descriptor letter, descriptor key,
             descriptor names) {
    std::vector<descriptor> passed = r.passed.release();
    descriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    for (descriptor* d : {&parent, &letter, &key, &names, &null})
        clear_standard_streams(*d);
    for (descriptor& d : passed)
        clear_standard_streams(d);
    std::vector<int> kept{parent.get(), letter.get(), key.get(), names.get()};
    for (const descriptor& d : passed)
        kept.push_back(d.get());
    std::sort(kept.begin(), kept.end());
    hide_all_but(kept, null.get());
    ::dup2(null.get(), STDIN_FILENO);
    null.reset();
    forget_signals();
    if (names)
        passed.push_back(std::move(names));
    int code = live(std::move(parent), std::move(letter), std::move(key), std::move(passed));
    // What the parent has registered for its own end isn't the child's business.
    family::instance().end();
    std::fflush(nullptr);
    return code;
}

} // namespace

child fork_process(process_record& r) {
    if (threads_of_this_process() != 1)
        throw state_error("a process with several threads can't start another one by fork: a lock "
                          "that one of them held would stay locked");
    descriptor parent = own_pidfd();
    descriptor names = tracker::instance().for_child();
    descriptor letter = write_letter(r, on_main_thread(), static_cast<bool>(names));
    descriptor key = write_key(r.key);
    std::fflush(nullptr); // or it would come out twice
    sigset_t all, before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = ::fork();
    if (pid == 0) {
        int code = 0;
        try {
            code =
                be_child(r, std::move(parent), std::move(letter), std::move(key), std::move(names));
        } catch (...) { // no memory, or no /proc
            code = 70;  // EX_SOFTWARE
        }
        ::_exit(code);
    }
    const int error_number = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0)
        throw_errno(error_number, "fork");
    return adopt_child(pid, "fork");
}

} // namespace weft::ipc::detail
