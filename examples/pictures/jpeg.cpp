// SPDX-License-Identifier: MIT
#include "picture.hpp"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

namespace pictures {

namespace {

// libjpeg ends the program at an error unless its handler leaves by a jump. So what it is called
// from (read, write) has no variables with destructors, and changes none after setjmp.
struct handler {
    jpeg_error_mgr table;
    std::jmp_buf way_out;
    char warning[JMSG_LENGTH_MAX];
    char error[JMSG_LENGTH_MAX];

    jpeg_error_mgr* prepare() {
        warning[0] = error[0] = 0;
        jpeg_std_error(&table);
        table.error_exit = [](j_common_ptr c) {
            handler& h = of(c);
            h.table.format_message(c, h.error);
            std::longjmp(h.way_out, 1);
        };
        table.emit_message = [](j_common_ptr c, int level) {
            handler& h = of(c);
            if (level < 0 && h.table.num_warnings++ == 0)
                h.table.format_message(c, h.warning);
        };
        return &table;
    }
    // It is the first member.
    static handler& of(j_common_ptr c) { return *reinterpret_cast<handler*>(c->err); }
};

struct reader {
    handler errors;
    jpeg_decompress_struct codec;

    reader() : codec() { codec.err = errors.prepare(); }
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;
    ~reader() { jpeg_destroy_decompress(&codec); }
};

bool read(reader& r, std::span<const std::byte> file, unsigned side, picture& p) {
    if (setjmp(r.errors.way_out) != 0)
        return false;
    jpeg_decompress_struct& c = r.codec;
    jpeg_create_decompress(&c);
    jpeg_mem_src(&c, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    jpeg_read_header(&c, TRUE);
    p.full_width = c.image_width;
    p.full_height = c.image_height;
    c.scale_num = 1;
    c.scale_denom = 1;
    while (c.scale_denom < 8 &&
           std::min(c.image_width, c.image_height) / (2 * c.scale_denom) >= 2 * side)
        c.scale_denom *= 2;
    // What printers use can be turned into light only here.
    c.out_color_space = c.num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_calc_output_dimensions(&c);
    if (std::uint64_t{c.output_width} * c.output_height > most_pixels) {
        std::snprintf(r.errors.error, sizeof r.errors.error, "%u x %u pixels are too many",
                      c.image_width, c.image_height);
        return false;
    }
    jpeg_start_decompress(&c);
    p.width = c.output_width;
    p.height = c.output_height;
    const std::size_t components = static_cast<std::size_t>(c.output_components);
    p.rgb.resize(components * p.width * p.height);
    while (c.output_scanline < c.output_height) {
        JSAMPROW row = p.rgb.data() + components * p.width * c.output_scanline;
        jpeg_read_scanlines(&c, &row, 1);
    }
    jpeg_finish_decompress(&c);
    return true;
}

// As Photoshop writes it: 255 is no ink.
void from_cmyk(picture& p) {
    const std::size_t n = std::size_t{p.width} * p.height;
    for (std::size_t i = 0; i != n; ++i) {
        const std::uint8_t* cmyk = p.rgb.data() + 4 * i;
        const unsigned key = cmyk[3];
        for (std::size_t j = 0; j != 3; ++j)
            p.rgb[3 * i + j] = static_cast<std::uint8_t>(cmyk[j] * key / 255);
    }
    p.rgb.resize(3 * n);
}

struct writer {
    handler errors;
    jpeg_compress_struct codec;
    unsigned char* file = nullptr;
    unsigned long size = 0;

    writer() : codec() { codec.err = errors.prepare(); }
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;
    ~writer() {
        jpeg_destroy_compress(&codec);
        std::free(file);
    }
};

bool write(writer& w, const picture& p, int quality) {
    if (setjmp(w.errors.way_out) != 0)
        return false;
    jpeg_compress_struct& c = w.codec;
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &w.file, &w.size);
    c.image_width = p.width;
    c.image_height = p.height;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        auto* row = const_cast<JSAMPROW>(p.rgb.data() + std::size_t{3} * p.width * c.next_scanline);
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    return true;
}

} // namespace

picture decode_jpeg(std::span<const std::byte> file, unsigned side) {
    reader r;
    picture p;
    if (!read(r, file, side, p))
        throw picture_error(r.errors.error);
    if (r.codec.out_color_space == JCS_CMYK)
        from_cmyk(p);
    p.warning = r.errors.warning;
    return p;
}

std::vector<std::byte> encode_jpeg(const picture& p, int quality) {
    writer w;
    if (!write(w, p, quality))
        throw picture_error(w.errors.error);
    auto bytes = std::as_bytes(std::span(w.file, w.size));
    return {bytes.begin(), bytes.end()};
}

} // namespace pictures
