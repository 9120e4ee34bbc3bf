// SPDX-License-Identifier: MIT
// Waits for the first of several operations: what comes out of a queue, an event, a lock, a socket.
// Exactly one of them happens, as far as that is in weft's hands.
//
//     weft::task<> serve(weft::queue<std::string>& requests, weft::event& closing) {
//         while (true) {
//             auto first = co_await weft::select(closing.wait(), requests.get());
//             if (first.index() == 0)
//                 break;
//             fmt::print("{}\n", first.value<1>());
//         }
//     }
//
// Operations of weft's own primitives that wait in line (put, get, join, lock, acquire, wait,
// scoped; not those with a deadline: that is what with_timeout is for) are decided together: one is
// done, the others leave their lines without a trace. No item is taken that isn't given, no lock is
// held that nobody knows of. If several could be done at once, the first of them in the order of
// the arguments is.
//
// Anything else that can be awaited (I/O, tasks, timers) is started only if none of those could be
// done at once, then runs beside them, and is stopped and awaited when it has lost. The kernel may
// have ended it in that moment: then it has a result all the same, which is in results(), so that
// nothing is lost.
//
// Threads:      the task's loop; the primitives may be used from any thread meanwhile.
// Cancellation: a stop leaves all lines. If one of the operations has been given something when the
//               stop comes, select goes on with that.
// Errors:       an error of an operation counts as its end: value<I>() throws it (queue_shut_down
//               for one). std::bad_alloc if there is no memory to line up; then nothing was done.
// Cost:         of operations in lines alone: no allocation, what each of them costs, and one
//               compare-and-swap. With anything else: a frame for each of those, and two more.
// Source:       Go's select statement and its one flag for all cases; first come, first served
//               instead of random.
#pragma once
#include <weft/runtime/detail/wait_list.hpp>
#include <weft/runtime/when_any.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weft {

namespace detail {

/// What waits in a line, and can take part in a choice.
template <class A>
concept selectable = std::derived_from<A, waiter> && requires { requires A::selectable; };

/// What several operations of one task have in common, apart from their types.
class select_scope : public operation {
protected:
    explicit select_scope(const operation_type& t) noexcept : operation(t) {}
    select_scope(select_scope&& other) noexcept : operation(std::move(other)) {}
    ~select_scope() = default;

    choice choice_;
};

template <class... Ops>
class [[nodiscard]] select_op : public select_scope {
public:
    using value_type = first_of<task_result_t<Ops>...>;

    explicit select_op(Ops... ops) noexcept((std::is_nothrow_move_constructible_v<Ops> && ...))
        : select_scope(kind), operations_(std::move(ops)...) {}

    [[nodiscard]] bool await_ready() { return any_ready(indices()); }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) {
        return !begin(h, where) || lines_up(indices());
    }
    value_type await_resume() { return outcome(indices()); }

private:
    using indices = std::index_sequence_for<Ops...>;
    static constexpr std::size_t nobody = sizeof...(Ops);

    template <std::size_t I>
    [[nodiscard]] auto& at() noexcept {
        return std::get<I>(operations_);
    }

    template <std::size_t... I>
    bool any_ready(std::index_sequence<I...>) {
        return ((at<I>().await_ready() && (winner_ = I, true)) || ...);
    }

    template <std::size_t... I>
    bool lines_up(std::index_sequence<I...>) {
        lined_up_ = true;
        (at<I>().take_part(owner(), choice_), ...);
        if ((still_waits(at<I>()) && ...))
            return true;
        owner().leaf = nullptr; // it didn't come to waiting: the strand waits for nothing
        return false;
    }
    /// Lines an operation up, unless one that stands in line already has been given something by
    /// now. False: it is done.
    template <class Op>
    bool still_waits(Op& op) {
        if (choice_.winner() != nullptr)
            return true;
        try {
            return op.line_up() || !op.claim();
        } catch (...) {
            // Somebody else may have given something to another one, and is about to wake it.
            if (!op.claim())
                return true;
            leave_all(indices());
            owner().leaf = nullptr;
            throw;
        }
    }

    /// Not the one that was given something: who gave it may have ended the primitive since.
    template <std::size_t... I>
    void leave_all(std::index_sequence<I...>) noexcept {
        ((is_winner(at<I>()) ? void() : void(at<I>().leave())), ...);
    }
    static void cancel_all(operation& op) noexcept {
        auto& self = static_cast<select_op&>(op);
        if (!self.choice_.claim(&self))
            return; // late: one of them has been given something
        self.leave_all(indices());
        self.stopped();
    }

    template <std::size_t... I>
    value_type outcome(std::index_sequence<I...> all) {
        if (lined_up_) {
            leave_all(all);
            ((is_winner(at<I>()) ? void(winner_ = I) : void()), ...);
        }
        return value_type(winner_, std::tuple<result<task_result_t<Ops>>...>(result_at<I>()...));
    }
    [[nodiscard]] bool is_winner(const waiter& w) const noexcept { return choice_.winner() == &w; }
    template <std::size_t I>
    auto result_at() {
        auto& op = at<I>();
        using value = decltype(op.await_resume());
        if (I != winner_)
            return result<value>::of_stop();
        try {
            if constexpr (std::is_void_v<value>) {
                op.await_resume();
                return result<value>::of_value();
            } else {
                return result<value>::of_value(op.await_resume());
            }
        } catch (...) {
            return result<value>::of_error(std::current_exception());
        }
    }

    static constexpr operation_type kind{cancel_all, "select"};

    std::tuple<Ops...> operations_;
    std::size_t winner_ = nobody;
    bool lined_up_ = false;
};

/// Which of the arguments are, or aren't, decided together.
template <bool Together, class... As>
struct select_part {
    static constexpr std::size_t size = ((selectable<As> == Together ? 1 : 0) + ... + 0);
    static consteval std::array<std::size_t, size> find() {
        std::array<std::size_t, size> found{};
        std::size_t next = 0;
        std::size_t i = 0;
        ((selectable<As> == Together ? void(found[next++] = i++) : void(i++)), ...);
        return found;
    }
    static constexpr std::array<std::size_t, size> at = find();
    using indices = std::make_index_sequence<size>;
};

/// What stands in lines is one branch of a race, and everything else a branch each.
template <class... As>
class select_race {
    using lines = select_part<true, As...>;
    using others = select_part<false, As...>;
    using arguments = std::tuple<As...>;
    using value_type = first_of<task_result_t<As>...>;

public:
    static task<value_type> run(arguments as) {
        return run(std::move(as), typename lines::indices(), typename others::indices());
    }

private:
    template <std::size_t... L, std::size_t... O>
    static task<value_type> run(arguments as, std::index_sequence<L...>,
                                std::index_sequence<O...>) {
        using together = select_op<std::tuple_element_t<lines::at[L], arguments>...>;
        auto race = when_any(together(std::get<lines::at[L]>(std::move(as))...),
                             std::get<others::at[O]>(std::move(as))...);
        auto first = co_await std::move(race);
        co_return collect(first, std::index_sequence_for<As...>());
    }

    template <class First, std::size_t... I>
    static value_type collect(First& first, std::index_sequence<I...>) {
        auto& in_lines = std::get<0>(first.results());
        std::size_t winner = first.index() == 0 ? lines::at[in_lines.value().index()]
                                                : others::at[first.index() - 1];
        return value_type(winner,
                          std::tuple<result<task_result_t<As>>...>(take<I>(first, in_lines)...));
    }
    template <std::size_t I, class First, class Lines>
    static auto take(First& first, Lines& in_lines) {
        using taken = result<task_result_t<std::tuple_element_t<I, arguments>>>;
        if constexpr (selectable<std::tuple_element_t<I, arguments>>)
            return in_lines.has_value()
                       ? std::move(std::get<place<I>(lines::at)>(in_lines.value().results()))
                       : taken::of_stop();
        else
            return taken(std::move(std::get<1 + place<I>(others::at)>(first.results())));
    }
    template <std::size_t I, std::size_t N>
    static consteval std::size_t place(const std::array<std::size_t, N>& part) {
        return static_cast<std::size_t>(std::find(part.begin(), part.end(), I) - part.begin());
    }
};

} // namespace detail

/// Does the first of them that can be done, as described above. Gives a first_of: its index(), its
/// value<I>(), and the results() of all.
template <awaitable... As>
    requires(sizeof...(As) > 0)
[[nodiscard]] auto select(As... as) {
    if constexpr ((detail::selectable<As> && ...))
        return detail::select_op<As...>(std::move(as)...);
    else if constexpr ((!detail::selectable<As> && ...))
        return weft::when_any(std::move(as)...);
    else
        return detail::select_race<As...>::run(std::tuple<As...>(std::move(as)...));
}

} // namespace weft
