// SPDX-License-Identifier: MIT
#include <weft/sync/lock_cycles.hpp>

#include <weft/sync/detail/held_line.hpp>

#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>

namespace weft {

namespace detail {

std::atomic<bool> lock_watch_is_on{false};

namespace {

struct wait_note {
    const held_line* lock;
    std::string text; // "task main waits for a mutex at server.cpp:12"
};

struct all_notes {
    std::mutex mutex;
    std::unordered_map<identity, wait_note> by_waiter;
};

all_notes& notes() {
    static auto* all = new all_notes; // for ever: threads may wait while the program ends
    return *all;
}

std::string describe_wait(const char* what, const std::source_location& where) {
    std::string_view file = where.file_name();
    file.remove_prefix(file.rfind('/') + 1); // npos + 1 is 0
    return describe_caller() + " waits for a " + what + " at " + std::string(file) + ":" +
           std::to_string(where.line());
}

} // namespace

identity watch_wait(const held_line& lock, const char* what, const std::source_location& where) {
    identity me = current_identity();
    wait_note mine{&lock, describe_wait(what, where)};
    all_notes& all = notes();
    std::lock_guard guard(all.mutex);
    std::string circle = mine.text;
    const held_line* next = &lock;
    // Whoever is in a circle waits, and so holds its lock for as long as we look. No circle has
    // more members than there are notes.
    for (std::size_t n = 0; n <= all.by_waiter.size(); ++n) {
        identity holder = next->holder();
        if (holder == me)
            throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                                    "they wait for each other in a circle: " + circle);
        auto found = all.by_waiter.find(holder);
        if (found == all.by_waiter.end())
            break; // it goes on, and will unlock some day
        circle += ", which is held: " + found->second.text;
        next = found->second.lock;
    }
    all.by_waiter.insert_or_assign(me, std::move(mine));
    return me;
}

void unwatch_wait(identity who) noexcept {
    all_notes& all = notes();
    std::lock_guard guard(all.mutex);
    all.by_waiter.erase(who);
}

} // namespace detail

bool detect_lock_cycles(bool on) noexcept {
    return detail::lock_watch_is_on.exchange(on, std::memory_order_relaxed);
}

} // namespace weft
