// SPDX-License-Identifier: MIT
#include "worker_lanes.hpp"

#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>

#include <cstring>
#include <sched.h>
#include <type_traits>

namespace weft::detail {

static_assert(std::is_standard_layout_v<worker_memory>);

slot_content::slot_content(const lane_slot& s) : header(), streamed(false), block(0) {
    constexpr std::uint16_t all_marks =
        stop_was_seen | by_stream | in_a_block | brings_block | keeps_block;
    // volatile: read once, for somebody may write there who shouldn't.
    const auto& v = static_cast<const volatile lane_slot&>(s);
    const std::uint16_t kind = v.kind, marks = v.marks;
    const std::uint64_t length = v.length;
    header.task = v.task;
    streamed = (marks & by_stream) != 0;
    const bool in_block = (marks & in_a_block) != 0;
    if (in_block) {
        block = v.block;
        new_block = (marks & brings_block) != 0;
        kept_block = (marks & keeps_block) != 0;
    }
    const bool elsewhere = streamed || in_block;
    if (kind < 1 || kind > static_cast<std::uint16_t>(last_frame_kind) ||
        (marks & ~all_marks) != 0 || (!elsewhere && length > lane_slot::room) ||
        (in_block && (streamed || block == 0)))
        throw protocol_error("a pool's lane holds what is no frame");
    header.kind = static_cast<frame_kind>(kind);
    header.stop_seen = (marks & stop_was_seen) != 0 ? 1 : 0;
    header.length = length;
    if (!elsewhere)
        payload = {s.payload, static_cast<std::size_t>(length)};
}

void write_slot(lane_slot& s, frame_kind kind, std::uint64_t task, std::uint16_t marks,
                std::span<const std::byte> payload, std::uint64_t block) noexcept {
    s.kind = static_cast<std::uint16_t>(kind);
    s.marks = marks;
    s.task = task;
    s.length = payload.size();
    s.block = block;
    if ((marks & (by_stream | in_a_block)) != 0)
        return;
    WEFT_ASSERT(payload.size() <= lane_slot::room, "a message is larger than its slot");
    if (!payload.empty())
        std::memcpy(s.payload, payload.data(), payload.size());
}

ipc::shared_memory make_worker_memory() {
    return ipc::shared_memory::create_nameless(sizeof(worker_memory));
}

ipc::shared_memory open_worker_memory(descriptor d) {
    ipc::shared_memory m = ipc::shared_memory::adopt(std::move(d));
    if (m.size() < sizeof(worker_memory))
        throw protocol_error("the memory that a worker was given holds no lanes");
    return m;
}

worker_memory& lanes_in(const ipc::shared_memory& m) noexcept {
    return *reinterpret_cast<worker_memory*>(m.bytes().data()); // it is of zeros at first
}

namespace {
bool another_processor_is_there() noexcept {
    cpu_set_t given;
    return ::sched_getaffinity(0, sizeof given, &given) == 0 && CPU_COUNT(&given) > 1;
}
} // namespace

lane_lookout::lane_lookout() noexcept : possible_(another_processor_is_there()) {}

} // namespace weft::detail
