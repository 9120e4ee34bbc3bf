// SPDX-License-Identifier: MIT
#include <weft/runtime/sync_wait.hpp>

#include <weft/runtime/error.hpp>

namespace weft::detail {

namespace {
// Posters may still hold a reference when a wait ends; the loop stays until its thread ends and then waits for them.
loop& loop_of_this_thread() {
    thread_local loop l;
    return l;
}
} // namespace

void wait_for_branch(main_branch& b) {
    if (this_loop_or_null() != nullptr)
        throw state_error("sync_wait was called by a thread whose loop is running; use co_await there");
    loop& l = loop_of_this_thread();
    b.name = "sync_wait";
    b.flags |= strand::unstarted;
    b.enter_tree(l.root());
    l.wake(b);
    l.run_until(b.done);
    b.leave_tree();
    if (!b.child)
        throw cancelled_error();
}

} // namespace weft::detail
