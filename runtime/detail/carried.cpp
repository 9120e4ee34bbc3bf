// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/branch.hpp>
#include <weft/runtime/detail/context_data.hpp>
#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/timeout.hpp>

#include <new>
#include <utility>

namespace weft::detail {

// A branch of a scope on a pool: it has its place in the tree of its thread, which is where stops
// come from and where its end is told, while its coroutine runs in a strand of its own on whatever
// thread takes it. Belongs to the branch's thread, but for what `run` and `ended` say.
class carried : public operation, private continuation, public recycled {
public:
    carried(branch& b, const strand& above) noexcept
        : operation(kind), continuation(ended), of_(b), back_(*this) {
        child = b.child;
        b.promise->returns_to = this;
        b.promise->set_number(fork_scope::none); // it belongs to no fork: see run_stolen
        strand_.frame = b.frame;
        strand_.promise = b.promise;
        strand_.stops = &stop_;
        strand_.deadline = deadline_of(above).time_since_epoch().count();
        strand_.context = b.context;
        if (b.context != nullptr)
            retain_context(b.context);
        strand_.name = b.name;
        strand_.spawned_at = b.spawned_at;
        belong_to(b);
        b.leaf = this;
    }

    // On the thread that took it.
    static void run(promise_base& root, fork_runner& here) noexcept {
        auto& c = static_cast<carried&>(*root.returns_to);
        root.in = &c.strand_;
        if (c.stop_.asked.load(std::memory_order_acquire)) { // pairs with the release in cancel()
            std::exchange(c.child, nullptr).destroy();
            c.go_home(ending::stopped);
            return;
        }
        here.begin_strand(c.strand_);
    }

private:
    struct message : work {
        explicit message(carried& c) noexcept : work(arrived), of(c) {}
        carried& of;
    };

    // On the thread where it has ended.
    static bool ended(continuation& c, ending e) noexcept {
        auto& self = static_cast<carried&>(c);
        auto& here = static_cast<fork_runner&>(*self.strand_.run_by);
        if (is_traced())
            trace_end(self.strand_);
        here.leave_here(self.strand_);
        here.current_strand = nullptr;
        self.go_home(e);
        return false;
    }
    void go_home(ending e) noexcept {
        how_ = e;
        runner& home = *owner().run_by;
        if (&home == runner::current())
            home.push(back_);
        else
            home.post(back_);
    }
    static void arrived(work& w) noexcept {
        carried& self = static_cast<message&>(w).of;
        branch& b = self.of_;
        const ending how = self.how_;
        delete &self;
        b.leaf = nullptr;
        b.flags &= static_cast<std::uint8_t>(~strand::cancelled);
        if (how == ending::stopped)
            b.child = nullptr;
        b.run_by->current_strand = &b;
        b.on_end(b, how);
    }
    static void cancel(operation& op) noexcept {
        auto& self = static_cast<carried&>(op);
        self.stop_.asked.store(true, std::memory_order_release); // pairs with stop_point::reached
        static_cast<fork_runner&>(*self.owner().run_by).tell_of_stop();
    }
    static constexpr operation_type kind{cancel, "a thread of the pool"};

    branch& of_;
    message back_;
    stop_point stop_;
    fork_strand strand_;
    ending how_ = ending::finished;
};

void run_carried(promise_base& root, fork_runner& here) noexcept { carried::run(root, here); }

void start_anywhere(branch& b, strand& above) noexcept {
    auto& here = static_cast<fork_runner&>(*above.run_by);
    b.enter_tree(above);
    copy_context_to(b);
    carried* c = nullptr;
    // A stop means that it never runs. Without memory it runs here.
    if (!b.stop_pending() && here.deque.reserve(1)) {
        try {
            c = new carried(b, above);
        } catch (const std::bad_alloc&) {
            c = nullptr;
        }
    }
    b.flags |= strand::unstarted; // or, as the tree sees it, elsewhere
    if (c == nullptr) {
        b.run_by->wake(b);
        return;
    }
    here.share(*b.promise);
}

} // namespace weft::detail
