// SPDX-License-Identifier: MIT
#include <weft/ipc/worker_entry.hpp>

#include <weft/ipc/detail/worker_role.hpp>
#include <weft/runtime/error.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <unistd.h>
#include <vector>

namespace weft::ipc {

namespace {

constexpr std::string_view marker = "--weft-worker=";
constexpr int parent_descriptor = 3; // a pidfd; those of the role follow

constinit const detail::worker_role* roles = nullptr;
constinit bool entry_called = false;
constinit bool entered_as_worker = false;
constinit bool work_is_done = false; // this process has nothing left to do but to return

bool has_ended(int pidfd) noexcept {
    pollfd p{pidfd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

// Whether this process was started as a worker, also if main didn't pass its arguments on.
bool read_whether_started_as_worker() {
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    std::string argument;
    for (int i = 0; i < 2; ++i)
        if (!std::getline(file, argument, '\0'))
            return false;
    return argument.starts_with(marker);
}

bool started_as_worker() {
    static const bool it_was = read_whether_started_as_worker();
    return it_was;
}

int fail(const char* why) noexcept {
    std::fprintf(stderr, "weft: this worker can't start: %s\n", why);
    return 70; // EX_SOFTWARE
}

int run_worker(const char* role_name) {
    const detail::worker_role* role = detail::worker_role::find(role_name);
    if (role == nullptr)
        return fail("its role isn't known");
    std::vector<int> descriptors;
    // What the work starts must not get them.
    for (int fd = parent_descriptor; ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0; ++fd) {
        descriptors.push_back(fd);
        if (role->kind != detail::role_kind::process && descriptors.size() > role->descriptors)
            break;
    }
    if (descriptors.size() <= role->descriptors)
        return fail("it wasn't started by this program");
    if (role->kind != detail::role_kind::worker) {
        if (role->kind == detail::role_kind::helper)
            std::signal(SIGINT, SIG_IGN);
        return role->run(descriptors.front(), std::span(descriptors).subspan(1));
    }
    // The watching thread of the role sees the end of the parent as well, but a stopped process
    // runs no threads. The signal comes when the thread that started us ends, which is why a pool
    // starts workers on its loop's thread only.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (has_ended(parent_descriptor))
        ::_exit(0);
    // An interrupt from the terminal goes to all processes of the program; the parent decides what
    // it means.
    std::signal(SIGINT, SIG_IGN);
    return role->run(descriptors.front(), std::span(descriptors).subspan(1));
}

} // namespace

std::optional<int> worker_entry(int argc, char** argv) {
    entry_called = true;
    if (argc < 2 || !std::string_view(argv[1]).starts_with(marker))
        return std::nullopt;
    entered_as_worker = true;
    int status = run_worker(argv[1] + marker.size());
    work_is_done = true;
    return status;
}

namespace detail {

worker_role::worker_role(const char* n, std::size_t d, function f, role_kind k) noexcept
    : name(n), descriptors(d), run(f), kind(k), next_(std::exchange(roles, this)) {}

const worker_role* worker_role::find(const char* wanted) noexcept {
    const worker_role* r = roles;
    while (r != nullptr && std::strcmp(r->name, wanted) != 0)
        r = r->next_;
    return r;
}

void require_worker_entry(const char* what) {
    if (work_is_done)
        throw state_error(std::string(what) +
                          ": the work of this worker is done, but main() went on as usual: it must "
                          "return the status that worker_entry() gave");
    if (!entered_as_worker && started_as_worker())
        throw state_error(
            std::string(what) +
            ": this process was started as a worker, but main() went on as usual: " + missing_line);
    if (!entry_called)
        throw state_error(
            std::string(what) +
            ": workers are this program started again, and it wouldn't notice: " + missing_line);
}

child start_worker(const worker_role& role, std::span<const int> descriptors,
                   const worker_extras& extras) {
    descriptor self = own_pidfd();
    std::vector<int> passed{self.get()};
    passed.insert(passed.end(), descriptors.begin(), descriptors.end());
    std::string mark(marker);
    mark += role.name;
    const std::array<const char*, 3> arguments{::program_invocation_name, mark.c_str(), nullptr};
    child_options options{.arguments = arguments,
                          .descriptors = passed,
                          .blocks_signals = role.kind == role_kind::guard,
                          .environment = extras.environment,
                          .standard_error = extras.standard_error};
    if (extras.path != nullptr)
        options.path = extras.path;
    return spawn_child(options);
}

} // namespace detail
} // namespace weft::ipc
