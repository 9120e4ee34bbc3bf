// SPDX-License-Identifier: MIT
// What combinators return: their arguments, until someone awaits them. The operation itself can't
// be moved, because others point to it; this can, so that combinators take each other as arguments.
//
// Threads:      any. Cancellation: none. Errors: none. Cost: the arguments are moved once more.
//               Source: none.
#pragma once
#include <tuple>
#include <utility>

namespace weft::detail {

template <class Op, class... Args>
class [[nodiscard]] deferred {
public:
    explicit deferred(Args... args) : args_(std::move(args)...) {}
    Op operator co_await() && {
        return std::apply([](Args&... args) { return Op(std::move(args)...); }, args_);
    }

private:
    std::tuple<Args...> args_;
};

} // namespace weft::detail
