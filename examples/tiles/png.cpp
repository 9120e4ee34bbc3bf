// SPDX-License-Identifier: MIT
#include "png.hpp"

#include <png.h>

#include <stdexcept>
#include <string>

namespace png {

std::vector<std::byte> encode(std::span<const std::uint8_t> rgb, unsigned width, unsigned height) {
    if (rgb.size() != std::size_t{3} * width * height)
        throw std::invalid_argument("png::encode: the pixels don't fill the picture");
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = width;
    image.height = height;
    image.format = PNG_FORMAT_RGB;
    std::vector<std::byte> file(PNG_IMAGE_PNG_SIZE_MAX(image));
    png_alloc_size_t size = file.size();
    if (png_image_write_to_memory(&image, file.data(), &size, 0, rgb.data(), 0, nullptr) == 0)
        throw std::runtime_error(std::string("png::encode: ") +
                                 image.message); // libpng has freed what it had
    file.resize(size);
    file.shrink_to_fit();
    return file;
}

} // namespace png
