// SPDX-License-Identifier: MIT
// Square pictures of the Mandelbrot set, cut out of the plane as maps are: level 0 is one tile,
// each level halves it.
//
//     std::vector<std::uint8_t> rgb = tiles::render({.level = 2, .x = 1, .y = 1}, {});
//
// Threads:      any; no state is shared.
// Cancellation: a stop request is seen within a row of pixels; what comes back is then empty.
// Errors:       std::bad_alloc.
// Cost:         5 to 50 ms at most levels; a second in the darkest corners of the deepest ones.
// Source:       smooth counts and distance estimates are folklore, well told in Milnor's "Dynamics
//               in One Complex Variable", appendix G; the periodicity check is Brent's.
#pragma once
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string_view>
#include <vector>

namespace tiles {

inline constexpr unsigned tile_size = 256; // pixels each way
/// Where doubles run out of digits: a pixel is as wide as sixteen steps from number to number.
inline constexpr int deepest_level = 42;

/// Tile (x, y) of a level: (0, 0) starts at -2.5 + 2i, and is 4 / 2^level wide. y grows downwards.
struct tile_id {
    std::int32_t level = 0;
    std::int64_t x = 0;
    std::int64_t y = 0;
};

/// "3/1/2": level, x, y. Nothing if it's no tile, or so far out that there is nothing to see.
[[nodiscard]] std::optional<tile_id> parse_tile(std::string_view text) noexcept;

/// Red, green and blue of each pixel, row by row.
[[nodiscard]] std::vector<std::uint8_t> render(const tile_id& tile, const std::stop_token& stop);

} // namespace tiles
