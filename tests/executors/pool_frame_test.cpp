// SPDX-License-Identifier: MIT
#include <weft/executors/impl/pool_frame.hpp>

#include <weft/executors/impl/shared_blocks.hpp>
#include <weft/executors/impl/worker_lanes.hpp>
#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <random>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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

std::size_t open_descriptors() {
    std::size_t n = 0;
    for (int fd = 0; fd != 1024; ++fd)
        n += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return n;
}

// A block's message with two descriptors.
void send_twice(int socket, std::uint64_t id) {
    struct {
        std::uint32_t magic = frame_header::right_magic, unused = 0;
        std::uint64_t id = 0, size = 4096;
    } said;
    said.id = id;
    iovec bytes{&said, sizeof said};
    alignas(cmsghdr) char room[CMSG_SPACE(2 * sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &bytes;
    m.msg_iovlen = 1;
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    const int both[2] = {socket, socket};
    std::memcpy(CMSG_DATA(c), both, sizeof both);
    REQUIRE(::sendmsg(socket, &m, 0) == static_cast<ssize_t>(sizeof said));
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
            CHECK(reinterpret_cast<std::uintptr_t>(f->payload.bytes().data()) % 16 == 0);
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

TEST_CASE("shared_blocks: large messages lie in blocks, which are used again", "[P5][P21]") {
    constexpr std::size_t mib = std::size_t{1} << 20;
    shared_blocks mine({24 * mib, 8 * mib});
    auto message = [&mine](std::size_t size) {
        ipc::archive_writer out(sizeof(frame_header), ipc::byte_buffer(mine, shared_blocks::least));
        out.write(std::vector<std::byte>(size, std::byte{7}));
        return out.take();
    };
    auto id_of = [&mine](const ipc::byte_buffer& b) { return mine.find(b.data()).id; };

    SECTION("as long as nobody has them") {
        CHECK_FALSE(message(1000).is_large());
        std::uint64_t first = 0;
        {
            ipc::byte_buffer large = message(mib);
            CHECK(large.is_large());
            first = id_of(large);
            CHECK(first != 0);
            CHECK(id_of(message(mib)) != first);
        }
        CHECK(id_of(message(mib)) == first);
        // What lies elsewhere can be moved there.
        ipc::byte_buffer small = message(1000);
        mine.adopt(small);
        CHECK_FALSE(small.is_large());
        ipc::byte_buffer elsewhere;
        std::memset(elsewhere.extend(mib), 3, mib);
        mine.adopt(elsewhere);
        CHECK(id_of(elsewhere) == first);
        CHECK(
            std::ranges::all_of(elsewhere.bytes(), [](std::byte b) { return b == std::byte{3}; }));
    }

    SECTION("within bounds, beyond which the heap does") {
        CHECK_FALSE(message(25 * mib).is_large());
        std::vector<ipc::byte_buffer> many;
        for (int i = 0; i != 6; ++i)
            many.push_back(message(6 * mib));
        CHECK(many[2].is_large());
        CHECK_FALSE(many[3].is_large());
        CHECK(mine.size() <= 24 * mib);
        many.clear();
        CHECK(mine.size() == 0); // they are too large to be kept
        for (int i = 0; i != 6; ++i)
            many.push_back(message(3 * mib));
        many.clear();
        CHECK(mine.size() > 0);
        CHECK(mine.size() <= 8 * mib);
        for (std::size_t i = 0; i != 2 * shared_blocks::most_blocks; ++i)
            many.push_back(message(shared_blocks::least));
        CHECK_FALSE(many.back().is_large());
        many.clear();

        // Those that aren't used for a while go.
        ipc::byte_buffer in_use = message(mib);
        CHECK(message(3 * mib).is_large());
        mine.drop_unused();
        CHECK(mine.size() > 3 * mib); // used since it was looked
        mine.drop_unused();
        CHECK(mine.size() < 2 * mib);
        CHECK(id_of(in_use) != 0);
    }

    SECTION("which the other end gets by a descriptor that comes once") {
        ipc::byte_buffer large = message(mib);
        const shared_blocks::place place = mine.find(large.data());
        const std::uint64_t id = place.id;
        CHECK(place.stays);
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        descriptor here(ends[0]), there(ends[1]);
        REQUIRE(send_block(here.get(), place));
        received_block came = receive_block(there.get(), id);
        CHECK(came.size == place.size);
        auto m = std::make_shared<const block_mapping>(block_mapping::of_stranger(came.fd));
        const block_mapping read_only = block_mapping::to_read(came.fd, came.size);
        mine.lend(large.data());
        large.let_go();
        {
            block_lease lease(m, m->message(mib));
            CHECK(
                std::ranges::all_of(lease.bytes(), [](std::byte b) { return b == std::byte{7}; }));
            CHECK(reinterpret_cast<std::uintptr_t>(lease.bytes().data()) % 64 == 0);
            CHECK(std::ranges::equal(lease.bytes(), read_only.message(mib)));
            CHECK(id_of(message(mib)) != id); // as long as it is read
            mine.drop_unused();
            mine.drop_unused();
            CHECK(mine.size() == place.size);
        }
        CHECK(id_of(message(mib)) == id);
        mine.drop_unused();
        mine.drop_unused();
        CHECK(m->message(1)[0] == std::byte{0}); // its pages went back although it is mapped
        CHECK_THROWS_AS(m->message(place.size), protocol_error);
        CHECK_THROWS_AS(m->message(~std::uint64_t{0}), protocol_error);

        // What isn't the block that a slot spoke of.
        std::size_t before = 0;
        auto refuses = [&](const std::function<void()>& send) {
            send();
            try {
                static_cast<void>(block_mapping::of_stranger(receive_block(there.get(), id).fd));
            } catch (const protocol_error&) {
                return open_descriptors() == before;
            }
            return false;
        };
        descriptor shrinkable(::memfd_create("weft test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        REQUIRE(::ftruncate(shrinkable.get(), 4096) == 0);
        before = open_descriptors();
        CHECK(refuses([] {})); // nothing has come
        CHECK(refuses([&] { REQUIRE(send_block(here.get(), {id, here.get(), 1, true})); }));
        CHECK(refuses([&] { REQUIRE(send_block(here.get(), {id, shrinkable.get(), 1, true})); }));
        CHECK(refuses([&] { REQUIRE(send_block(here.get(), {id + 1, here.get(), 1, true})); }));
        CHECK(refuses([&] { REQUIRE(::send(here.get(), "?", 1, 0) == 1); }));
        CHECK(refuses([&] { send_twice(here.get(), id); }));
    }
}

TEST_CASE("worker_lanes: what another process wrote into a slot is believed if it can be",
          "[P21]") {
    ipc::shared_memory memory = make_worker_memory();
    lane_slot& s = lanes_in(memory).answers[0];
    std::byte five[5] = {};
    write_slot(s, frame_kind::result, 9, stop_was_seen, five);
    const slot_content c(s);
    CHECK(c.header.task == 9);
    CHECK(c.header.stop_seen == 1);
    CHECK(c.payload.size() == 5);
    auto refuses = [&](auto change) {
        write_slot(s, frame_kind::result, 9, 0, five);
        change();
        try {
            const slot_content got(s);
            return got.header.task != 9;
        } catch (const protocol_error&) {
            return true;
        }
    };
    CHECK_FALSE(refuses([] {}));
    CHECK(refuses([&] { s.kind = 0; }));
    CHECK(refuses([&] { s.kind = 0xffff; }));
    CHECK(refuses([&] { s.marks = 0x100; }));
    CHECK(refuses([&] { s.marks = in_a_block; })); // and in none
    CHECK(refuses([&] {
        s.marks = in_a_block | by_stream;
        s.block = 64;
    }));
    CHECK(refuses([&] { s.length = lane_slot::room + 1; }));
    CHECK(refuses([&] { s.length = ~std::uint64_t{0}; }));
}

TEST_CASE("lane_lookout: what is found only after others had a long turn doesn't pay off") {
    using namespace std::chrono_literals;
    detail::lane_lookout l;
    l.saw_it_after(20us);
    CHECK(l.is_worth_it());
    for (int i = 0; i != 3; ++i)
        l.saw_it_after(4ms); // somebody had the processor who has nothing to do with it
    CHECK_FALSE(l.is_worth_it());
    l.saw_it_after(20us);
    CHECK(l.is_worth_it());
}
