// SPDX-License-Identifier: MIT
#include <weft/sync/detail/queue_state.hpp>

#include <weft/sync/error.hpp>

#include <stdexcept>

namespace weft::detail {

template struct queue_state<std_atomics>;

void throw_get_outcome(queue_outcome how) {
    if (how == queue_outcome::shut_down)
        throw queue_shut_down();
    throw queue_empty();
}

void throw_put_outcome(queue_outcome how) {
    if (how == queue_outcome::shut_down)
        throw queue_shut_down();
    throw queue_full();
}

void throw_too_many_items() { throw limit_error("a queue can't hold that many items"); }

void throw_bad_capacity() {
    throw std::invalid_argument("the capacity of a queue is at most 2147483647");
}

void throw_negative_time() {
    throw std::invalid_argument("a queue can't be waited for in the past");
}

void throw_done_too_often() {
    throw std::invalid_argument("task_done was called more often than there were items");
}

} // namespace weft::detail
