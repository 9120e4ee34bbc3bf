// SPDX-License-Identifier: MIT
// What streams of bytes have in common, as concepts, and what can be done with any of them.
//
//     template <weft::byte_reader R, weft::byte_writer W>
//     weft::task<> greet(R& in, W& out) {
//         std::byte name[4];
//         co_await weft::read_exactly(in, name);
//         co_await weft::write_all(out, weft::as_bytes("hello, "));
//         co_await weft::write_all(out, name);
//     }
//
// Threads:      as the streams'.
// Cancellation: as the streams'. What was stopped in write_all, read_exactly or copy has moved a
//               part of the bytes, and nobody knows which: close it, or use buffered_stream.hpp.
// Errors:       as the streams'. truncated_error if the end comes within read_exactly: it has what
//               came before.
// Cost:         write_all is the stream's own where it has one; the others are a task. A copy
//               within the kernel keeps one of its threads busy while it moves data.
// Source:       the split in readers and writers follows Go's io.
#pragma once
#include <weft/runtime/awaitable.hpp>
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/error.hpp>

#include <concepts>
#include <cstdint>
#include <span>

namespace weft {

/// `co_await r.read_some(into)` gives how many bytes it has put into `into`: one at least, or 0 at
/// the end of the stream (or if there is room for none).
template <class R>
concept byte_reader = requires(R& r, std::span<std::byte> into) {
    { r.read_some(into) } -> awaitable;
    requires std::same_as<task_result_t<decltype(r.read_some(into))>, std::size_t>;
};

/// `co_await w.write_some(from)` gives how many bytes of `from` it has taken: one at least, unless
/// there are none.
template <class W>
concept byte_writer = requires(W& w, std::span<const std::byte> from) {
    { w.write_some(from) } -> awaitable;
    requires std::same_as<task_result_t<decltype(w.write_some(from))>, std::size_t>;
};

namespace detail {

template <class W>
concept writes_all = requires(W& w, std::span<const std::byte> from) {
    { w.write_all(from) } -> awaitable;
};

template <class W>
concept gathers = byte_writer<W> && requires(W& w, std::span<const const_buffer> parts) {
    { w.write_some(parts) } -> awaitable;
};

template <byte_writer W>
task<> write_all(W& w, std::span<const std::byte> bytes) {
    while (!bytes.empty())
        bytes = bytes.subspan(co_await w.write_some(bytes));
}

} // namespace detail

/// Writes all of the bytes.
template <byte_writer W>
[[nodiscard]] auto write_all(W& w, std::span<const std::byte> bytes) {
    if constexpr (detail::writes_all<W>)
        return w.write_all(bytes);
    else
        return detail::write_all(w, bytes);
}

/// Writes all of several pieces, in as few goes as the stream takes.
template <detail::gathers W>
[[nodiscard]] task<> write_all(W& w, std::span<const const_buffer> parts) {
    constexpr std::size_t at_once = 1024;
    std::size_t taken = 0; // of the first one
    while (true) {
        while (!parts.empty() && parts.front().size() == taken) {
            parts = parts.subspan(1);
            taken = 0;
        }
        if (parts.empty())
            co_return;
        if (taken != 0) { // its rest alone, so that the list stays the caller's
            taken += co_await w.write_some(parts.front().bytes().subspan(taken));
            continue;
        }
        std::size_t count = parts.size() < at_once ? parts.size() : at_once;
        std::size_t n = co_await w.write_some(parts.first(count));
        while (n != 0 && n >= parts.front().size()) {
            n -= parts.front().size();
            parts = parts.subspan(1);
        }
        taken = n;
    }
}

/// Fills `into`. The end of the stream before that is a truncated_error.
template <byte_reader R>
[[nodiscard]] task<> read_exactly(R& r, std::span<std::byte> into) {
    std::size_t have = 0;
    while (have < into.size()) {
        std::size_t n = co_await r.read_some(into.subspan(have));
        if (n == 0)
            throw truncated_error(std::string(as_text(into.first(have))), into.size());
        have += n;
    }
}

// --- Copying -------------------------------------------------------------------------------------

namespace detail {

template <class S>
concept has_descriptor = requires(const S& s) {
    { s.fd() } noexcept -> std::same_as<int>;
};

// What became of a copy within the kernel: how much it moved, and, if it couldn't go on, what it
// had taken from one side and not given to the other.
class spliced {
public:
    spliced() noexcept = default;
    std::uint64_t bytes = 0;
    bool at_end = false;
    std::string rest;
};
task<spliced> splice_all(int from, int to);

} // namespace detail

/// Reads to the end of `from`, and writes all of it to `to`. Gives how many bytes that were.
/// Between descriptors the bytes stay in the kernel, if it can do that for these two (splice).
template <byte_reader R, byte_writer W>
[[nodiscard]] task<std::uint64_t> copy(R& from, W& to) {
    std::uint64_t bytes = 0;
    if constexpr (detail::has_descriptor<R> && detail::has_descriptor<W>) {
        detail::spliced s = co_await detail::splice_all(from.fd(), to.fd());
        co_await weft::write_all(to, as_bytes(s.rest));
        bytes = s.bytes + s.rest.size();
        if (s.at_end)
            co_return bytes;
    }
    std::string buffer(std::size_t{64} * 1024, '\0');
    auto room = std::as_writable_bytes(std::span(buffer));
    while (std::size_t n = co_await from.read_some(room)) {
        co_await weft::write_all(to, room.first(n));
        bytes += n;
    }
    co_return bytes;
}

} // namespace weft
