// SPDX-License-Identifier: MIT
// Runs a task as a thread of a model: what a loop does, with nothing but a mailbox. So what waits
// in a line of the library is woken, stopped and unwound in the same way as in a program.
//
//     weft::model::threads(
//         [&] {
//             weft::model::home h;
//             bool ended = h.run([&]() -> weft::task<> { co_await q.put(1); }, stop::maybe);
//         },
//         ...
//
// Threads:      a home belongs to the thread that made it; others post to it.
// Cancellation: stop::maybe: a stop comes at any moment at which the task waits, or not at all;
//               stop::surely: it comes, unless the task needn't wait.
// Errors:       what the task throws.
// Cost:         the frames of the task. Source: none.
#pragma once
#include "model/lines.hpp"
#include "model/model.hpp"

#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task.hpp>

namespace weft::model {

enum class stop : std::uint8_t { never, maybe, surely };

class home : weft::detail::runner {
public:
    home() noexcept : runner(post_to, nullptr) { root_.run_by = this; }

    /// Runs the task that `body()` makes, which is kept meanwhile. Gives whether it came to its
    /// end; false: it was stopped and unwound.
    template <class F>
    bool run(F body, stop when = stop::never) {
        return drive(body(), when);
    }
    /// `f()` is called when the task begins to wait, before anybody else can do anything.
    void when_waiting(std::function<void()> f) { waits_ = std::move(f); }

private:
    bool drive(task<> t, stop when) {
        auto& running = weft::detail::this_thread_state.current_runner;
        weft::detail::runner* outer = running;
        running = this;
        weft::detail::main_branch b;
        b.set<void>(std::move(t));
        b.enter_tree(root_);
        wake(b);
        while (!b.done) {
            if (has_ready()) {
                runner::run(pop_ready());
                continue;
            }
            if (waits_)
                waits_();
            if (when == stop::surely || (when == stop::maybe && choose(2) == 1)) {
                when = stop::never;
                yield();
                b.request_stop();
            } else {
                take_mail();
            }
        }
        settle_all();
        b.leave_tree();
        running = outer;
        if (!b.child)
            return false;
        b.result_of<void>().take();
        return true;
    }

    static void post_to(weft::detail::runner& r, weft::detail::work& w) noexcept {
        auto& self = static_cast<home&>(r);
        self.bell_.ring();
        self.mail_.push(w);
    }
    void take_mail() noexcept {
        bell_.wait();
        weft::detail::work& w = mail_.pop();
        if (w.run == nullptr)
            static_cast<weft::detail::strand&>(w).flags |= weft::detail::strand::scheduled;
        push(w);
    }

    weft::detail::strand root_;
    weft::detail::work_queue mail_;
    doorbell bell_;
    std::function<void()> waits_;
};

} // namespace weft::model
