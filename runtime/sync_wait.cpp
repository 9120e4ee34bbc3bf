// SPDX-License-Identifier: MIT
#include <weft/runtime/sync_wait.hpp>

#include <weft/runtime/detail/identity.hpp>
#include <weft/runtime/error.hpp>

#include <optional>

namespace weft::detail {

namespace {
// Lives as long as its thread, because those who woke it may still be looking at it when a wait
// ends.
struct thread_loop {
    thread_loop() = default;
    thread_loop(const thread_loop&) = delete;
    thread_loop& operator=(const thread_loop&) = delete;
    ~thread_loop() { its.drain(); } // detached tasks end with the thread
    loop its;
};
loop& loop_of_this_thread() {
    thread_local std::optional<thread_loop> l;
    if (!l || l->its.left_behind()) // the first wait of the thread, or the first after a fork
        l.emplace();
    return l->its;
}
} // namespace

void wait_for_branch(main_branch& b) {
    if (this_loop_or_null() != nullptr)
        throw state_error(
            "sync_wait was called by a thread whose loop is running; use co_await there");
    loop& l = loop_of_this_thread();
    b.name = "sync_wait";
    b.flags |= strand::unstarted;
    b.identity = thread_identity();
    lend_context_to(b);
    b.enter_tree(l.root());
    l.wake(b);
    l.run_until(b.done);
    return_context_from(b);
    b.leave_tree();
    if (!b.child)
        throw cancelled_error();
}

} // namespace weft::detail
