// SPDX-License-Identifier: MIT
#include "mandelbrot.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>

namespace tiles {
namespace {

/// Linear light, so that samples can be averaged.
struct colour {
    float r = 0, g = 0, b = 0;

    friend bool operator==(colour, colour) noexcept = default;
    friend colour operator+(colour x, colour y) noexcept {
        return {x.r + y.r, x.g + y.g, x.b + y.b};
    }
    friend colour operator*(colour c, float f) noexcept { return {c.r * f, c.g * f, c.b * f}; }
};

std::uint8_t byte_of(float linear) noexcept {
    return static_cast<std::uint8_t>(
        std::lround(std::sqrt(std::clamp(linear, 0.0F, 1.0F)) * 255.0F)); // gamma 2
}

/// A cycle of colours: night, sea, ivory, amber, wine, and night again.
const std::array<colour, 1024> palette = [] {
    constexpr unsigned stops[] = {0x061440, 0x0f5e9c, 0x8fd3e8, 0xfdf6dc,
                                  0xf6a823, 0xb8322a, 0x43103f};
    auto stop_at = [&](std::size_t i) {
        unsigned rgb = stops[i % std::size(stops)];
        auto linear = [](unsigned byte) {
            return std::pow(static_cast<float>(byte & 0xff) / 255.0F, 2.0F);
        };
        return colour{linear(rgb >> 16), linear(rgb >> 8), linear(rgb)};
    };
    std::array<colour, 1024> table;
    for (std::size_t i = 0; i < table.size(); ++i) {
        float at = static_cast<float>(i * std::size(stops)) / static_cast<float>(table.size());
        auto whole = static_cast<std::size_t>(at);
        float part =
            0.5F - 0.5F * std::cos((at - static_cast<float>(whole)) * std::numbers::pi_v<float>);
        table[i] = stop_at(whole) * (1 - part) + stop_at(whole + 1) * part;
    }
    return table;
}();

constexpr colour inside{0.0025F, 0.003F, 0.008F};
constexpr colour unknown{-1, -1, -1};

/// The colour of one point. `pixel` is the width of a pixel: what is nearer to the set than that
/// gets dark.
colour sample(double cr, double ci, double pixel, int limit) noexcept {
    // The two largest pieces of the set have names and formulas.
    double ci2 = ci * ci;
    double q = (cr - 0.25) * (cr - 0.25) + ci2;
    if (q * (q + (cr - 0.25)) <= 0.25 * ci2 || (cr + 1) * (cr + 1) + ci2 <= 0.0625)
        return inside;

    double zr = 0, zi = 0, dr = 0, di = 0; // z, and its derivative by c
    double seen_r = 0, seen_i = 0;         // an earlier z: who comes back to it never leaves
    double size = 0;
    int n = 0;
    for (int look_again = 16; size <= 1e4; ++n) {
        if (n == limit)
            return inside;
        double next_dr = 2 * (zr * dr - zi * di) + 1;
        di = 2 * (zr * di + zi * dr);
        dr = next_dr;
        double next_zr = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = next_zr;
        size = zr * zr + zi * zi;
        if (zr == seen_r && zi == seen_i)
            return inside;
        if (n == look_again) {
            seen_r = zr;
            seen_i = zi;
            look_again *= 2;
        }
    }
    double log_size = std::log(size); // of |z| squared
    double count = n + 1 - std::log2(log_size / std::log(4.0));
    double slope = std::sqrt(dr * dr + di * di);
    if (!(slope > 0 && slope < 1e150)) // as near to the set as doubles can tell
        return inside;
    double distance = 0.5 * std::sqrt(size) * log_size / slope; // to the set, about

    // Light from the upper left on a relief whose contours are the equipotential lines.
    double ur = (zr * dr + zi * di) / (std::sqrt(size) * slope),
           ui = (zi * dr - zr * di) / (std::sqrt(size) * slope);
    auto light = static_cast<float>((-0.6 * ur + 0.8 * ui + 1.6) / 2.6);
    auto edge = static_cast<float>(std::min(1.0, std::sqrt(distance / pixel)));

    double turns = 0.18 * std::sqrt(std::max(count, 0.0)) + 0.78; // far away it is night
    auto place =
        static_cast<std::size_t>((turns - std::floor(turns)) * static_cast<double>(palette.size()));
    return palette[place % palette.size()] * (light * edge);
}

float contrast(colour a, colour b) noexcept {
    auto differ = [](float x, float y) { return std::abs(std::sqrt(x) - std::sqrt(y)); };
    return std::max({differ(a.r, b.r), differ(a.g, b.g), differ(a.b, b.b)});
}

/// One sample for each pixel, and more where it matters.
class picture {
public:
    /// One more on each side than the tile has, so that contrast has no seams.
    static constexpr std::size_t grid = tile_size + 2;

    explicit picture(const tile_id& t)
        : left_(-2.5 + static_cast<double>(t.x) * std::ldexp(4.0, -t.level)),
          top_(2 - static_cast<double>(t.y) * std::ldexp(4.0, -t.level)),
          step_(std::ldexp(4.0, -t.level) / tile_size), limit_(400 + 120 * t.level),
          points_(grid * grid, unknown) {}

    /// Samples a box, given by its corners. The set has no holes: where all of a box's border
    /// belongs to it, the box does.
    void fill(std::size_t x0, std::size_t y0, std::size_t x1, std::size_t y1,
              const std::stop_token& stop) {
        if (stop.stop_requested())
            return;
        bool dark = true;
        auto look = [&](std::size_t x, std::size_t y) { // also at the rest, once it isn't dark
            if (point(x, y) != inside)
                dark = false;
        };
        for (std::size_t x = x0; x <= x1; ++x) {
            look(x, y0);
            look(x, y1);
        }
        for (std::size_t y = y0; y <= y1; ++y) {
            look(x0, y);
            look(x1, y);
        }
        if (dark || x1 - x0 <= 8) {
            for (std::size_t y = y0 + 1; y < y1; ++y)
                for (std::size_t x = x0 + 1; x < x1; ++x)
                    if (dark)
                        points_[y * grid + x] = inside;
                    else
                        point(x, y);
            return;
        }
        std::size_t x = (x0 + x1) / 2, y = (y0 + y1) / 2;
        fill(x0, y0, x, y, stop);
        fill(x, y0, x1, y, stop);
        fill(x0, y, x, y1, stop);
        fill(x, y, x1, y1, stop);
    }

    /// The mean of several samples, if its neighbours look different. Only after fill().
    [[nodiscard]] colour pixel(std::size_t x, std::size_t y) const noexcept {
        const colour* here = &points_[y * grid + x];
        float sharp = std::max({contrast(*here, here[-1]), contrast(*here, here[1]),
                                contrast(*here, *(here - grid)), contrast(*here, here[grid])});
        if (sharp <= 0.06F)
            return *here;
        auto column = static_cast<double>(x),
             row = static_cast<double>(y); // four more, on a turned square
        return (at(column - 0.375, row - 0.125) + at(column + 0.125, row - 0.375) +
                at(column + 0.375, row + 0.125) + at(column - 0.125, row + 0.375)) *
               0.25F;
    }

private:
    [[nodiscard]] colour at(double column, double row) const noexcept {
        return sample(left_ + (column - 0.5) * step_, top_ - (row - 0.5) * step_, step_, limit_);
    }
    colour point(std::size_t x, std::size_t y) noexcept {
        colour& c = points_[y * grid + x];
        if (c == unknown)
            c = at(static_cast<double>(x), static_cast<double>(y));
        return c;
    }

    double left_, top_, step_;
    int limit_;
    std::vector<colour> points_;
};

} // namespace

std::optional<tile_id> parse_tile(std::string_view text) noexcept {
    tile_id t;
    const char* end = text.data() + text.size();
    auto number = [&, at = text.data()](auto& n, bool last) mutable {
        auto [stopped_at, error] = std::from_chars(at, end, n);
        bool good = error == std::errc() &&
                    (last ? stopped_at == end : stopped_at != end && *stopped_at == '/');
        at = stopped_at + 1;
        return good;
    };
    if (!number(t.level, false) || !number(t.x, false) || !number(t.y, true))
        return {};
    if (t.level < 0 || t.level > deepest_level)
        return {};
    std::int64_t across = std::int64_t{1} << t.level,
                 far = 16 * across; // room around the set for any screen
    if (t.x < -far || t.x >= far || t.y < -far || t.y >= far)
        return {};
    return t;
}

std::vector<std::uint8_t> render(const tile_id& tile, const std::stop_token& stop) {
    picture p(tile);
    p.fill(0, 0, picture::grid - 1, picture::grid - 1, stop);
    std::vector<std::uint8_t> rgb;
    rgb.reserve(std::size_t{3} * tile_size * tile_size);
    for (std::size_t y = 1; y <= tile_size; ++y) {
        if (stop.stop_requested())
            return {};
        for (std::size_t x = 1; x <= tile_size; ++x) {
            colour c = p.pixel(x, y);
            rgb.insert(rgb.end(), {byte_of(c.r), byte_of(c.g), byte_of(c.b)});
        }
    }
    return rgb;
}

} // namespace tiles
