// SPDX-License-Identifier: MIT
#include <weft/executors/impl/pool_frame.hpp>

#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <random>

namespace {

using namespace weft;
using namespace weft::detail;

std::vector<std::byte> frame_of(std::size_t size, std::uint64_t task) {
    ipc::archive_writer out(sizeof(frame_header));
    std::vector<std::byte> payload(size);
    for (std::size_t i = 0; i != size; ++i)
        payload[i] = static_cast<std::byte>(i + task);
    out.write(payload);
    ipc::byte_buffer message = out.take();
    finish_frame(message, frame_kind::task, task, task % 2 == 1);
    return {message.bytes().begin(), message.bytes().end()};
}

bool is_frame_of(const frame& f, std::size_t size, std::uint64_t task) {
    auto bytes = f.payload.bytes();
    for (std::size_t i = 0; i != bytes.size(); ++i)
        if (bytes[i] != static_cast<std::byte>(i + task))
            return false;
    return bytes.size() == size && f.header.task == task && f.header.stop_seen == task % 2 &&
           f.header.kind == frame_kind::task;
}

} // namespace

TEST_CASE("frame_assembler: frames come out whole, however the bytes are cut", "[P14]") {
    const unsigned seed = std::random_device()();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::size_t sizes[] = {0, 1, 31, 32, 5000, 16 * 1024, 16 * 1024 + 1, 70'000, 1'000'000};
    std::vector<std::size_t> sent;
    std::vector<std::byte> stream;
    for (int i = 0; i != 60; ++i) {
        sent.push_back(sizes[random() % std::size(sizes)]);
        auto f = frame_of(sent.back(), static_cast<std::uint64_t>(i));
        stream.insert(stream.end(), f.begin(), f.end());
    }

    frame_assembler in;
    std::size_t at = 0;
    std::uint64_t taken = 0;
    while (at != stream.size()) {
        auto room = in.space();
        REQUIRE(!room.empty());
        std::size_t most = random() % 3 == 0 ? 1 + random() % 40 : room.size();
        std::size_t n = std::min({room.size(), most, stream.size() - at});
        std::memcpy(room.data(), stream.data() + at, n);
        at += n;
        in.commit(n);
        while (auto f = in.take()) {
            REQUIRE(is_frame_of(*f, sent[taken], taken));
            // What lies aligned in the payload is aligned in memory.
            CHECK(reinterpret_cast<std::uintptr_t>(f->payload.data()) % 16 == 0);
            ++taken;
        }
    }
    CHECK(taken == sent.size());
    CHECK(in.at_boundary());
}

TEST_CASE("frame_assembler: knows whether the stream ends inside of a frame", "[P14]") {
    frame_assembler in;
    CHECK(in.at_boundary());
    auto f = frame_of(10, 1);
    for (std::size_t i = 0; i != f.size(); ++i) {
        in.space()[0] = f[i];
        in.commit(1);
        CHECK(in.take().has_value() == (i + 1 == f.size()));
        CHECK(in.at_boundary() == (i + 1 == f.size()));
    }
}

TEST_CASE("frame_assembler: memory follows the bytes, not the claim", "[P5]") {
    frame_header h;
    h.kind = frame_kind::result;
    h.length = std::uint64_t{1} << 50;
    frame_assembler in;
    std::memcpy(in.space().data(), &h, sizeof h);
    in.commit(sizeof h);
    CHECK_FALSE(in.take());
    std::size_t received = 0;
    while (received < 1'000'000) {
        auto room = in.space();
        REQUIRE(room.size() <= std::max<std::size_t>(received, 64 * 1024));
        std::memset(room.data(), 1, room.size());
        in.commit(room.size());
        received += room.size();
        CHECK_FALSE(in.take());
    }
}

TEST_CASE("frame_assembler: bytes that are no frame are protocol_error") {
    auto refuses = [](auto change) {
        frame_header h;
        change(h);
        frame_assembler in;
        std::memcpy(in.space().data(), &h, sizeof h);
        in.commit(sizeof h);
        try {
            return !in.take();
        } catch (const protocol_error&) {
            return true;
        }
    };
    CHECK_FALSE(refuses([](frame_header&) {}));
    CHECK(refuses([](frame_header& h) { h.magic = 1; }));
    CHECK(refuses([](frame_header& h) { h.kind = static_cast<frame_kind>(0); }));
    CHECK(refuses([](frame_header& h) {
        h.kind = static_cast<frame_kind>(static_cast<int>(last_frame_kind) + 1);
    }));
    CHECK(refuses([](frame_header& h) { h.stop_seen = 2; }));
    CHECK(refuses([](frame_header& h) { h.unused = 1; }));
}
