// SPDX-License-Identifier: MIT
// A function that a thread pool runs for a future: one record with the function, its arguments, the
// result, and what travels with the work.
//
// A cancel doesn't take the record out of the pool, which may be going away in that moment: it
// destroys function and arguments, and the pool finds nothing to do when the record has its turn.
//
// Threads:      made by whoever submits, run by a thread of the pool; see future_record.hpp.
// Cancellation: see future.hpp.
// Errors:       a function that throws cancelled_error ends the future as cancelled.
// Cost:         one record from the recycler; a function that takes a std::stop_token costs what a
//               std::stop_source does. Source: none.
#pragma once
#include <weft/executors/detail/invocation.hpp>
#include <weft/executors/detail/pool_work.hpp>
#include <weft/executors/future.hpp>

#include <functional>
#include <optional>
#include <stop_token>
#include <tuple>

namespace weft::detail {

/// The variables and the deadline of whoever makes it, for a function elsewhere.
class travelling_setting {
public:
    travelling_setting() noexcept;
    travelling_setting(const travelling_setting&) = delete;
    travelling_setting& operator=(const travelling_setting&) = delete;
    ~travelling_setting() { forget(); }

    /// Calls `f(argument)` with them. Once.
    void run(void (*f)(void*), void* argument);
    /// They aren't needed any more.
    void forget() noexcept;

private:
    context_data* context_;
    time_point deadline_;
};

class submitted_base : public pool_work {
public:
    /// `drop`: if it is set when the turn comes, the pool doesn't want to run it any more.
    submitted_base(future_record& of, const std::atomic<bool>* drop, task_priority p,
                   bool blocking) noexcept
        : pool_work(take_turn), of_(of), drop_(drop) {
        droppable = true;
        blocks = blocking;
        priority = p;
    }

    /// Hands a fresh record over to the pool. Throws what post() throws.
    void post_to(thread_pool_state& pool);

protected:
    ~submitted_base() = default;
    travelling_setting setting_;

private:
    /// Writes the result, or throws.
    virtual void call() = 0;
    /// Destroys function and arguments.
    virtual void forget() noexcept = 0;
    static void take_turn(pool_work& w, pool_turn turn) noexcept;
    void run() noexcept;

    future_record& of_;
    const std::atomic<bool>* drop_;
    thread_pool_state* pool_ = nullptr; // looked at in the node's turn only
};

template <class R, class F, class... A>
class submitted final : public future_record_of<R>, public submitted_base {
    static constexpr bool with_token = wants_stop_token<F, A...>;

public:
    template <class G, class... As>
    submitted(const std::atomic<bool>* drop, task_priority p, bool blocking, G&& function,
              As&&... arguments)
        : submitted_base(static_cast<future_record&>(*this), drop, p, blocking),
          call_(std::in_place, std::forward<G>(function), std::forward<As>(arguments)...) {
        if constexpr (with_token) {
            stop_.emplace();
            this->stop = &*stop_;
        }
    }

private:
    struct kept {
        template <class G, class... As>
        explicit kept(G&& g, As&&... as)
            : function(std::forward<G>(g)), arguments(std::forward<As>(as)...) {}
        F function;
        std::tuple<A...> arguments;
    };
    struct none {};

    void call() override {
        auto invoke = [this](A&... arguments) -> R {
            if constexpr (with_token)
                return std::invoke(std::move(call_->function), stop_->get_token(),
                                   std::move(arguments)...);
            else
                return std::invoke(std::move(call_->function), std::move(arguments)...);
        };
        if constexpr (std::is_void_v<R>)
            std::apply(invoke, call_->arguments);
        else
            this->value.set_value(std::apply(invoke, call_->arguments));
    }
    void forget() noexcept override { call_.reset(); }
    // Nobody else comes to the function any more.
    void withdraw() noexcept override {
        call_.reset();
        setting_.forget();
    }
    void ask_to_stop() noexcept override {
        if constexpr (with_token)
            stop_->request_stop();
    }

    std::optional<kept> call_;
    std::conditional_t<with_token, std::optional<std::stop_source>, none> stop_;
};

/// Hands `function(arguments...)`, decayed, to the pool.
template <class F, class... A>
future<thread_result_t<F, A...>> submit_to(thread_pool_state& pool, const std::atomic<bool>* drop,
                                           task_priority p, bool blocking, F&& function,
                                           A&&... arguments) {
    using R = thread_result_t<F, A...>;
    auto* record = new submitted<R, std::decay_t<F>, std::decay_t<A>...>(
        drop, p, blocking, std::forward<F>(function), std::forward<A>(arguments)...);
    auto f = future<R>::of(future_hold::first_of(*record));
    record->post_to(pool);
    return f;
}

} // namespace weft::detail
