// SPDX-License-Identifier: MIT
// The side of the process itself: reads the letter, becomes who it says, and calls the function.
#include "parent_watch.hpp"
#include "process_record.hpp"
#include "standard_error.hpp"
#include "tracker.hpp"

#include <weft/ipc/detail/stack_trace.hpp>
#include <weft/ipc/detail/worker_role.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/log.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::ipc::detail {

namespace {

constexpr int letter_failed = 70; // EX_SOFTWARE, as worker_entry's

void write_all_of(int fd, std::span<const std::byte> bytes, const char* what) {
    while (!bytes.empty()) {
        ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            throw_errno(errno, "hand over to a process", what);
    }
}

// The memory in which the letter and the arguments lie.
class letter_pages {
public:
    explicit letter_pages(const descriptor& d) {
        struct stat s{};
        if (::fstat(d.get(), &s) != 0)
            throw_errno(errno, "look at the letter of a process");
        size_ = static_cast<std::size_t>(s.st_size);
        void* at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, d.get(), 0);
        if (at == MAP_FAILED)
            throw_errno(errno, "map the letter of a process");
        data_ = static_cast<const std::byte*>(at);
    }
    letter_pages(const letter_pages&) = delete;
    letter_pages& operator=(const letter_pages&) = delete;
    ~letter_pages() { ::munmap(const_cast<std::byte*>(data_), size_); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

private:
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

// The arguments begin where any type may lie.
constexpr std::size_t round_up(std::size_t n) noexcept { return (n + 63) / 64 * 64; }

secret_bytes read_key(const descriptor& from) {
    std::array<std::byte, longest_key> bytes{};
    std::size_t have = 0;
    while (have != bytes.size()) {
        ssize_t n = ::read(from.get(), bytes.data() + have, bytes.size() - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            throw_errno(errno, "read the key of a process");
        if (n == 0)
            break;
        have += static_cast<std::size_t>(n);
    }
    secret_bytes key(std::span<const std::byte>(bytes).first(have));
    ::explicit_bzero(bytes.data(), bytes.size());
    return key;
}

void tell_error(const std::string& name, const stack_trace& trace) {
    std::string text = "Process " + name + ":\n";
    std::exception_ptr e = std::current_exception();
    for (unsigned level = 0; e && level != most_causes; ++level, e = cause_of(e))
        text.append(level == 0 ? "" : "caused by ").append(describe_error(e).what()).append("\n");
    write_to_stderr(text.append(trace.text()));
}

struct function_call {
    const function_entry& function;
    archive_reader& in;
    archive_writer& out;
    static void run(void* p) {
        auto& c = *static_cast<function_call*>(p);
        c.function.invoke(c.in, c.out, std::stop_token());
    }
};

int call_function(const process_letter& letter, archive_reader& in) {
    stack_trace trace;
    try {
        const function_entry& function = find_function(letter.function, letter.signature);
        archive_writer nothing;
        function_call c{function, in, nothing};
        call_traced(function_call::run, &c, trace);
        return 0;
    } catch (const process_exit& e) {
        if (e.has_text())
            write_to_stderr(std::string(e.what()) + "\n");
        return e.code();
    } catch (...) {
        tell_error(letter.name, trace);
        return 1;
    }
}

int run_process_role(int parent, std::span<const int> descriptors) {
    std::vector<descriptor> passed;
    for (int fd : descriptors.subspan(2))
        passed.emplace_back(fd);
    return live(descriptor(parent), descriptor(descriptors[0]), descriptor(descriptors[1]),
                std::move(passed));
}

const worker_role process_role("process", 2, run_process_role, role_kind::process);

} // namespace

void run_whole(task<> t) { weft::run(std::move(t)); }

descriptor write_letter(const process_record& r, bool thread_lasts, bool has_tracker) {
    family& f = family::instance();
    process_info self = f.self();
    const logger& log = get_logger();
    archive_writer letter;
    ipc::encode(letter,
                process_letter{r.name, r.identity, self.name(), self.pid(), r.daemon, thread_lasts,
                               has_tracker, log.to_stderr(), static_cast<int>(log.level()),
                               r.function.id(), r.function.signature()});
    archive_writer head;
    head.write_count(letter.size());
    head.write(letter.bytes());
    head.align(64);
    descriptor d(::memfd_create("weft process", MFD_CLOEXEC));
    if (!d)
        throw_errno(errno, "memfd_create", "for a process");
    write_all_of(d.get(), head.bytes(), "its letter");
    write_all_of(d.get(), r.arguments.bytes(), "its arguments");
    return d;
}

descriptor write_key(const secret_bytes& key) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw_errno(errno, "pipe", "for the key of a process");
    descriptor in(ends[0]), out(ends[1]);
    write_all_of(out.get(), key.bytes(), "its key"); // less than what a pipe holds
    return in;
}

int live(descriptor parent, descriptor letter, descriptor key, std::vector<descriptor> passed) {
    process_letter about{};
    try {
        letter_pages pages(letter);
        archive_reader head(pages.bytes());
        std::size_t size = head.read_value<std::uint64_t>();
        about = ipc::decode<process_letter>(head.read(size));
        letter.reset();
        descriptor watched = parent.duplicate();
        family::instance().be(about, std::move(parent), read_key(key));
        key.reset();
        logger& log = get_logger(); // a fork's may be the parent's
        log.set_level(log_level{about.log_level});
        log.set_to_stderr(about.log_to_stderr);
        log.set_sink(nullptr);
        end_with_parent(std::move(watched), about.parent_thread_lasts);
        prepare_traces();
        if (about.has_tracker && !passed.empty()) {
            tracker::instance().adopt(std::move(passed.back()));
            passed.pop_back();
        }

        attachments list(std::move(passed));
        archive_reader in(pages.bytes().subspan(round_up(sizeof(std::uint64_t) + size)));
        in.carry(list);
        log.say(log_level::info, "child process calling its function");
        int code = call_function(about, in);
        if (log.wants(log_level::info))
            log.say(log_level::info, "process ending with exit code " + std::to_string(code));
        return code;
    } catch (...) {
        tell_error(about.name, stack_trace());
        return letter_failed;
    }
}

child spawn_process(const process_record& r) {
    descriptor names = tracker::instance().for_child();
    descriptor letter = write_letter(r, on_main_thread(), static_cast<bool>(names));
    descriptor key = write_key(r.key);
    std::vector<int> descriptors{letter.get(), key.get()};
    for (const descriptor& d : r.passed.list())
        descriptors.push_back(d.get());
    if (names)
        descriptors.push_back(names.get());
    worker_extras extras;
    if (!r.executable.empty())
        extras.path = r.executable.c_str();
    return start_worker(process_role, descriptors, extras);
}

} // namespace weft::ipc::detail
