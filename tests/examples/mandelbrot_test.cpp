// SPDX-License-Identifier: MIT
#include "mandelbrot.hpp"
#include "png.hpp"

#include <catch2/catch.hpp>
#include <png.h>

#include <array>
#include <cmath>

namespace {

using rgb = std::array<int, 3>;

/// The colour at a point of a tile.
rgb colour_at(const tiles::tile_id& tile, double re, double im) {
    std::vector<std::uint8_t> pixels = tiles::render(tile, {});
    REQUIRE(pixels.size() == std::size_t{3} * tiles::tile_size * tiles::tile_size);
    double side = std::ldexp(4.0, -tile.level);
    auto x = static_cast<std::size_t>((re + 2.5 - static_cast<double>(tile.x) * side) / side *
                                      tiles::tile_size);
    auto y = static_cast<std::size_t>((2 - im - static_cast<double>(tile.y) * side) / side *
                                      tiles::tile_size);
    REQUIRE(x < tiles::tile_size);
    REQUIRE(y < tiles::tile_size);
    const std::uint8_t* p = &pixels[3 * (y * tiles::tile_size + x)];
    return {p[0], p[1], p[2]};
}

} // namespace

TEST_CASE("mandelbrot: a tile's name is read, and nothing else") {
    auto tile = tiles::parse_tile("3/-2/7");
    REQUIRE(tile);
    CHECK(tile->level == 3);
    CHECK(tile->x == -2);
    CHECK(tile->y == 7);
    CHECK(tiles::parse_tile("42/4398046511103/0"));
    for (const char* bad :
         {"", "/", "1", "1/2", "1/2/", "1/2/3/", "1/2/3/4", "1/2/3 ", " 1/2/3", "+1/2/3", "a/b/c",
          "1//2", "-1/0/0", "43/0/0", "0/16/0", "0/0/-17", "3/99999999999999999999/0", "1/2/3.png"})
        CHECK_FALSE(tiles::parse_tile(bad));
}

TEST_CASE("mandelbrot: what belongs to the set is dark, what doesn't has a colour") {
    rgb inside = colour_at({.level = 0, .x = 0, .y = 0}, -0.2, 0.1); // known by formula
    CHECK(colour_at({.level = 0, .x = 0, .y = 0}, -1, 0.1) == inside);
    CHECK(colour_at({.level = 4, .x = 9, .y = 5}, -0.1225, 0.7449) ==
          inside); // found by iterating: period three
    CHECK(colour_at({.level = 0, .x = 0, .y = 0}, 1.2, 1.2) != inside);
    // The filament at -1.75 + 0.02i is seen at level 10 whether or not its tile is the one to the
    // left.
    CHECK(colour_at({.level = 10, .x = 192, .y = 506}, -1.7499, 0.02) != inside);
}

TEST_CASE("mandelbrot: the deepest level still tells its pixels apart") {
    // Around a point of the spiral at -0.7436 + 0.1318i.
    double side = std::ldexp(4.0, -tiles::deepest_level);
    tiles::tile_id tile{.level = tiles::deepest_level,
                        .x = static_cast<std::int64_t>((-0.743643887037151 + 2.5) / side),
                        .y = static_cast<std::int64_t>((2 - 0.13182590420533) / side)};
    std::vector<std::uint8_t> pixels = tiles::render(tile, {});
    std::size_t changes = 0;
    for (std::size_t i = 3; i < pixels.size(); i += 3)
        changes += pixels[i] != pixels[i - 3] || pixels[i + 1] != pixels[i - 2] ||
                   pixels[i + 2] != pixels[i - 1];
    CHECK(changes > tiles::tile_size * tiles::tile_size / 4);
}

TEST_CASE("mandelbrot: a stop request ends the work") {
    std::stop_source stop;
    stop.request_stop();
    CHECK(tiles::render({.level = 5, .x = 3, .y = 3}, stop.get_token()).empty());
}

TEST_CASE("png: libpng reads back what was written") {
    std::vector<std::uint8_t> pixels(std::size_t{3} * 5 * 4);
    for (std::size_t i = 0; i < pixels.size(); ++i)
        pixels[i] = static_cast<std::uint8_t>(i * 4);
    std::vector<std::byte> file = png::encode(pixels, 5, 4);

    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_memory(&image, file.data(), file.size()) != 0);
    CHECK(image.width == 5);
    CHECK(image.height == 4);
    image.format = PNG_FORMAT_RGB;
    std::vector<std::uint8_t> read(PNG_IMAGE_SIZE(image));
    REQUIRE(png_image_finish_read(&image, nullptr, read.data(), 0, nullptr) != 0);
    CHECK(read == pixels);
}

TEST_CASE("png: pixels that don't fill the picture are a mistake") {
    CHECK_THROWS_AS(png::encode(std::vector<std::uint8_t>(11), 2, 2), std::invalid_argument);
}
