// SPDX-License-Identifier: MIT
// Input: how many bytes come at a time, and a stream. What the machine makes of it is compared with
// what a second reader says, which looks at the stream as a whole.
#include "fuzz/targets.hpp"

#include <weft/ipc/impl/frame.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <optional>

namespace weft::fuzz {

namespace {

constexpr std::size_t most_ahead = 64 * 1024;

std::uint64_t number(bytes b) {
    std::uint64_t n = 0;
    for (std::byte d : b)
        n = n << 8 | static_cast<std::uint64_t>(d);
    return n;
}

struct message {
    std::size_t header = 0; // its length in bytes
    std::uint64_t length = 0;
    bool bad = false;
};

// The message that a stream begins with; nothing if its header isn't complete.
std::optional<message> first_of(bytes stream) {
    if (stream.size() < 4)
        return std::nullopt;
    std::uint64_t n = number(stream.first(4));
    if (n < 0x80000000)
        return message{4, n, false};
    if (n != 0xffffffff)
        return message{4, 0, true};
    if (stream.size() < 12)
        return std::nullopt;
    n = number(stream.subspan(4, 8));
    return message{12, n, false}; // a limit is the business of who reads on
}

// Through the buffer that takes what has come beyond a message as well.
void read_ahead(bytes stream, std::size_t piece) {
    constexpr std::uint64_t limit = 1000;
    ipc::detail::frame_reader reader;
    ipc::detail::bytes_ahead ahead;
    std::size_t came = 0;
    while (true) {
        ahead.feed(reader, limit);
        auto expected = first_of(stream);
        if (reader.bad() || reader.length().value_or(0) > limit) {
            must(expected && (expected->bad || expected->length > limit), "a message was refused");
            return;
        }
        if (reader.complete()) {
            std::size_t whole = reader.came();
            ipc::byte_buffer got = reader.take();
            must(expected && whole == expected->header + expected->length &&
                     std::ranges::equal(got.bytes(), stream.subspan(expected->header, got.size())),
                 "another message, ahead");
            stream = stream.subspan(whole);
            came -= whole;
            continue;
        }
        must(ahead.empty(), "a part of the message was left");
        if (came == stream.size()) {
            must(!expected || expected->length > stream.size() - expected->header,
                 "a message that is there was not seen, ahead");
            return;
        }
        auto room = ahead.space();
        std::size_t n = std::min({piece, room.size(), stream.size() - came});
        std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(came), n, room.begin());
        ahead.commit(n);
        came += n;
    }
}

} // namespace

void frame(bytes input) {
    source in(input);
    std::size_t piece = in.byte() + 1;
    bytes stream = in.rest();
    read_ahead(stream, piece);
    ipc::detail::frame_reader reader;
    while (!stream.empty()) {
        auto expected = first_of(stream);
        std::size_t came = 0;
        while (came != stream.size() && !reader.complete() && !reader.bad()) {
            auto room = reader.space();
            must(!room.empty(), "no room for the rest of a message");
            must(room.size() <= std::max(most_ahead, reader.filled()) + 64,
                 "more room than what has come deserves");
            std::size_t n = std::min({piece, room.size(), stream.size() - came});
            std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(came), n, room.begin());
            reader.commit(n);
            came += n;
            must(reader.came() == came, "came() is not what came");
        }
        must(reader.bad() == (expected && expected->bad),
             "a bad length was taken, or a good one not");
        if (reader.bad()) {
            try {
                reader.check();
            } catch (const weft::error&) {
                return;
            }
            must(false, "check() says nothing of a bad length");
        }
        if (!reader.complete()) {
            must(!expected || expected->length > stream.size() - expected->header,
                 "a message that is there was not seen");
            return;
        }
        must(expected && came == expected->header + expected->length,
             "the next message was touched");
        ipc::byte_buffer got = reader.take();
        must(std::ranges::equal(got.bytes(), stream.subspan(expected->header, got.size())),
             "another message");
        // Written again it's the shorter form of the same.
        ipc::detail::frame_header again(got.size());
        auto back = first_of(again.bytes());
        must(back && back->length == got.size() && back->header == again.bytes().size(),
             "its own header isn't understood");
        stream = stream.subspan(came);
    }
}

} // namespace weft::fuzz
