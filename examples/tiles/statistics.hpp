// SPDX-License-Identifier: MIT
// What became of the tiles: how many, how fast, how long each took.
//
// Threads:      one at a time. Cancellation: none. Errors: std::bad_alloc.
// Cost:         drawn() is O(1), summary() sorts the latencies of the last thousand tiles.
// Source:       quantiles by rank, without interpolation: a p99 that really occurred.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace tiles {

class statistics {
public:
    using time_point = std::chrono::steady_clock::time_point;
    using milliseconds = std::chrono::duration<double, std::milli>;

    struct summary {
        std::uint64_t drawn = 0;
        std::uint64_t given_up = 0;
        double rate = 0; // tiles a second, over the last second
        std::optional<milliseconds> p50 =
            {}; // from the request to the picture, over the last thousand
        std::optional<milliseconds> p99 = {};
    };

    void drawn(time_point asked, time_point done);
    /// The client left before its tile was done.
    void given_up() noexcept { ++given_up_; }
    [[nodiscard]] summary at(time_point now) const;

private:
    struct tile {
        time_point done;
        milliseconds took;
    };
    static constexpr std::size_t remembered = 1000;

    std::deque<tile> last_;
    std::uint64_t drawn_ = 0;
    std::uint64_t given_up_ = 0;
};

} // namespace tiles
