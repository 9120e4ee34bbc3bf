// SPDX-License-Identifier: MIT
// WEFT_ASSERT: checks an invariant of weft, in every build, and ends the program with a message if
// it is broken.
//
//     void release(unsigned& holders) {
//         WEFT_ASSERT(holders != 0, "released more often than acquired");
//         --holders;
//     }
//
// Threads:      any. Cancellation: none. Errors: none; a broken invariant aborts.
// Cost:         one predicted branch. Source: TigerBeetle's rule that assertions stay on in
//               release.
#pragma once

namespace weft::detail {
[[noreturn]] void assertion_failed(const char* condition, const char* message, const char* file,
                                   unsigned line) noexcept;
}

#define WEFT_ASSERT(condition, message)                                                            \
    (static_cast<bool>(condition)                                                                  \
         ? static_cast<void>(0)                                                                    \
         : ::weft::detail::assertion_failed(#condition, message, __FILE__,                         \
                                            static_cast<unsigned>(__LINE__)))
