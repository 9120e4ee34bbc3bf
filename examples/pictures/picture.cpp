// SPDX-License-Identifier: MIT
#include "picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <png.h>

namespace pictures {

namespace {

bool begins_with(std::span<const std::byte> file, std::span<const unsigned char> mark) {
    return file.size() >= mark.size() && std::memcmp(file.data(), mark.data(), mark.size()) == 0;
}

// Of rows or columns: how `out` of them come from `in`, which are more.
struct share {
    unsigned first;
    std::vector<float> weights; // that sum up to 1
};
std::vector<share> shares(unsigned in, unsigned out) {
    std::vector<share> all(out);
    const double each = static_cast<double>(in) / out;
    for (unsigned i = 0; i != out; ++i) {
        const double begin = i * each;
        const double end = std::min<double>(in, begin + each);
        all[i].first = static_cast<unsigned>(begin);
        for (unsigned k = all[i].first; k < in && k < end; ++k)
            all[i].weights.push_back(static_cast<float>(
                (std::min<double>(end, k + 1) - std::max<double>(begin, k)) / each));
    }
    return all;
}

std::uint8_t to_byte(float x) {
    return static_cast<std::uint8_t>(std::clamp(x + 0.5F, 0.0F, 255.0F));
}

} // namespace

picture decode(std::span<const std::byte> file, unsigned side) {
    if (begins_with(file, std::array<unsigned char, 3>{0xFF, 0xD8, 0xFF}))
        return decode_jpeg(file, side);
    if (begins_with(file, std::array<unsigned char, 4>{0x89, 'P', 'N', 'G'}))
        return decode_png(file);
    throw picture_error(file.empty() ? "an empty file" : "neither JPEG nor PNG");
}

picture decode_png(std::span<const std::byte> file) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0)
        throw picture_error(image.message); // libpng has freed what it had, as below
    picture p;
    p.width = p.full_width = image.width;
    p.height = p.full_height = image.height;
    image.format = PNG_FORMAT_RGB;
    try {
        if (std::uint64_t{image.width} * image.height > most_pixels)
            throw picture_error(std::to_string(image.width) + " x " + std::to_string(image.height) +
                                " pixels are too many");
        p.rgb.resize(PNG_IMAGE_SIZE(image));
    } catch (...) {
        png_image_free(&image);
        throw;
    }
    const png_color white{255, 255, 255}; // behind what is transparent
    if (png_image_finish_read(&image, &white, p.rgb.data(), 0, nullptr) == 0)
        throw picture_error(image.message);
    if (image.warning_or_error != 0)
        p.warning = image.message;
    return p;
}

picture shrink(picture p, unsigned side) {
    const unsigned longest = std::max(p.width, p.height);
    if (longest <= side)
        return p;
    auto fit = [&](unsigned n) {
        return std::max(
            1U, static_cast<unsigned>(std::lround(static_cast<double>(n) * side / longest)));
    };
    picture small;
    small.width = fit(p.width);
    small.height = fit(p.height);
    small.full_width = p.full_width;
    small.full_height = p.full_height;
    small.warning = std::move(p.warning);
    small.rgb.resize(std::size_t{3} * small.width * small.height);

    const std::vector<share> columns = shares(p.width, small.width);
    const std::vector<share> rows = shares(p.height, small.height);
    const std::size_t stride = std::size_t{3} * p.width;
    std::vector<float> sum(stride); // of a row of the small one, in the width of the large one
    for (unsigned y = 0; y != small.height; ++y) {
        std::ranges::fill(sum, 0.0F);
        for (std::size_t k = 0; k != rows[y].weights.size(); ++k) {
            const std::uint8_t* line = p.rgb.data() + stride * (rows[y].first + k);
            for (std::size_t x = 0; x != stride; ++x)
                sum[x] += rows[y].weights[k] * static_cast<float>(line[x]);
        }
        for (unsigned x = 0; x != small.width; ++x) {
            std::array<float, 3> mean{};
            for (std::size_t k = 0; k != columns[x].weights.size(); ++k)
                for (std::size_t c = 0; c != 3; ++c)
                    mean[c] += columns[x].weights[k] * sum[3 * (columns[x].first + k) + c];
            for (std::size_t c = 0; c != 3; ++c)
                small.rgb[3 * (std::size_t{y} * small.width + x) + c] = to_byte(mean[c]);
        }
    }
    return small;
}

void sharpen(picture& p, float amount) {
    const std::vector<std::uint8_t> before = p.rgb;
    const std::size_t stride = std::size_t{3} * p.width;
    for (std::size_t y = 1; y + 1 < p.height; ++y) {
        for (std::size_t i = 3; i + 3 < stride; ++i) {
            const std::uint8_t* at = before.data() + y * stride + i;
            const int around =
                at[-3] + at[3] + at[-static_cast<std::ptrdiff_t>(stride)] + at[stride];
            const float here = *at;
            p.rgb[y * stride + i] =
                to_byte(here + amount * (here - static_cast<float>(around) / 4));
        }
    }
}

} // namespace pictures
