// SPDX-License-Identifier: MIT
// Memory that isolates and the program have in common: an argument that isn't copied.
//
//     void brighten(const weft::isolate_buffer& picture) {
//         for (std::uint8_t& p : picture.as<std::uint8_t>())
//             p = static_cast<std::uint8_t>(p / 2 + 128);
//     }
//     weft::task<int> edit(weft::isolate& iso) {
//         weft::isolate_buffer picture(1920 * 1080);
//         co_await iso.call(weft::fn<&brighten>, picture);
//         co_return picture.as<std::uint8_t>()[0];         // 128
//     }
//
// Who writes when is for those who share it to agree upon. It must be kept until the call that it
// is given to has begun; see isolate_queue.hpp.
//
// Threads:      as any memory's.
// Cancellation: none; nothing here waits.
// Errors:       those of ipc/shared_memory.hpp; isolate_error in the call, as in isolate_queue.hpp.
// Cost:         its pages; three system calls where it arrives.
// Source:       memoryview, as concurrent.interpreters shares it.
#pragma once
#include <weft/executors/detail/memory_place.hpp>
#include <weft/ipc/codec.hpp>

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

namespace weft {

class isolate_buffer {
public:
    /// Makes one, of zeros.
    explicit isolate_buffer(std::size_t size)
        : memory_(ipc::shared_memory::create_nameless(size)) {}
    /// The one that another process has made.
    explicit isolate_buffer(ipc::shared_memory m) noexcept : memory_(std::move(m)) {}

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return memory_.bytes(); }
    /// As many elements as fit.
    template <class T>
        requires std::is_trivially_copyable_v<T> && (!std::is_pointer_v<T>)
    [[nodiscard]] std::span<T> as() const noexcept {
        return {reinterpret_cast<T*>(memory_.bytes().data()), memory_.size() / sizeof(T)};
    }
    [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }

    [[nodiscard]] const ipc::shared_memory& memory() const noexcept { return memory_; }

private:
    ipc::shared_memory memory_;
};

template <>
struct ipc::codec<isolate_buffer> {
    static constexpr std::size_t least_size = sizeof(weft::detail::memory_place);
    static void encode(archive_writer& out, const isolate_buffer& b) {
        out.write_value(weft::detail::place_of(b.memory()));
    }
    static isolate_buffer decode(archive_reader& in) {
        auto place = in.read_value<weft::detail::memory_place>();
        return isolate_buffer(weft::detail::memory_at(place));
    }
};

} // namespace weft
