// SPDX-License-Identifier: MIT
// The least queue between processes: to put, to get, and to see whether it is empty.
//
//     weft::task<> report(weft::ipc::simple_queue<std::string>& lines, std::string line) {
//         co_await lines.put(std::move(line));
//     }
//     weft::task<> print_all(weft::ipc::simple_queue<std::string>& lines) {
//         while (true)
//             fmt::print("{}\n", co_await lines.get());
//     }
//
// As ipc/queue.hpp, without bound but its memory, and without an end that all processes see.
//
// Threads:      all members but the moves, from any thread. Processes: as ipc/queue.hpp.
// Cancellation: a stopped get has taken no item, a stopped put has added none.
// Errors:       codec_error from put; state_error from everything after close(); queue_empty from a
//               get with a deadline; as ipc/queue.hpp when it is made.
// Cost:         as ipc/queue.hpp.
// Source:       multiprocessing's SimpleQueue.
#pragma once
#include <weft/ipc/queue.hpp>

namespace weft::ipc {

template <class T>
class simple_queue {
public:
    using value_type = T;
    using put_op = typename queue<T>::put_op;
    using get_op = typename queue<T>::get_op;

    explicit simple_queue(const queue_options& options = {}) : items_(0, options) {}
    explicit simple_queue(shared_memory m) : items_(std::move(m)) {}

    /// Puts an item at the end; waits while its memory is full.
    put_op put(T item) { return items_.put(std::move(item)); }
    /// Takes the first item; waits while there is none.
    get_op get() noexcept { return items_.get(); }
    /// Waits until `deadline` at most, then throws queue_empty.
    get_op get_until(time_point deadline) noexcept { return items_.get_until(deadline); }
    /// Waits for `d` at most; with zero it only tries.
    template <class Rep, class Period>
    get_op get_for(std::chrono::duration<Rep, Period> d) {
        return items_.get_for(d);
    }
    /// Takes the first item if there is one.
    [[nodiscard]] std::optional<T> try_get() { return items_.try_get(); }

    /// A snapshot.
    [[nodiscard]] bool empty() const {
        items_.check_open();
        return items_.empty();
    }
    /// This process puts and gets no more.
    void close() noexcept { items_.close(); }

    /// To hand over.
    [[nodiscard]] const shared_memory& memory() const noexcept { return items_.memory(); }

private:
    queue<T> items_;
};

/// As an argument of a process.
template <class T>
struct codec<simple_queue<T>> {
    static constexpr std::size_t least_size = least_size_of<shared_memory>();
    static void encode(archive_writer& out, const simple_queue<T>& q) {
        ipc::encode<shared_memory>(out, q.memory());
    }
    static simple_queue<T> decode(archive_reader& in) {
        return simple_queue<T>(ipc::decode<shared_memory>(in));
    }
};

} // namespace weft::ipc
