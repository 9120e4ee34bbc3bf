// SPDX-License-Identifier: MIT
// What can be given to a process when it is made besides values: descriptors, sockets, connections,
// shared memory, and shared values and arrays. They are arguments like any other, alone or inside
// of one.
//
//     struct desk {
//         weft::ipc::connection orders;
//         weft::ipc::shared_memory board;
//     };
//     void serve(desk d, weft::descriptor log);
//
//     weft::task<> open(desk d, weft::descriptor log) {
//         weft::ipc::process clerk(weft::fn<&serve>, std::move(d), log);
//         co_await clerk.start();     // this process keeps the log; the desk is the clerk's
//         co_await clerk.join();
//     }
//
// What is moved is gone from here; of what isn't, each process has one of its own. Anywhere else,
// in a message for instance, such a value is a codec_error.
//
// Threads:      as the values'.
// Cancellation: none.
// Errors:       std::system_error if no descriptor is left; state_error for a connection that is
//               closed, in use, or has read a part of a message that nobody has received yet;
//               codec_error.
// Cost:         a descriptor each while the process is being made.
// Source:       multiprocessing.reduction, at creation only.
#pragma once
#include <weft/ipc/connection.hpp>
#include <weft/ipc/shared.hpp>
#include <weft/ipc/shared_memory.hpp>
#include <weft/runtime/socket.hpp>

#include <concepts>
#include <cstdint>
#include <utility>
#include <vector>

namespace weft::ipc {

/// The descriptors that go along with an archive.
class attachments {
public:
    attachments() noexcept = default;
    explicit attachments(std::vector<descriptor> received) noexcept : list_(std::move(received)) {}

    /// Adds one and gives its place, which is what stands in the archive.
    std::uint32_t add(descriptor d);
    /// Throws codec_error if there is none, or it was taken.
    [[nodiscard]] descriptor take(std::uint32_t place);

    [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
    [[nodiscard]] const std::vector<descriptor>& list() const noexcept { return list_; }
    [[nodiscard]] std::vector<descriptor> release() noexcept { return std::move(list_); }

private:
    std::vector<descriptor> list_;
};

template <>
struct codec<descriptor> {
    static constexpr std::size_t least_size = 4;
    static void encode(archive_writer& out, const descriptor& d);
    static descriptor decode(archive_reader& in);
};

/// Streams of all kinds.
template <std::derived_from<stream_socket> S>
struct codec<S> {
    static constexpr std::size_t least_size = 4;
    static void encode(archive_writer& out, const S& s) {
        ipc::encode<descriptor>(out, s.descriptor());
    }
    static S decode(archive_reader& in) { return S(ipc::decode<descriptor>(in)); }
};

template <>
struct codec<connection> {
    static constexpr std::size_t least_size = 13;
    static void encode(archive_writer& out, const connection& c);
    static connection decode(archive_reader& in);
};

/// A block with a name keeps it.
template <>
struct codec<shared_memory> {
    static constexpr std::size_t least_size = 12;
    static void encode(archive_writer& out, const shared_memory& m);
    static shared_memory decode(archive_reader& in);
};

namespace detail {
/// Of what is nothing but a view of its memory.
template <class S>
struct memory_codec {
    static constexpr std::size_t least_size = codec<shared_memory>::least_size;
    static void encode(archive_writer& out, const S& s) {
        ipc::encode<shared_memory>(out, s.memory());
    }
    static S decode(archive_reader& in) { return S(ipc::decode<shared_memory>(in)); }
};
} // namespace detail

template <class T>
struct codec<shared<T>> : detail::memory_codec<shared<T>> {};
template <class T>
struct codec<shared_array<T>> : detail::memory_codec<shared_array<T>> {};

} // namespace weft::ipc
