// SPDX-License-Identifier: MIT
// Pictures in memory: out of JPEG and PNG files, made smaller and sharper, into JPEG files.
//
// Threads:      as a value's.
// Cancellation: none.
// Errors:       picture_error with what the codec says; std::bad_alloc.
// Cost:         three bytes a pixel. JPEG files are decoded at an eighth to all of their size,
//               which is the fastest way to make them smaller.
// Source:       libjpeg and libpng for the files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace pictures {

struct picture_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct picture {
    unsigned width = 0;
    unsigned height = 0;
    std::vector<std::uint8_t> rgb; // rows from above, without gaps
    // Of the file.
    unsigned full_width = 0;
    unsigned full_height = 0;
    std::string warning; // what the codec had to say although it went on
};

/// More than that isn't decoded.
inline constexpr std::uint64_t most_pixels = 200'000'000;

/// Of a file of either kind. Its shorter side may be less than it is in the file, but not less than
/// twice `side`, as far as the file has that.
[[nodiscard]] picture decode(std::span<const std::byte> file, unsigned side);
[[nodiscard]] picture decode_jpeg(std::span<const std::byte> file, unsigned side);
[[nodiscard]] picture decode_png(std::span<const std::byte> file);

/// With a longer side of `side` at most: each pixel is the mean of those that it stands for.
[[nodiscard]] picture shrink(picture p, unsigned side);

/// Moves each pixel away from the mean of its neighbours, by so much of the difference.
void sharpen(picture& p, float amount);

[[nodiscard]] std::vector<std::byte> encode_jpeg(const picture& p, int quality);

} // namespace pictures
