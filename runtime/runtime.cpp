// SPDX-License-Identifier: MIT
#include <weft/runtime/runtime.hpp>

#include <weft/runtime/detail/identity.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/spawn.hpp>

#include <csignal>
#include <functional>
#include <future>
#include <stdexcept>
#include <thread>

namespace weft {

namespace {

loop_options options_for_loop(const runtime_options& o) noexcept {
    loop_options l;
    l.ring_entries = o.ring_entries;
    l.lent_buffer_size = o.lent_buffer_size;
    l.lent_buffers = o.lent_buffers;
    l.kernel = o.kernel;
    l.features = o.features;
    return l;
}

} // namespace

// A loop beyond the first, on its thread.
struct runtime::helper {
    explicit helper(loop& l) : on(l) {
        std::promise<void> ready;
        std::future<void> is_ready = ready.get_future();
        thread = std::thread([this, &ready] {
            try {
                on.open_ring(); // a ring belongs to the thread that made it
            } catch (...) {
                ready.set_exception(std::current_exception());
                return;
            }
            ready.set_value();
            on.run_until(asked_to_end);
            on.drain();
            tell->post(std::move(drained));
            // Others may still send tasks here, which find the root stopped; so turn until all of
            // them have drained.
            on.root().request_stop();
            on.run_until(released);
            on.drain();
            on.close_ring();
        });
        try {
            is_ready.get();
        } catch (...) {
            thread.join();
            throw;
        }
    }
    /// Stops everything on the loop; `then` runs on loop `l` when that is done.
    void ask_to_end(loop& l, std::function<void()> then) {
        on.post([this, &l, f = std::move(then)]() mutable {
            tell = &l;
            drained = std::move(f);
            asked_to_end = true;
        });
    }
    void release() {
        on.post([this] { released = true; });
        thread.join();
    }
    loop& on;
    loop* tell = nullptr; // this and the next three: the loop's thread
    std::function<void()> drained;
    bool asked_to_end = false;
    bool released = false;
    std::thread thread;
};

runtime::runtime(const runtime_options& options) : options_(options) {
    if (options.loops == 0)
        throw std::invalid_argument("a runtime needs one loop at least");
    if (options.ring_entries == 0)
        throw std::invalid_argument("a runtime's rings need one entry at least");
    if (this_loop_or_null() != nullptr)
        throw state_error("a runtime can't be made by a thread whose loop is running");
    for (unsigned i = 0; i < options.loops; ++i)
        loops_.push_back(std::make_unique<loop>(options_for_loop(options)));
    loops_.front()->open_ring();
    owner_ = &detail::this_thread_state;
    try {
        for (unsigned i = 1; i < options.loops; ++i)
            helpers_.push_back(std::make_unique<helper>(*loops_[i]));
    } catch (...) { // no memory or no thread for one of them: end those that run
        end_helpers();
        throw;
    }
}

runtime::~runtime() {
    if (loops_.front()->left_behind()) { // the threads were left behind too
        for (auto& h : helpers_)
            static_cast<void>(h.release()); // NOLINT(bugprone-unused-return-value): has to be left
        return;
    }
    if (!closed_.load())
        end_loops();
}

void runtime::close() {
    if (closed_.load())
        return;
    if (this_loop_or_null() != nullptr)
        throw state_error("a runtime can't be closed by a thread whose loop is running");
    if (owner_ != &detail::this_thread_state)
        throw state_error("a runtime was closed on another thread than the one that made it");
    if (loops_.front()->left_behind())
        throw state_error("a child of a fork can't close the runtime of its parent");
    end_loops();
}

void runtime::end_loops() noexcept {
    closed_.store(true);
    while (entries_.load() != 0) // for the few instructions that a poster still needs
        std::this_thread::yield();
    end_helpers();
    loops_.front()->drain();
}

runtime::entry::entry(runtime& r) : in_(r) {
    in_.entries_.fetch_add(1);
    if (!in_.closed_.load())
        return;
    in_.entries_.fetch_sub(1);
    throw state_error("the runtime was closed and takes nothing more");
}

void runtime::end_helpers() noexcept {
    // The first loop goes on turning until the others have ended, because their tasks may still
    // need it.
    loop& first = *loops_.front();
    std::size_t left = helpers_.size();
    bool all_drained = left == 0;
    for (auto& h : helpers_)
        h->ask_to_end(first, [&] { all_drained = --left == 0; });
    first.run_until(all_drained);
    for (auto& h : helpers_)
        h->release();
    helpers_.clear();
}

void runtime::run_branch(detail::main_branch& b) {
    if (this_loop_or_null() != nullptr)
        throw state_error(
            "run was called by a thread whose loop is running; await the task instead");
    if (closed_.load())
        throw state_error("run was called after the runtime was closed");
    if (owner_ != &detail::this_thread_state)
        throw state_error("run was called on another thread than the one that made the runtime");
    loop& l = *loops_.front();
    if (l.left_behind())
        throw state_error(
            "a child of a fork can't use the runtime of its parent: make another one");
    interrupted_by_.store(0, std::memory_order_relaxed);
    b.flags |= detail::strand::unstarted;
    b.identity = detail::thread_identity(); // which waits for it
    if (!variables_)
        variables_.emplace(copy_context());
    std::optional<signal_set> interrupts;
    if (options_.handle_interrupt)
        interrupts.emplace(SIGINT);
    variables_->run([&] {
        if (interrupts)
            detail::spawn_record(stop_on_interrupt(interrupts), nullptr, l.root(), "interrupts",
                                 std::source_location());
        main_ = &b;
        detail::lend_context_to(b);
        b.enter_tree(l.root());
        l.wake(b);
        l.run_until(b.done);
        main_ = nullptr;
        detail::return_context_from(b);
    });
    b.leave_tree();
    l.drain();
    if (b.child) // a result that exists wins
        return;
    if (int signal = interrupted_by_.load(std::memory_order_relaxed); signal != 0)
        throw interrupted_error(signal);
    throw cancelled_error();
}

task<> runtime::stop_on_interrupt(std::optional<signal_set>& interrupts) {
    int signal = co_await interrupts->next();
    interrupts.reset();
    request_stop(signal);
}

void runtime::request_stop(int signal) noexcept {
    interrupted_by_.store(signal, std::memory_order_relaxed); // the post below publishes it
    if (!stop_.sent.exchange(true, std::memory_order_acq_rel))
        loops_.front()->post(stop_);
}

void runtime::stop_message::arrived(work& w) noexcept {
    auto& self = static_cast<stop_message&>(w);
    self.sent.store(false, std::memory_order_release); // pairs with the exchange in request_stop
    // One that was meant for a former run finds the number taken back.
    if (self.of.main_ != nullptr && self.of.interrupted_by_.load(std::memory_order_relaxed) != 0)
        self.of.main_->request_stop();
}

namespace detail {

const operation_type on_scope::kind{cancel_on, "on another loop"};

on_scope::on_scope(loop& there) noexcept
    : operation(kind), body_(*this), there_(there), start_(arrive, *this), stop_(stop_there, *this),
      back_(back_home, *this) {}

void on_scope::start() noexcept {
    if (owner().context != nullptr) {
        body_.context = owner().context;
        retain_context(body_.context);
    }
    body_.identity = identity_of(owner()); // it is still that task
    there_.post(start_);
}

void on_scope::arrive(work& w) noexcept {
    on_scope& s = static_cast<message&>(w).scope;
    s.body_.start_later(s.there_.root());
}

void on_scope::cancel_on(operation& op) noexcept {
    auto& self = static_cast<on_scope&>(op);
    int running = 0;
    // Sent once, and not at all when the body has ended: then its end is on the way to us.
    if (!self.stop_sent_ &&
        self.state_.compare_exchange_strong(running, 1, std::memory_order_acq_rel)) {
        self.stop_sent_ = true;
        self.there_.post(self.stop_);
    }
}

void on_scope::stop_there(work& w) noexcept {
    on_scope& s = static_cast<message&>(w).scope;
    s.stop_arrived_ = true;
    if (s.ended_)
        s.leave();
    else
        s.body_.request_stop();
}

bool on_scope::body::ended(continuation& c, ending e) noexcept {
    on_scope& s = static_cast<body&>(c).scope;
    s.ended_ = true;
    s.stopped_ = e == ending::stopped;
    s.body_.leave_tree();
    int running = 0;
    // If a stop was sent and isn't here yet, the operation has to stay until it is.
    if (s.state_.compare_exchange_strong(running, 2, std::memory_order_acq_rel) || s.stop_arrived_)
        s.leave();
    return false;
}

void on_scope::leave() noexcept { owner().run_by->post(back_); }

void on_scope::back_home(work& w) noexcept {
    on_scope& s = static_cast<message&>(w).scope;
    if (s.stopped_)
        s.stopped();
    else
        s.complete();
}

} // namespace detail
} // namespace weft
