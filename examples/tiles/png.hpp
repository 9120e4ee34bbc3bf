// SPDX-License-Identifier: MIT
// Pixels to PNG.
//
//     std::vector<std::byte> file = png::encode(rgb, 256, 256);
//
// Threads:      any; no state is shared.
// Cancellation: none: a tile takes a few milliseconds.
// Errors:       std::invalid_argument if the pixels don't fill the picture; std::runtime_error with
//               libpng's text.
// Cost:         memory for the largest file that the picture could become.
// Source:       libpng's simplified interface.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace png {

/// `rgb` has red, green and blue of each pixel, row by row.
[[nodiscard]] std::vector<std::byte> encode(std::span<const std::uint8_t> rgb, unsigned width,
                                            unsigned height);

} // namespace png
