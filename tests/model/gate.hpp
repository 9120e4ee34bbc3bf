// SPDX-License-Identifier: MIT
// A turnstile with what models ask of it, in the uses that primitives make of one.
//
// Threads:      any. Cancellation: as the primitives'. Errors: none.
// Cost:         see memory_model.hpp. Source: none.
#pragma once
#include "model/lines.hpp"
#include "model/model.hpp"

#include <weft/sync/detail/turnstile.hpp>

namespace weft::model {

/// What passing takes is all that they differ in.
template <std::uint32_t Taken>
class gate {
public:
    static constexpr const char* name = "gate";
    static constexpr std::uint32_t taken = Taken;
    using pass_op = weft::detail::pass_op<gate>;

    explicit gate(std::uint32_t permits) noexcept : line_(permits) {}

    pass_op pass() noexcept { return pass_op(*this); }
    [[nodiscard]] bool try_pass() noexcept { return line_.try_pass(taken); }
    bool release(std::uint32_t n = 1, std::uint32_t limit = turnstile::most) noexcept {
        return line_.release(n, limit);
    }
    [[nodiscard]] bool is_open() const noexcept { return line_.permits() != 0; }
    void open() noexcept { line_.open(); }
    void close() noexcept { line_.close(); }

    void wait_for_a_waiter() noexcept {
        while (!line_.has_waiters())
            atomics::pause();
    }
    void check_rest(std::uint32_t permits) noexcept {
        check(!line_.has_waiters(), "nobody is left in line");
        check(line_.permits() == permits, "no permit is lost or made");
    }

private:
    using turnstile = weft::detail::turnstile<atomics>;
    friend pass_op;
    turnstile line_;
};

using taking = gate<1>;
using flag = gate<0>;

} // namespace weft::model
