// SPDX-License-Identifier: MIT
// Clocks and durations. Deadlines follow the monotonic clock; whatever would overflow it saturates.
//
//     weft::time_point in_a_while() {
//         return weft::deadline_after(std::chrono::hours::max()); // "never", not the distant past
//     }
//
// Threads:      any. Cancellation: none. Errors: none; every function is noexcept.
// Cost:         deadline_after reads the clock once.
// Source:       the saturation rule follows T-MOD-08 of the mission.
#pragma once
#include <chrono>

namespace weft {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = std::chrono::nanoseconds;

/// The end of time: a deadline that never comes.
inline constexpr time_point never = time_point::max();

/// Any duration in nanoseconds; what doesn't fit becomes the longest or the shortest one, and no
/// number becomes zero.
template <class Rep, class Period>
[[nodiscard]] constexpr duration saturate(std::chrono::duration<Rep, Period> d) noexcept {
    using wide = std::chrono::duration<long double, std::nano>;
    auto ns = std::chrono::duration_cast<wide>(d).count();
    if (!(ns == ns))
        return duration::zero();
    if (ns >= static_cast<long double>(duration::max().count()))
        return duration::max();
    if (ns <= static_cast<long double>(duration::min().count()))
        return duration::min();
    // A fraction of a nanosecond is rounded up, so that no timer fires early.
    auto whole = std::chrono::duration_cast<duration>(d);
    return wide(whole) < wide(ns) ? whole + duration(1) : whole;
}
[[nodiscard]] constexpr duration saturate(duration d) noexcept { return d; }

/// `from` plus `d`, never beyond the ends of time.
[[nodiscard]] constexpr time_point saturated_sum(time_point from, duration d) noexcept {
    // The sign of `from` comes first: the differences overflow where they aren't needed.
    bool later = from.time_since_epoch() >= duration::zero();
    if (d >= duration::zero())
        return later && d >= never - from ? never : from + d;
    return !later && d < time_point::min() - from ? time_point::min() : from + d;
}

/// The time of the calling thread's loop (virtual under a simulated kernel), or the steady clock's
/// outside of one.
[[nodiscard]] time_point now() noexcept;

template <class Rep, class Period>
[[nodiscard]] time_point deadline_after(std::chrono::duration<Rep, Period> d) noexcept {
    return saturated_sum(now(), saturate(d));
}

} // namespace weft
