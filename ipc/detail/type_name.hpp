// SPDX-License-Identifier: MIT
// The name of a type as the compiler writes it: hashed, it is the type's id in every process of the
// same program; demangled, it is for people.
//
// Threads: any. Cancellation: none. Errors: std::bad_alloc. Cost: one pass over the name. Source:
// FNV-1a; the finish is that of MurmurHash3.
#pragma once
#include <cstdint>
#include <string>

namespace weft::ipc::detail {

[[nodiscard]] constexpr std::uint64_t hash_of_name(const char* name) noexcept {
    std::uint64_t h = 0xcbf29ce484222325;
    for (; *name != 0; ++name)
        h = (h ^ static_cast<unsigned char>(*name)) * 0x100000001b3;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
    return h ^ (h >> 33);
}

[[nodiscard]] std::string readable_type_name(const char* name);

} // namespace weft::ipc::detail
