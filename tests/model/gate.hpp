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

/// Never hot: always in the order of coming.
struct cool_pace : weft::detail::loop_pace {
    static std::uint64_t step(const weft::detail::runner&) noexcept { return 0; }
};

/// Hot from the beginning. A slice may have ended whenever one looks.
struct hot_pace : cool_pace {
    static constexpr std::uint32_t hot = 0;
    static constexpr std::int64_t slice = 2;
    static constexpr std::uint32_t longest_burst = 1;
    static std::int64_t now(const weft::detail::runner&) noexcept {
        return 1 + slice * static_cast<std::int64_t>(choose(2));
    }
    static bool is_awake(const weft::detail::runner&) noexcept { return true; }
};

/// What passing takes is what they differ in, and when they are hot.
template <std::uint32_t Taken, class Pace = cool_pace>
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
    [[nodiscard]] std::uint32_t settled_permits() const noexcept { return line_.settled_permits(); }
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
    using turnstile = weft::detail::turnstile<atomics, Pace>;
    friend pass_op;
    turnstile line_;
};

using taking = gate<1>;
using flag = gate<0>;
using hot = gate<1, hot_pace>;

} // namespace weft::model
