// SPDX-License-Identifier: MIT
// A list of a fixed length in shared memory, byte for byte Python's ShareableList: of None, bools,
// ints, floats, strs and bytes, each of which can be replaced by another one that fits.
//
//     std::string hand_to_python() {
//         using item = weft::ipc::shareable_list::item;
//         const item items[] = {std::int64_t{1}, std::string("ab"), std::monostate()};
//         auto l = weft::ipc::shareable_list::create(items);
//         l.set(0, 2.5);                                      // any number fits, None too
//         l.set(-2, std::string("longer"));                   // up to 8 bytes, where 2 were
//         return l.memory().name();                           // for ShareableList(name=...)
//     }
//
// Threads:      as a value's. Who shares the list agrees on who writes when: an item that is read
//               while somebody writes it may be a mixture, or a codec_error. Processes: as
//               shared_memory.hpp says.
// Cancellation: none; nothing here waits.
// Errors:       std::out_of_range for a place that isn't there; std::invalid_argument for a text
//               that is too long for its place; lookup_error if index() finds nothing; codec_error
//               for memory that holds no such list, or an item that is none. As shared_memory.hpp.
// Cost:         an item is read in place and copied out; eight bytes for each are kept here.
// Source:       multiprocessing.shared_memory.ShareableList of Python 3.11 and later.
#pragma once
#include <weft/ipc/shared_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weft::ipc {

class shareable_list {
public:
    /// None is std::monostate, bytes are a vector. Null bytes at the end of a text are lost.
    using item = std::variant<std::monostate, bool, std::int64_t, double, std::string,
                              std::vector<std::byte>>;

    /// In new shared memory, with a name that is new.
    [[nodiscard]] static shareable_list create(std::span<const item> items);
    /// Or with this one.
    [[nodiscard]] static shareable_list create(std::span<const item> items, std::string_view name);
    /// One that somebody else has made.
    [[nodiscard]] static shareable_list open(std::string_view name);
    /// One that is there in memory which was opened otherwise.
    explicit shareable_list(shared_memory m);
    /// Writes one there. Throws std::invalid_argument if it is too small; size_of says how large it
    /// must be.
    shareable_list(shared_memory m, std::span<const item> items);
    [[nodiscard]] static std::size_t size_of(std::span<const item> items) noexcept;

    [[nodiscard]] std::size_t size() const noexcept { return offsets_.size() - 1; }
    /// Negative places count from the end.
    [[nodiscard]] item get(std::ptrdiff_t place) const;
    void set(std::ptrdiff_t place, const item& value);
    /// How often it is there; an int and a float are never the same.
    [[nodiscard]] std::size_t count(const item& value) const;
    /// Where it is first.
    [[nodiscard]] std::size_t index(const item& value) const;
    /// All of them, copied.
    [[nodiscard]] std::vector<item> items() const;
    /// How Python's struct module calls what is in each place, one behind the other.
    [[nodiscard]] std::string format() const;

    [[nodiscard]] shared_memory& memory() noexcept { return memory_; }
    [[nodiscard]] const shared_memory& memory() const noexcept { return memory_; }

private:
    struct slot;
    [[nodiscard]] slot at(std::ptrdiff_t place) const;

    shared_memory memory_;
    // Read once and checked: what stands in the memory may change.
    std::vector<std::size_t> offsets_; // of each item within the data, and its end
};

} // namespace weft::ipc
