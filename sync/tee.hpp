// SPDX-License-Identifier: MIT
// One sequence read several times over: each branch gives all items, each at its own pace.
//
//     weft::async_generator<int> measurements();
//     weft::task<> both(weft::task<> (*plot)(weft::async_generator<int>),
//                       weft::task<> (*store)(weft::async_generator<int>)) {
//         auto branches = weft::tee(measurements(), 2);
//         co_await weft::when_all(plot(std::move(branches[0])), store(std::move(branches[1])));
//     }
//
// An item is kept until every branch has given it, or is gone. The branches give copies of it.
//
// Threads:      each branch may be read on another thread. The sequence itself is read by whichever
//               branch is ahead, one at a time.
// Cancellation: a reader that is stopped ends its own branch, as with any async_generator. What was
//               being read for it is read to the end, and is there for the others.
// Errors:       std::invalid_argument for a negative number of branches. What the sequence throws
//               comes out of every branch, where it stands.
// Cost:         an allocation for each item, and a lock for each item and branch.
// Source:       Python's itertools.tee and threading.concurrent_tee.
#pragma once
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/generator.hpp>
#include <weft/sync/mutex.hpp>
#include <weft/sync/shared_generator.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace weft {

namespace detail {

template <std::copy_constructible T>
class tee_source {
public:
    explicit tee_source(async_generator<T> from) noexcept : from_(std::move(from)) {}

    struct node {
        node() noexcept = default;
        node(const node&) = delete;
        node& operator=(const node&) = delete;
        // One after the other: a long list must not be destroyed by recursion.
        ~node() {
            std::shared_ptr<node> rest = std::move(next);
            while (rest && rest.use_count() == 1)
                rest = std::move(rest->next);
        }
        std::optional<T> item; // empty: the end
        std::exception_ptr error;
        std::shared_ptr<node> next; // null until this one has been read, and at the end
        bool there = false;
    };

    static async_generator<T> branch(std::shared_ptr<tee_source> s, std::shared_ptr<node> at) {
        while (true) {
            co_await s->fetch(*at);
            if (at->error)
                std::rethrow_exception(at->error);
            if (!at->item)
                co_return;
            // A copy: the others have it, too, and the reader may move from its own.
            T copy(*at->item);
            co_yield std::move(copy);
            at = std::shared_ptr<node>(at->next);
        }
    }

private:
    /// Reads the item of a node, if no other branch has. Afterwards the node doesn't change.
    task<> fetch(node& n) {
        guard<mutex> mine = co_await turn_.scoped();
        if (n.there)
            co_return;
        try {
            auto step = weft::shield(from_.next());
            std::optional<T> item = co_await std::move(step);
            if (item) {
                n.next = std::make_shared<node>();
                n.item.emplace(std::move(*item));
            }
        } catch (...) {
            n.error = std::current_exception();
        }
        n.there = true;
    }

    mutex turn_;
    async_generator<T> from_;
};

} // namespace detail

/// `n` sequences, each with all items of `from`. With none, `from` is dropped unread.
template <std::copy_constructible T>
[[nodiscard]] std::vector<async_generator<T>> tee(async_generator<T> from, std::ptrdiff_t n = 2) {
    if (n < 0)
        throw std::invalid_argument("tee: a negative number of branches");
    using source = detail::tee_source<T>;
    auto shared = std::make_shared<source>(std::move(from));
    auto first = std::make_shared<typename source::node>();
    std::vector<async_generator<T>> branches;
    branches.reserve(static_cast<std::size_t>(n));
    while (n-- > 0)
        branches.push_back(source::branch(shared, first));
    return branches;
}
template <std::copy_constructible T>
[[nodiscard]] std::vector<async_generator<T>> tee(generator<T> from, std::ptrdiff_t n = 2) {
    return weft::tee(detail::awaited(std::move(from)), n);
}

} // namespace weft
