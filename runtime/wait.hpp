// SPDX-License-Identifier: MIT
// Waiting for several started tasks, which go on whatever becomes of the waiting.
//
//     weft::task<> two_of(std::vector<weft::task_handle<int>>& tasks) {
//         auto w = co_await weft::wait(tasks, weft::return_when::first_completed);
//         fmt::print("{} done, {} not\n", w.done().size(), w.not_done().size());
//         auto order = weft::as_completed(tasks, weft::deadline_after(std::chrono::seconds(5)));
//         while (auto i = co_await order.next())
//             fmt::print("{}\n", co_await tasks[*i].join());
//     }
//
// Both give places in the list of handles. Whoever wants the tasks to end with the waiting takes a
// task_group, when_all or when_any.
//
// Threads:      the loop of the tasks.
// Cancellation: a stopped wait leaves the tasks alone.
// Errors:       std::invalid_argument for an empty list (wait only) and for empty handles. What the
//               tasks throw stays with them: join() gives it. as_completed throws timeout_error at
//               its deadline, after those that had ended by then.
// Cost:         one allocation for each wait, 40 bytes a task.
// Source:       asyncio.wait and asyncio.as_completed.
#pragma once
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/time.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace weft {

/// When a wait ends.
enum class return_when : int {
    first_completed, // the first has ended, in whatever way
    first_exception, // the first has thrown, or all have ended
    all_completed,
};

/// Who has ended and who hasn't, each in the order of the list.
class [[nodiscard]] wait_result {
public:
    wait_result(std::vector<std::size_t> done, std::vector<std::size_t> not_done) noexcept
        : done_(std::move(done)), not_done_(std::move(not_done)) {}
    [[nodiscard]] const std::vector<std::size_t>& done() const noexcept { return done_; }
    [[nodiscard]] const std::vector<std::size_t>& not_done() const noexcept { return not_done_; }

private:
    std::vector<std::size_t> done_;
    std::vector<std::size_t> not_done_;
};

namespace detail {

task<wait_result> wait_for_records(std::vector<spawned*> records, return_when policy,
                                   time_point deadline);
async_generator<std::size_t> records_as_completed(std::vector<spawned*> records,
                                                  time_point deadline);

template <class T>
std::vector<spawned*> records_of(std::span<const task_handle<T>> handles) {
    std::vector<spawned*> records;
    records.reserve(handles.size());
    for (const task_handle<T>& h : handles)
        records.push_back(h.record());
    return records;
}

// What can be seen as a list of handles.
template <class R>
concept handle_list = requires(const R& r) {
    {
        *std::data(r)
    } -> std::convertible_to<const task_handle<typename R::value_type::value_type>&>;
    std::size(r);
};

template <handle_list R>
std::vector<spawned*> records_in(const R& handles) {
    using T = typename R::value_type::value_type;
    return records_of(std::span<const task_handle<T>>(std::data(handles), std::size(handles)));
}

} // namespace detail

/// Waits until the policy is met, or until `deadline`. Precondition: the handles stay until then.
template <detail::handle_list R>
[[nodiscard]] task<wait_result> wait(const R& handles,
                                     return_when policy = return_when::all_completed,
                                     time_point deadline = never) {
    return detail::wait_for_records(detail::records_in(handles), policy, deadline);
}

/// Gives the place of each task when it has ended: first those that have, then one after the other.
/// Precondition: the handles stay until the generator has ended.
template <detail::handle_list R>
[[nodiscard]] async_generator<std::size_t> as_completed(const R& handles,
                                                        time_point deadline = never) {
    return detail::records_as_completed(detail::records_in(handles), deadline);
}

} // namespace weft
