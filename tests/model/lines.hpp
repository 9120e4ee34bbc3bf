// SPDX-License-Identifier: MIT
// Lists of those who wait, watched for races: whatever holds a wait_list as Atomics::plain gets
// this in a model.
//
// Threads:      as a wait_list: whoever holds its lock. Cancellation: none.
// Errors:       a race ends the execution. Cost: see memory_model.hpp. Source: none.
#pragma once
#include "model/model.hpp"

#include <weft/runtime/detail/wait_list.hpp>

namespace weft::model {

template <>
class plain<weft::detail::wait_list> {
    using list = weft::detail::wait_list;
    using waiter = weft::detail::waiter;

public:
    explicit plain(const site& at = site::current()) noexcept { writes(this, at); }
    plain(const plain&) = delete;
    plain& operator=(const plain&) = delete;
    ~plain() { writes(this); }

    [[nodiscard]] bool empty() const noexcept {
        reads(this);
        return list_.empty();
    }
    [[nodiscard]] const waiter* first() const noexcept {
        reads(this);
        return list_.first();
    }
    [[nodiscard]] waiter* first_of(const weft::detail::runner& r, unsigned reach) const noexcept {
        reads(this);
        return list_.first_of(r, reach);
    }
    [[nodiscard]] waiter* next_of(const waiter& w, const weft::detail::runner& r,
                                  unsigned reach) const noexcept {
        reads(this);
        return list_.next_of(w, r, reach);
    }
    [[nodiscard]] bool stands(const waiter& w) const noexcept {
        reads(this);
        return list_.stands(w);
    }
    [[nodiscard]] waiter* claim_first() noexcept {
        writes(this);
        return list_.claim_first();
    }
    [[nodiscard]] std::size_t size() const noexcept {
        reads(this);
        return list_.size();
    }
    void push(waiter& w) noexcept {
        writes(this);
        list_.push(w);
    }
    void remove(waiter& w) noexcept {
        writes(this);
        list_.remove(w);
    }
    bool remove_if_there(waiter& w) noexcept {
        writes(this);
        return list_.remove_if_there(w);
    }
    /// For a woken_list, which takes from it.
    operator list&() noexcept {
        writes(this);
        return list_;
    }

private:
    list list_;
};

} // namespace weft::model
