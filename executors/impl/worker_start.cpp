// SPDX-License-Identifier: MIT
#include "worker_start.hpp"

#include "pool_worker.hpp"
#include "system_call_filter.hpp"

#include <weft/ipc/codec.hpp>
#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <string_view>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::detail {

namespace {

constexpr int couldnt_start = 78; // EX_CONFIG
constexpr std::size_t longest_failure = 4096;

[[noreturn]] void refuse_option(const std::string& why) {
    throw std::invalid_argument("worker_options: " + why);
}

// --- In the worker -------------------------------------------------------------------------------

std::vector<std::byte> read_whole(int fd) {
    struct stat s{};
    if (::fstat(fd, &s) != 0)
        throw_errno(errno, "look at the letter of a worker");
    std::vector<std::byte> bytes(static_cast<std::size_t>(s.st_size));
    std::size_t have = 0;
    while (have != bytes.size()) {
        ssize_t n = ::pread(fd, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
        if (n > 0)
            have += static_cast<std::size_t>(n);
        else if (n == 0 || errno != EINTR)
            throw_errno(n == 0 ? EIO : errno, "read the letter of a worker");
    }
    return bytes;
}

void leave_word(int letter, const char* text) noexcept {
    struct stat s{};
    if (::fstat(letter, &s) == 0)
        static_cast<void>(::pwrite(letter, text, std::strlen(text), s.st_size) < 0);
}

// The channels, perhaps the standard error, and the letter.
int be_worker(int parent, std::span<const int> descriptors) {
    static worker_surroundings surroundings; // the gate looks at it from further down
    // An interrupt from the terminal goes to all processes of the program; the parent decides what
    // it means.
    std::signal(SIGINT, SIG_IGN);
    const int letter = descriptors.back();
    descriptors = descriptors.first(descriptors.size() - 1);
    bool starting = true;
    try {
        const auto bytes = read_whole(letter);
        ipc::archive_reader in(bytes);
        surroundings = ipc::decode<worker_surroundings>(in);
        if (surroundings.stderr_came_along) {
            ::dup2(descriptors.back(), STDERR_FILENO);
            ::close(descriptors.back());
            descriptors = descriptors.first(descriptors.size() - 1);
        }
        enter_surroundings(surroundings);
        set_gate(surroundings, letter);
        starting = false;
        return pool_worker_role().run(parent, descriptors);
    } catch (const std::exception& e) {
        if (!starting && gate_is_closed())
            throw; // this comes of a task
        leave_word(letter, e.what());
        return couldnt_start;
    }
}

int run_started_worker(int parent, std::span<const int> descriptors) {
    // The watching thread sees the end of the parent as well, but a stopped process runs no
    // threads. The signal comes when the thread that started us ends, which is why a pool starts
    // workers on its loop's thread only.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    pollfd p{parent, POLLIN, 0};
    if (::poll(&p, 1, 0) == 1)
        ::_exit(0);
    return be_worker(parent, descriptors);
}

const ipc::detail::worker_role started_role("pool worker", 1, run_started_worker,
                                            ipc::detail::role_kind::process);
const ipc::detail::worker_role forked_worker_role("forked pool worker", 1, be_worker,
                                                  ipc::detail::role_kind::process);

} // namespace

// --- In the pool ---------------------------------------------------------------------------------

namespace {

std::vector<std::uint32_t> usable_cpu_numbers() {
    std::vector<std::uint32_t> numbers;
    for (unsigned room = 1024; room <= 1u << 20; room *= 2) { // the kernel's mask may be larger
        cpu_set_t* set = CPU_ALLOC(room);
        if (set == nullptr)
            throw std::bad_alloc();
        const std::size_t size = CPU_ALLOC_SIZE(room);
        const bool known = ::sched_getaffinity(0, size, set) == 0;
        const int error_number = errno;
        try {
            for (unsigned c = 0; known && c != room; ++c)
                if (CPU_ISSET_S(c, size, set))
                    numbers.push_back(c);
        } catch (...) {
            CPU_FREE(set);
            throw;
        }
        CPU_FREE(set);
        if (known)
            break;
        if (error_number != EINVAL)
            throw_errno(error_number, "sched_getaffinity");
    }
    return numbers;
}

std::vector<std::vector<std::uint32_t>> cpu_lists_of(const worker_options& o) {
    std::vector<std::vector<std::uint32_t>> lists;
    if (o.one_cpu_each) {
        if (!o.cpu_lists.empty())
            refuse_option("one_cpu_each and cpu_lists contradict each other");
        for (std::uint32_t c : usable_cpu_numbers())
            lists.push_back({c});
    }
    for (std::span<const int> list : o.cpu_lists) {
        if (list.empty())
            refuse_option("a worker that runs on no CPU");
        auto& numbers = lists.emplace_back();
        for (int c : list) {
            if (c < 0 || c >= 1 << 20)
                refuse_option("there is no CPU " + std::to_string(c));
            numbers.push_back(static_cast<std::uint32_t>(c));
        }
    }
    return lists;
}

ipc::start_method method_of(const process_pool_options& o) {
    if (o.start == ipc::start_method::fork && o.max_tasks_per_worker != 0)
        throw std::invalid_argument("process_pool: max_tasks_per_worker makes new workers at any "
                                    "time, and a process with threads can't fork");
    if (o.start != ipc::start_method::standard) {
        if (ipc::name_of(o.start).empty())
            throw std::invalid_argument("process_pool: no start method");
        return o.start;
    }
    return o.max_tasks_per_worker != 0 ? ipc::start_method::spawn : ipc::get_start_method();
}

// What a worker calls for its results: else those would be its end, or fail each time.
bool lets_blocks_be_made(const std::vector<std::uint64_t>& filter) {
    return std::ranges::all_of(std::array{"memfd_create", "fallocate", "fcntl", "fstat",
                                          "newfstatat", "mmap", "munmap", "madvise", "sendmsg"},
                               [&](const char* call) { return lets_through(filter, call); });
}

} // namespace

worker_plan::worker_plan(const process_pool_options& o)
    : method_(method_of(o)), errors_(o.worker.errors), cpu_lists_(cpu_lists_of(o.worker)) {
    const worker_options& w = o.worker;
    if (w.limits.cpu_time < std::chrono::seconds::zero())
        refuse_option("cpu_time is negative");
    common_.memory = w.limits.memory;
    common_.cpu_seconds = static_cast<std::uint64_t>(w.limits.cpu_time.count());
    common_.open_files = w.limits.open_files;
    if (w.directory != nullptr) {
        common_.directory = w.directory;
        if (common_.directory.empty())
            refuse_option("the directory has no name");
    }
    for (const char* variable : w.environment) {
        if (variable == nullptr || *variable == 0 || *variable == '=')
            refuse_option("a variable without a name");
        common_.environment.emplace_back(variable);
    }
    common_.clean_environment = w.clean_environment;
    common_.filter = filter_program(w.system_calls);

    blocks_ = {o.message_memory, o.message_memory / 4};
    // A worker that a filter is needed for has no way to what others are sent.
    if (suspects_workers())
        blocks_.kept = 0;
    if (lets_blocks_be_made(common_.filter)) {
        common_.most_in_blocks = blocks_.most;
        // Where memory or descriptors are counted, those are for tasks.
        const bool limited = common_.memory != 0 || common_.open_files != 0;
        common_.kept_in_blocks = limited ? 0 : blocks_.most / 4;
    }
}

worker_surroundings worker_plan::surroundings(unsigned index) const {
    worker_surroundings s = common_;
    if (!cpu_lists_.empty())
        s.cpus = cpu_lists_[index % cpu_lists_.size()];
    return s;
}

std::optional<std::vector<std::string>> worker_plan::whole_environment() const {
    if (common_.environment.empty() && !common_.clean_environment)
        return std::nullopt;
    std::vector<std::string> all;
    for (char** v = environ; !common_.clean_environment && v != nullptr && *v != nullptr; ++v)
        all.emplace_back(*v);
    for (const std::string& v : common_.environment) {
        const std::string name = v.substr(0, v.find('='));
        std::erase_if(all, [&](const std::string& before) {
            return before.substr(0, before.find('=')) == name;
        });
        if (v.size() != name.size())
            all.push_back(v);
    }
    return all;
}

worker_start::worker_start(const worker_plan& plan, unsigned index,
                           std::vector<descriptor> descriptors, descriptor standard_error)
    : plan_(&plan), letter_(::memfd_create("weft worker", MFD_CLOEXEC)),
      given_(std::move(descriptors)), standard_error_(std::move(standard_error)) {
    if (!letter_)
        throw_errno(errno, "memfd_create", "for a worker");
    worker_surroundings s = plan.surroundings(index);
    if (plan.method() == ipc::start_method::spawn) {
        s.environment.clear(); // it begins with these
        s.clean_environment = false;
    } else {
        s.stderr_came_along = static_cast<bool>(standard_error_);
    }
    ipc::archive_writer out;
    ipc::encode(out, s);
    letter_size_ = out.size();
    std::span<const std::byte> left = out.bytes();
    while (!left.empty()) {
        ssize_t n = ::write(letter_.get(), left.data(), left.size());
        if (n >= 0)
            left = left.subspan(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            throw_errno(errno, "write the letter of a worker");
    }
}

ipc::detail::forked_role worker_start::forked(bool by_server) {
    std::vector<descriptor> all = std::move(given_);
    if (standard_error_)
        all.push_back(std::move(standard_error_));
    all.push_back(letter_.duplicate());
    given_.clear();
    return ipc::detail::forked_role(forked_worker_role, "pool worker", by_server, std::move(all));
}

ipc::detail::forked_role worker_start::elsewhere() { return forked(true); }

ipc::detail::child worker_start::here() {
    if (plan_->method() == ipc::start_method::fork)
        return forked(false).start_here();
    std::vector<int> numbers;
    for (const descriptor& d : given_)
        numbers.push_back(d.get());
    numbers.push_back(letter_.get());
    ipc::detail::worker_extras extras;
    extras.standard_error = standard_error_ ? standard_error_.get() : -1;
    const auto environment = plan_->whole_environment();
    std::vector<const char*> variables;
    if (environment) {
        for (const std::string& v : *environment)
            variables.push_back(v.c_str());
        variables.push_back(nullptr);
        extras.environment = variables.data();
    }
    ipc::detail::child c = ipc::detail::start_worker(started_role, numbers, extras);
    given_.clear();
    standard_error_.reset();
    return c;
}

std::string worker_start::failure() const {
    struct stat s{};
    if (!letter_ || ::fstat(letter_.get(), &s) != 0)
        return {};
    const auto size = static_cast<std::size_t>(s.st_size);
    if (size <= letter_size_)
        return {};
    std::string text(std::min(size - letter_size_, longest_failure), ' ');
    ssize_t n = ::pread(letter_.get(), text.data(), text.size(), static_cast<off_t>(letter_size_));
    text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return text;
}

} // namespace weft::detail
