// SPDX-License-Identifier: MIT
// A place in the line of those who have something to receive and no lent buffer to receive it in.
//
// Threads:      the loop's. Cost: four words. Source: none.
#pragma once

namespace weft::detail {

/// `ready` is called on the loop, outside of the line, when there may be a buffer. From then on it
/// is `trying`, until it tells the buffer_ring how that went.
struct buffer_waiter {
    explicit buffer_waiter(void (*f)(buffer_waiter&) noexcept) noexcept : ready(f) {}
    void (*ready)(buffer_waiter&) noexcept;
    buffer_waiter* next = nullptr;
    buffer_waiter* previous = nullptr;
    bool in_line = false;
    bool trying = false;
};

} // namespace weft::detail
