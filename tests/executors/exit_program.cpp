// SPDX-License-Identifier: MIT
// A program that returns from main while others still work, for thread_test.cpp and
// default_pool_test.cpp: what it writes says who came to the end.
#include <weft/executors/default_pool.hpp>
#include <weft/executors/thread.hpp>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

void say(const char* line) {
    [[maybe_unused]] auto n = ::write(STDOUT_FILENO, line, std::strlen(line));
}

// Of whoever would be too late if nobody waited.
void works(const char* line) {
    std::this_thread::sleep_for(100ms);
    say(line);
}

} // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "threads") == 0) {
        weft::thread worker({.daemon = false}, works, "worker done\n");
        worker.start();
        weft::thread nested({.daemon = false}, [] {
            std::this_thread::sleep_for(50ms); // main has returned
            weft::thread late({.daemon = false}, works, "late one done\n");
            late.start();
        });
        nested.start();
        weft::start_thread([](std::stop_token stop) {
            while (!stop.stop_requested())
                std::this_thread::sleep_for(1ms);
            say("daemon asked\n");
        });
        weft::start_thread([] {
            for (;;)
                ::pause();
        });
    } else {
        // More than there are threads: most of it hasn't begun when main returns.
        for (int i = 0; i < 80; ++i)
            static_cast<void>(weft::on_thread([] {
                std::this_thread::sleep_for(5ms);
                say(".");
            }));
    }
    return 0;
}
