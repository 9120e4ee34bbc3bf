// SPDX-License-Identifier: MIT
// Waiting for several futures, of whichever executors.
//
//     weft::task<> two_of(std::vector<weft::future<int>> work) {
//         auto w = co_await weft::wait(work, weft::return_when::first_completed);
//         fmt::print("{} done, {} not\n", w.done().size(), w.not_done().size());
//         auto order = weft::as_completed(work, weft::deadline_after(std::chrono::seconds(5)));
//         while (auto f = co_await order.next())
//             fmt::print("{}\n", f->get());
//     }
//     bool all_done(std::vector<weft::future<int>> work) {            // a plain thread blocks
//         return weft::sync_wait(weft::wait(work)).not_done().empty();
//     }
//
// wait gives places in the list, as that of tasks does; as_completed gives the futures. One that
// stands in a list several times counts once, at its first place. A future is done when it is
// cancelled, whatever its executor does with the work.
//
// Threads:      any; the futures may end on any other meanwhile.
// Cancellation: a stopped wait leaves the futures alone, and so does a deadline.
// Errors:       std::invalid_argument for an empty future and for a policy that there isn't. What
//               the work throws stays in the futures. as_completed throws timeout_error at its
//               deadline, which counts from the call, after those that were done by then.
// Cost:         one allocation for each wait, about 60 bytes a future, and what a future needs to
//               tell it.
// Source:       concurrent.futures.wait and as_completed.
#pragma once
#include <weft/executors/future.hpp>
#include <weft/runtime/wait.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace weft {

namespace detail {

class future_watch;

/// One reference to a watch, which futures and the waiting task share.
class future_watch_ref {
public:
    explicit future_watch_ref(const std::vector<future_hold>& futures);
    future_watch_ref(future_watch_ref&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
    future_watch_ref& operator=(future_watch_ref&&) = delete;
    ~future_watch_ref();
    future_watch* operator->() const noexcept { return it_; }
    future_watch& operator*() const noexcept { return *it_; }

private:
    future_watch* it_;
};

task<wait_result> wait_for_futures(const std::vector<future_hold>& futures, return_when policy,
                                   time_point deadline);
/// The place in the list of the next one that was done; empty when all were.
async_generator<std::size_t> futures_as_completed(future_watch_ref w, time_point deadline);

template <class R>
concept future_list = requires(const R& r) {
    typename R::value_type::value_type;
    { *std::data(r) } -> std::convertible_to<const future<typename R::value_type::value_type>&>;
    std::size(r);
};

template <future_list R>
std::vector<future_hold> holds_in(const R& futures) {
    std::vector<future_hold> handles;
    handles.reserve(std::size(futures));
    for (const auto& f : std::span(std::data(futures), std::size(futures)))
        handles.push_back(f.hold());
    return handles;
}

template <class T>
async_generator<future<T>> typed_in_order(std::vector<future_hold> futures, future_watch_ref w,
                                          time_point deadline) {
    async_generator<std::size_t> places = futures_as_completed(std::move(w), deadline);
    while (auto i = co_await places.next()) {
        future<T> f = future<T>::of(std::move(futures[*i])); // each comes once
        co_yield std::move(f);
    }
}

} // namespace detail

/// Waits until the policy is met, or until `deadline`. An empty list is done.
template <detail::future_list R>
[[nodiscard]] task<wait_result> wait(const R& futures,
                                     return_when policy = return_when::all_completed,
                                     time_point deadline = never) {
    return detail::wait_for_futures(detail::holds_in(futures), policy, deadline);
}

/// Gives each future when it is done: first those that are, in the order of the list, then one
/// after the other.
template <detail::future_list R>
[[nodiscard]] auto as_completed(const R& futures, time_point deadline = never)
    -> async_generator<typename R::value_type> {
    std::vector<detail::future_hold> handles = detail::holds_in(futures);
    detail::future_watch_ref w(handles);
    return detail::typed_in_order<typename R::value_type::value_type>(std::move(handles),
                                                                      std::move(w), deadline);
}

} // namespace weft
