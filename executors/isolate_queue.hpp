// SPDX-License-Identifier: MIT
// A queue between isolates, and between them and the program: an ipc::queue that can be an argument
// of any call.
//
//     int total(weft::isolate_queue<int> numbers, int how_many) {
//         int sum = 0;
//         for (int i = 0; i != how_many; ++i)
//             sum += weft::sync_wait(numbers.get());       // a plain function: it blocks
//         return sum;
//     }
//     weft::task<> add_up(weft::isolate& iso) {
//         weft::isolate_queue<int> numbers(10);
//         weft::future<int> sum = iso.spawn(weft::fn<&total>, numbers, 1000);
//         for (int i = 0; i != 1000; ++i)
//             co_await numbers.put(i);                     // waits while there are 10
//         fmt::print("{}\n", co_await sum);
//     }
//
// What travels is where the queue is found: in the process that gives it. It must be kept there
// until the call has begun; from then on each process has it for itself. So a function can't return
// a queue that it made.
//
// Threads:      as ipc/queue.hpp's. Processes: likewise.
// Cancellation: likewise.
// Errors:       likewise; its queue_empty and queue_full are those of every queue. isolate_error in
//               the call, if the queue isn't there any more when the call begins.
// Cost:         likewise; four system calls where it arrives.
// Source:       concurrent.interpreters.create_queue.
#pragma once
#include <weft/executors/detail/memory_place.hpp>
#include <weft/executors/sendable.hpp>
#include <weft/ipc/queue.hpp>

namespace weft {

template <sendable T>
class isolate_queue : public ipc::queue<T> {
public:
    /// Makes one. A capacity of 0: as many items as its memory holds.
    explicit isolate_queue(std::size_t capacity = 0, const ipc::queue_options& options = {})
        : ipc::queue<T>(capacity, options) {}
    /// The one that another process has made.
    explicit isolate_queue(ipc::shared_memory m) : ipc::queue<T>(std::move(m)) {}
};

template <sendable T>
struct ipc::codec<isolate_queue<T>> {
    static constexpr std::size_t least_size = sizeof(weft::detail::memory_place);
    static void encode(archive_writer& out, const isolate_queue<T>& q) {
        out.write_value(weft::detail::place_of(q.memory()));
    }
    static isolate_queue<T> decode(archive_reader& in) {
        auto place = in.read_value<weft::detail::memory_place>();
        return isolate_queue<T>(weft::detail::memory_at(place));
    }
};

} // namespace weft
