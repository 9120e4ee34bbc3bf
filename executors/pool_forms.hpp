// SPDX-License-Identifier: MIT
// The words of Python's Pool, for any executor: one function, many arguments.
//
//     double area(double width, double height) { return width * height; }
//
//     weft::task<double> total(weft::thread_pool& pool, std::vector<double> sides) {
//         auto square = [](double side) { return side * side; };
//         double sum = 0;
//         for (double a : co_await weft::map_all(pool, square, sides))    // all of it, in order
//             sum += a;
//         std::vector<std::tuple<double, double>> rooms{{3.0, 4.0}, {2.5, 3.0}};
//         for (double a : co_await weft::starmap(pool, weft::fn<&area>, rooms))
//             sum += a;
//         auto squares = weft::imap(pool, square, std::move(sides));      // one after the other
//         while (auto a = co_await squares.next())
//             sum += *a;
//         co_return sum;
//     }
//
// map_all and starmap take the whole input at once, and give everything or the first error, when
// all is done. imap and imap_unordered go through their input as map() does, but an error costs its
// item only, and its piece what is behind that: next() throws it, and may be called again. A
// process_pool has them as members (map_all is called map).
//
// Threads:      as map.hpp.
// Cancellation: if the wait is stopped, or the sequence destroyed, what has not begun is cancelled,
//               and what runs is asked to stop.
// Errors:       what the function throws; what the input throws, from the call itself, of imap
//               after the results before it. timeout_error from next_until and next_for, which
//               leave the sequence as it is. std::invalid_argument for empty pieces (of imap).
// Cost:         a future for each piece.
// Source:       multiprocessing.pool.Pool.
#pragma once
#include <weft/executors/map.hpp>
#include <weft/runtime/error.hpp>

#include <iterator>
#include <optional>
#include <tuple>

namespace weft {

namespace detail {

// Calls a function with the elements of a tuple.
template <class F>
class starred {
public:
    starred()
        requires std::default_initializable<F>
    = default;
    explicit starred(F f) : function_(std::move(f)) {}
    template <class Tuple>
    decltype(auto) operator()(Tuple&& items) const {
        return std::apply(function_, std::forward<Tuple>(items));
    }

private:
    [[no_unique_address]] F function_;
};

// Pieces that are with an executor, and called off if nobody waits to the end.
template <class Piece>
class pieces_at_work {
public:
    pieces_at_work() = default;
    pieces_at_work(pieces_at_work&& other) noexcept
        : futures(std::exchange(other.futures, std::vector<future<Piece>>())) {}
    pieces_at_work& operator=(pieces_at_work&&) = delete;
    ~pieces_at_work() {
        for (const future<Piece>& f : futures) {
            if (f && !f.cancel())
                f.request_stop();
        }
    }
    std::vector<future<Piece>> futures;
};

/// Of a future that is done.
template <class Piece>
std::exception_ptr error_of_piece(const future<Piece>& f) {
    try {
        if (std::exception_ptr e = f.exception())
            return e;
        return f.get().error;
    } catch (const cancelled_error&) {
        return std::current_exception();
    }
}

template <class T, class Piece>
task<std::vector<T>> all_of_pieces(pieces_at_work<Piece> pieces, std::size_t count) {
    std::exception_ptr first;
    {
        future_watch_ref watch(holds_in(pieces.futures));
        async_generator<std::size_t> order = futures_as_completed(std::move(watch), never);
        while (auto i = co_await order.next()) {
            std::exception_ptr e = error_of_piece(pieces.futures[*i]);
            if (!first)
                first = std::move(e);
        }
    }
    if (first)
        std::rethrow_exception(std::move(first));
    std::vector<T> all;
    all.reserve(count);
    for (future<Piece>& f : pieces.futures) {
        Piece p = std::move(f).get();
        for (auto& v : p.values)
            all.push_back(std::move(v.it));
    }
    co_return all;
}

/// The size of a piece if nobody says: four for each that runs at once.
[[nodiscard]] inline std::size_t piece_size(std::size_t items, std::size_t at_once) noexcept {
    return std::max<std::size_t>(1, (items + 4 * at_once - 1) / (4 * at_once));
}

template <class T, class Source, bool Ordered>
class [[nodiscard]] imap_results {
public:
    explicit imap_results(std::unique_ptr<Source> s) noexcept : source_(std::move(s)) {}

    /// The next result, or nothing at the end. The sequence must not move meanwhile.
    [[nodiscard]] task<std::optional<T>> next() { return next_until(never); }
    template <class Rep, class Period>
    [[nodiscard]] task<std::optional<T>> next_for(std::chrono::duration<Rep, Period> d) {
        return next_until(deadline_after(d));
    }
    [[nodiscard]] task<std::optional<T>> next_until(time_point deadline) {
        while (at_ == here_.values.size()) {
            if (here_.error)
                std::rethrow_exception(std::exchange(here_.error, nullptr));
            if (ended_)
                co_return std::nullopt;
            source_->refill();
            if (source_->empty()) {
                ended_ = true;
                source_->rethrow_input_error();
                co_return std::nullopt;
            }
            // Kept apart from the futures: who takes a result must be the only one that holds it.
            std::vector<future_hold> all = source_->holds();
            if constexpr (Ordered)
                all.resize(1);
            wait_result done =
                co_await wait_for_futures(all, return_when::first_completed, deadline);
            all.clear();
            if (done.done().empty())
                throw_future_timeout();
            future<typename Source::piece> piece = source_->pop(done.done().front());
            at_ = 0;
            here_ = typename Source::piece();
            here_ = std::move(piece).get();
        }
        co_return std::move(here_.values[at_++].it);
    }

private:
    std::unique_ptr<Source> source_;
    typename Source::piece here_;
    std::size_t at_ = 0;
    bool ended_ = false;
};

template <bool Ordered, executor E, class F, class R>
auto make_imap(E& ex, F f, R&& range, std::size_t chunk) {
    auto s = make_map_source(ex, {.chunk = chunk}, std::move(f), std::forward<R>(range));
    using source = typename decltype(s)::element_type;
    return imap_results<map_item<F, R>, source, Ordered>(std::move(s));
}

} // namespace detail

/// Gives `f(item)` of all items, in order. Of an error the other pieces hear nothing; the first
/// that came is thrown when all are done.
template <executor E, std::copy_constructible F, std::ranges::input_range R>
    requires detail::callable_somehow<F&, std::ranges::range_value_t<R>>
[[nodiscard]] auto map_all(E& ex, F f, R&& range, std::size_t chunk = 0) {
    using item = std::ranges::range_value_t<R>;
    using call = detail::mapped_call<F, item>;
    std::vector<std::tuple<item>> items;
    if constexpr (std::ranges::sized_range<R>)
        items.reserve(static_cast<std::size_t>(std::ranges::size(range)));
    for (auto&& i : range)
        items.emplace_back(std::forward<decltype(i)>(i));
    const std::size_t count = items.size();
    const std::size_t size = chunk != 0 ? chunk : detail::piece_size(count, ex.size());
    detail::pieces_at_work<typename call::piece> pieces;
    pieces.futures.reserve(count / size + 1);
    for (std::size_t from = 0; from < count; from += size) {
        auto begin = items.begin() + static_cast<std::ptrdiff_t>(from);
        auto end = items.begin() + static_cast<std::ptrdiff_t>(std::min(count, from + size));
        typename call::items some(std::make_move_iterator(begin), std::make_move_iterator(end));
        pieces.futures.push_back(ex.submit(call(f), std::move(some)));
    }
    return detail::all_of_pieces<detail::map_item<F, R>>(std::move(pieces), count);
}

/// The same with the elements of each item, which is a tuple, as arguments.
template <executor E, std::copy_constructible F, std::ranges::input_range R>
[[nodiscard]] auto starmap(E& ex, F f, R&& range, std::size_t chunk = 0) {
    return weft::map_all(ex, detail::starred<F>(std::move(f)), std::forward<R>(range), chunk);
}

/// Gives `f(item)` of one item after the other.
template <executor E, std::copy_constructible F, std::ranges::input_range R>
    requires detail::callable_somehow<F&, std::ranges::range_value_t<R>>
[[nodiscard]] auto imap(E& ex, F f, R&& range, std::size_t chunk = 1) {
    return detail::make_imap<true>(ex, std::move(f), std::forward<R>(range), chunk);
}
/// The same in the order in which pieces are done.
template <executor E, std::copy_constructible F, std::ranges::input_range R>
    requires detail::callable_somehow<F&, std::ranges::range_value_t<R>>
[[nodiscard]] auto imap_unordered(E& ex, F f, R&& range, std::size_t chunk = 1) {
    return detail::make_imap<false>(ex, std::move(f), std::forward<R>(range), chunk);
}

} // namespace weft
