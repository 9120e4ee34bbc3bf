// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/identity.hpp>

#include <atomic>
#include <string_view>
#include <unistd.h>

namespace weft::detail {

namespace {

// Threads take numbers in blocks, so that tasks which lock for the first time meet nowhere.
constexpr identity identities_at_once = identity{1} << 20;
std::atomic<identity> next_block{identities_at_once}; // 0 is nobody

struct numbers {
    identity next = 0;
    identity end = 0;
    identity own = 0;       // of the thread
    identity functions = 0; // of what a loop runs on it that is no task
};
constinit thread_local numbers my_identities;

identity new_identity() noexcept {
    if (my_identities.next == my_identities.end) {
        my_identities.next = next_block.fetch_add(
            identities_at_once, std::memory_order_relaxed); // only to be different
        my_identities.end = my_identities.next + identities_at_once;
    }
    return my_identities.next++;
}

// The strand in whose place another one goes on.
const strand& outermost(const strand& s) noexcept {
    const strand* at = &s;
    while (at->in_place && at->parent != nullptr)
        at = at->parent;
    return *at;
}

} // namespace

identity identity_of_slow(strand* s) noexcept {
    if (s == nullptr) {
        // A posted function isn't the task that the thread waits for meanwhile.
        identity& who = runner::current() == nullptr ? my_identities.own : my_identities.functions;
        if (who == 0)
            who = new_identity();
        return who;
    }
    auto& whole = const_cast<strand&>(outermost(*s));
    if (whole.identity == 0)
        whole.identity = new_identity();
    s->identity = whole.identity;
    return s->identity;
}

std::string describe_caller() {
    runner* r = runner::current();
    if (r == nullptr || r->current_strand == nullptr)
        return (r == nullptr ? "thread " : "a function on the loop of thread ") +
               std::to_string(::gettid());
    const strand& s = outermost(*r->current_strand);
    if (s.name != nullptr)
        return std::string("task ") + s.name;
    if (s.spawned_at.line() == 0)
        return "a task without a name";
    std::string_view file = s.spawned_at.file_name();
    file.remove_prefix(file.rfind('/') + 1); // npos + 1 is 0
    return "the task started at " + std::string(file) + ":" + std::to_string(s.spawned_at.line());
}

} // namespace weft::detail
