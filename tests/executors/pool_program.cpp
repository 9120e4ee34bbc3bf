// SPDX-License-Identifier: MIT
// A program with a process pool, for tests that need one to kill or to get wrong. Its first
// argument says what it does: what main() should begin with stands there, or doesn't. It writes to
// descriptor 3 what it has to say, and a byte to the file named by WEFT_TEST_STARTS each time that
// it is started.
#include <weft/executors/process_pool.hpp>
#include <weft/ipc/shared_memory.hpp>
#include <weft/ipc/start_context.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace {

using namespace weft;
using namespace std::chrono_literals;

void say(const std::string& text) {
    if (::write(3, text.data(), text.size()) < 0)
        std::_Exit(9);
}

void note_start() {
    const char* path = std::getenv("WEFT_TEST_STARTS");
    int fd = path == nullptr ? -1 : ::open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0 && ::write(fd, "x", 1) == 1)
        ::close(fd);
}

void compute_for_ever() {
    while (true)
        asm volatile("");
}
void ignore_everything() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    compute_for_ever();
}
void stop_itself() {
    ::raise(SIGSTOP);
    compute_for_ever();
}

unsigned running(const process_pool& pool) {
    unsigned n = 0;
    for (const auto& w : pool.statistics().workers)
        if (w.is == process_pool_statistics::state::running)
            ++n;
    return n;
}

// Workers in every state that a worker can be in when its parent is killed.
task<> leave_orphans() {
    const char* method = std::getenv("WEFT_TEST_METHOD");
    // A name, too, which mustn't be left either.
    auto block = ipc::shared_memory::create(4096, std::getenv("WEFT_TEST_NAME"), {.track = true});
    process_pool pool({.workers = 4, .start = ipc::start_method_named(method)});
    auto a = spawn(pool.call(fn<&compute_for_ever>));
    auto b = spawn(pool.call(fn<&ignore_everything>));
    auto c = spawn(pool.call(fn<&stop_itself>));
    while (running(pool) != 3 || pool.statistics().workers.size() != 4)
        co_await sleep_for(1ms);
    std::string pids;
    for (const auto& w : pool.statistics().workers)
        pids += std::to_string(w.pid) + " ";
    say(pids + "\n");
    co_await sleep_for(1h);
}

// What a program that lacks the line would do. Only where the workers are silent is their deadline
// waited for; else it is longer than any machine needs to come back from main.
task<> use_pool(duration start_deadline) {
    process_pool pool({.workers = 3, .start_deadline = start_deadline});
    co_await pool.call(fn<&compute_for_ever>);
}

} // namespace

int main(int argc, char** argv) {
    note_start();
    std::string what = argc > 1 ? argv[1] : "";
    const bool is_worker = what.starts_with("--weft-worker");
    if (const char* mode = std::getenv("WEFT_TEST_MODE"))
        what = mode;
    if (what == "orphans") {
        if (auto status = weft::ipc::worker_entry(argc, argv))
            return *status;
        run(leave_orphans());
        return 0;
    }
    if (what != "without") {
        // Called, but without the arguments: a worker doesn't notice that it is one.
        if (auto status = weft::ipc::worker_entry(1, argv))
            return *status;
        if (what == "silent" && is_worker)
            ::pause();
    }
    try {
        run(use_pool(what == "silent" ? duration(500ms) : duration(1h)));
    } catch (const std::exception& e) {
        if (is_worker)
            return 3;
        say(std::string(e.what()) + "\n");
    }
    return 0;
}
