// SPDX-License-Identifier: MIT
#include <weft/runtime/spawn.hpp>

#include <weft/runtime/loop.hpp>
#include <weft/runtime/unhandled.hpp>

namespace weft::detail {

void spawned::end(ending how, std::exception_ptr e) noexcept {
    done = true;
    leave_tree();
    bool failed = e != nullptr;
    if (joiners != nullptr)
        error_fetched = true; // each of them gets it
    for (join_op_base* j = std::exchange(joiners, nullptr); j != nullptr;) {
        join_op_base* after = j->next; // its operation may be gone as soon as it is woken
        j->complete();
        j = after;
    }
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

join_op_base::join_op_base(spawned& s) noexcept : operation(kind), record_(s) {}

void join_op_base::enter() noexcept {
    waiting_ = true;
    ++record_.references;
    // At the end of the list: first come, first served.
    join_op_base** link = &record_.joiners;
    while (*link != nullptr)
        link = &(*link)->next;
    *link = this;
}

void join_op_base::cancel_join(operation& op) noexcept {
    auto& self = static_cast<join_op_base&>(op);
    join_op_base** link = &self.record_.joiners;
    while (*link != &self)
        link = &(*link)->next;
    *link = self.next;
    self.stopped();
}

} // namespace weft::detail
