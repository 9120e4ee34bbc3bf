// SPDX-License-Identifier: MIT
// Applies a function to sequences, on an executor: the results come in the order of the input, the
// calls run side by side.
//
//     weft::task<long> total(weft::thread_pool& pool, std::vector<std::string> files) {
//         auto size = [](const std::string& name) {
//             std::ifstream f(name, std::ios::ate);       // may block: this isn't the loop
//             return static_cast<long>(f.tellg());
//         };
//         auto sizes = weft::map(pool, {.look_ahead = 16}, size, std::move(files));
//         long sum = 0;
//         while (auto n = co_await sizes.next())
//             sum += *n;
//         co_return sum;
//     }
//
// map_unordered gives the results as they are ready. A process pool, too, is an executor: there the
// function is one without state, and a piece of several items is one message each way.
//
// Of several sequences the function gets an item each, until the shortest has ended. Input is taken
// as it is needed, by whoever calls map and then next(), so it may be endless. A function that
// gives nothing makes a sequence of std::monostate.
//
// Threads:      the executor's for the calls; input and results belong to the awaiting task.
//               Precondition: the executor, and what a view among the sequences refers to, outlive
//               the generator.
// Cancellation: when the sequence ends early (it is destroyed, a call fails, the deadline comes,
//               next() is stopped), what has not begun is cancelled, and what runs is asked to
//               stop: by its std::stop_token if it takes one, and between the calls of a piece.
// Errors:       what a call throws comes out of next() when its turn comes, and ends the sequence;
//               so does what the input throws. timeout_error at the deadline. state_error,
//               broken_executor: from map if the executor takes nothing, from next() later.
//               std::invalid_argument for no look-ahead, or empty pieces.
// Cost:         for each piece a future and a vector of its results.
// Source:       Executor.map, with its buffersize.
#pragma once
#include <weft/executors/detail/invocation.hpp>
#include <weft/executors/executor.hpp>
#include <weft/executors/wait.hpp>
#include <weft/runtime/async_generator.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <ranges>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace weft {

struct map_options {
    /// Two pieces for each call that the executor can run at once.
    static constexpr std::size_t automatic = ~std::size_t{0};

    /// For the whole sequence.
    time_point deadline = never;
    /// How many items make a piece, which is run as one.
    std::size_t chunk = 1;
    /// How many pieces at most are with the executor while their results weren't asked for.
    std::size_t look_ahead = automatic;
};

namespace detail {

/// Throws if they make no sense. Gives the look-ahead.
std::size_t checked_look_ahead(const map_options& o, std::size_t at_once);

template <class F, class... V>
using mapped_result_t = typename thread_result<F&, V...>::type;
template <class T>
using mapped_t = std::conditional_t<std::is_void_v<T>, std::monostate, std::remove_cvref_t<T>>;

// What a piece gave, and what ended it early.
template <class T>
class mapped_piece {
public:
    struct value {
        template <class U>
        explicit value(std::in_place_t, U&& u) : it(std::forward<U>(u)) {}
        T it; // in a struct, because a vector of bool has none
    };
    mapped_piece() noexcept = default;
    mapped_piece(mapped_piece&&) noexcept = default; // and no copies, whatever T has
    mapped_piece& operator=(mapped_piece&&) noexcept = default;
    ~mapped_piece() = default;
    std::vector<value> values;
    std::exception_ptr error;
};

template <class F, class... V>
class mapped_call {
    using result = mapped_result_t<F, V...>;

public:
    using piece = mapped_piece<mapped_t<result>>;
    using items = std::vector<std::tuple<V...>>;

    // What is stateless stays so, and can be sent to another process.
    mapped_call()
        requires std::default_initializable<F>
    = default;
    explicit mapped_call(const F& f) : function_(f) {}

    piece operator()(std::stop_token asked, items all) {
        piece p;
        p.values.reserve(all.size());
        try {
            for (std::tuple<V...>& item : all) {
                if (asked.stop_requested() && &item != all.data())
                    throw cancelled_error();
                auto call = [&](V&... v) -> result {
                    if constexpr (wants_stop_token<F&, V...>)
                        return std::invoke(function_, asked, std::move(v)...);
                    else
                        return std::invoke(function_, std::move(v)...);
                };
                if constexpr (std::is_void_v<result>) {
                    std::apply(call, item);
                    p.values.emplace_back(std::in_place, std::monostate());
                } else {
                    p.values.emplace_back(std::in_place, std::apply(call, item));
                }
            }
        } catch (const cancelled_error&) {
            throw;
        } catch (...) {
            p.error = std::current_exception();
        }
        return p;
    }

private:
    [[no_unique_address]] F function_;
};

// Input, and the pieces that are with the executor, in order.
template <class E, class F, class... V>
class map_source {
    using call = mapped_call<F, std::ranges::range_value_t<V>...>;

public:
    using piece = typename call::piece;

    map_source(E& ex, const map_options& o, F f, V... views)
        : executor_(ex), function_(std::move(f)), views_(std::move(views)...), chunk_(o.chunk),
          look_ahead_(checked_look_ahead(o, static_cast<std::size_t>(ex.size()))),
          places_(std::apply([](V&... v) { return places(std::ranges::begin(v)...); }, views_)),
          ends_(std::apply([](V&... v) { return ends(std::ranges::end(v)...); }, views_)) {
        refill();
        if (pieces_.empty() && error_)
            std::rethrow_exception(std::move(error_));
    }
    map_source(const map_source&) = delete;
    map_source& operator=(const map_source&) = delete;
    ~map_source() {
        for (const future<piece>& f : pieces_) {
            if (!f.cancel())
                f.request_stop();
        }
    }

    /// Hands out pieces, as many as there may be.
    void refill() noexcept {
        try {
            while (pieces_.size() < look_ahead_ && !error_) {
                typename call::items items = take();
                if (items.empty())
                    return;
                pieces_.push_back(executor_.submit(call(function_), std::move(items)));
            }
        } catch (...) { // in its turn
            error_ = std::current_exception();
        }
    }
    [[nodiscard]] bool empty() const noexcept { return pieces_.empty(); }
    /// The first piece.
    [[nodiscard]] future<piece> pop() { return pop(0); }
    [[nodiscard]] future<piece> pop(std::size_t place) {
        auto at = pieces_.begin() + static_cast<std::ptrdiff_t>(place);
        future<piece> taken = std::move(*at);
        pieces_.erase(at);
        return taken;
    }
    [[nodiscard]] std::vector<future_hold> holds() const {
        std::vector<future_hold> all;
        all.reserve(pieces_.size());
        for (const future<piece>& f : pieces_)
            all.push_back(f.hold());
        return all;
    }
    void rethrow_input_error() {
        if (error_)
            std::rethrow_exception(std::exchange(error_, nullptr));
    }

private:
    using places = std::tuple<std::ranges::iterator_t<V>...>;
    using ends = std::tuple<std::ranges::sentinel_t<V>...>;
    using indices = std::index_sequence_for<V...>;

    typename call::items take() {
        typename call::items items;
        while (items.size() < chunk_ && has_more(indices()))
            push(items, indices());
        return items;
    }
    template <std::size_t... I>
    bool has_more(std::index_sequence<I...>) {
        return !ended_ && (ended_ = ((std::get<I>(places_) == std::get<I>(ends_)) || ...), !ended_);
    }
    template <std::size_t... I>
    void push(typename call::items& items, std::index_sequence<I...>) {
        items.emplace_back(*std::get<I>(places_)...);
        (static_cast<void>(++std::get<I>(places_)), ...);
    }

    E& executor_;
    F function_;
    std::tuple<V...> views_;
    std::size_t chunk_;
    std::size_t look_ahead_;
    places places_;
    ends ends_;
    bool ended_ = false;
    std::exception_ptr error_; // of the input, or from submit
    std::deque<future<piece>> pieces_;
};

template <class T, class Source>
async_generator<T> mapped(std::unique_ptr<Source> source, time_point deadline) {
    while (true) {
        source->refill();
        if (source->empty())
            break;
        future<typename Source::piece> first = source->pop();
        typename Source::piece results = co_await std::move(first).result_until(deadline);
        for (auto& v : results.values)
            co_yield std::move(v.it);
        if (results.error)
            std::rethrow_exception(std::move(results.error));
    }
    source->rethrow_input_error();
}

template <class T, class Source>
async_generator<T> mapped_as_completed(std::unique_ptr<Source> source, time_point deadline) {
    while (true) {
        source->refill();
        if (source->empty())
            break;
        // Kept apart from the futures: who takes a result must be the only one that holds it.
        std::vector<future_hold> all = source->holds();
        wait_result done = co_await wait_for_futures(all, return_when::first_completed, deadline);
        all.clear();
        if (done.done().empty())
            throw_future_timeout();
        future<typename Source::piece> next = source->pop(done.done().front());
        typename Source::piece results = co_await std::move(next);
        for (auto& v : results.values)
            co_yield std::move(v.it);
        if (results.error)
            std::rethrow_exception(std::move(results.error));
    }
    source->rethrow_input_error();
}

template <executor E, class F, class... R>
auto make_map_source(E& ex, const map_options& options, F f, R&&... ranges) {
    using source = map_source<E, F, std::views::all_t<R>...>;
    return std::make_unique<source>(ex, options, std::move(f),
                                    std::views::all(std::forward<R>(ranges))...);
}

template <class F, class... R>
using map_item = mapped_t<mapped_result_t<F, std::ranges::range_value_t<std::views::all_t<R>>...>>;

} // namespace detail

/// Gives `f(item of each range...)`, for all items. The first pieces are submitted here and now.
template <executor E, std::copy_constructible F, std::ranges::input_range... R>
    requires(sizeof...(R) > 0) &&
            detail::callable_somehow<F&, std::ranges::range_value_t<std::views::all_t<R>>...>
[[nodiscard]] auto map(E& ex, const map_options& options, F f, R&&... ranges) {
    using T = detail::map_item<F, R...>;
    auto s = detail::make_map_source(ex, options, std::move(f), std::forward<R>(ranges)...);
    return detail::mapped<T>(std::move(s), options.deadline);
}
template <executor E, std::copy_constructible F, std::ranges::input_range... R>
    requires(sizeof...(R) > 0) &&
            detail::callable_somehow<F&, std::ranges::range_value_t<std::views::all_t<R>>...>
[[nodiscard]] auto map(E& ex, F f, R&&... ranges) {
    return weft::map(ex, map_options(), std::move(f), std::forward<R>(ranges)...);
}

/// The same in the order in which pieces are done.
template <executor E, std::copy_constructible F, std::ranges::input_range... R>
    requires(sizeof...(R) > 0) &&
            detail::callable_somehow<F&, std::ranges::range_value_t<std::views::all_t<R>>...>
[[nodiscard]] auto map_unordered(E& ex, const map_options& options, F f, R&&... ranges) {
    using T = detail::map_item<F, R...>;
    auto s = detail::make_map_source(ex, options, std::move(f), std::forward<R>(ranges)...);
    return detail::mapped_as_completed<T>(std::move(s), options.deadline);
}
template <executor E, std::copy_constructible F, std::ranges::input_range... R>
    requires(sizeof...(R) > 0) &&
            detail::callable_somehow<F&, std::ranges::range_value_t<std::views::all_t<R>>...>
[[nodiscard]] auto map_unordered(E& ex, F f, R&&... ranges) {
    return weft::map_unordered(ex, map_options(), std::move(f), std::forward<R>(ranges)...);
}

} // namespace weft
