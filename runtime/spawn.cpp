// SPDX-License-Identifier: MIT
#include <weft/runtime/spawn.hpp>

#include <weft/runtime/loop.hpp>
#include <weft/runtime/unhandled.hpp>

namespace weft::detail {

void spawned::end(ending how, std::exception_ptr e) noexcept {
    done = true;
    leave_tree();
    failed = e != nullptr;
    listeners.tell_all(failed);
    if (owner != nullptr) {
        error_fetched = true;
        owner->ended(*owner, how, std::move(e));
    } else if (failed && references == 1 && !error_fetched) { // nobody is left who could ask
        error_fetched = true;
        report_unhandled(name == nullptr ? "a detached task" : name, spawned_at, std::move(e));
    }
    release();
}

void spawned::drop_handle(std::exception_ptr e) noexcept {
    if (e && references == 1) {
        error_fetched = true;
        report_unhandled(name == nullptr ? "a task whose result nobody asked for" : name,
                         spawned_at, std::move(e));
    }
    release();
}

strand& detached_parent() {
    strand& root = this_loop().root();
    if (root.stop_pending())
        throw state_error("the loop is ending and takes no more tasks");
    return root;
}

const operation_type join_op_base::kind{cancel_join, "join"};
const end_listener_type join_op_base::listens{task_ended, who_waits};

join_op_base::join_op_base(spawned& s) noexcept
    : operation(kind), end_listener(listens), record_(s) {}

const strand* join_op_base::who_waits(const end_listener& l) noexcept {
    return &static_cast<const join_op_base&>(l).owner();
}

void join_op_base::enter() noexcept {
    ++record_.references;
    waiting_ = true;
    record_.listeners.push(*this);
}

void join_op_base::task_ended(end_listener& l, bool) noexcept {
    auto& self = static_cast<join_op_base&>(l);
    self.record_.error_fetched = true; // each that waits gets it
    self.complete();
}

void join_op_base::cancel_join(operation& op) noexcept {
    auto& self = static_cast<join_op_base&>(op);
    spawned& record = self.record_;
    record.listeners.remove(self);
    // Not later: an error that comes before this frame is unwound would find someone who seems to
    // ask for it.
    self.waiting_ = false;
    self.stopped();
    record.release();
}

} // namespace weft::detail
