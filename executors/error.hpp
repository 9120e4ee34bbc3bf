// SPDX-License-Identifier: MIT
// What executors say when they can't go on. Their futures also throw cancelled_error,
// timeout_error and state_error (see runtime/error.hpp), and what the work threw.
//
//     bool worth_another_pool(const std::exception_ptr& e) {
//         try {
//             std::rethrow_exception(e);
//         } catch (const weft::broken_executor&) {
//             return true;                    // whichever kind of executor it was
//         } catch (...) {
//             return false;
//         }
//     }
//
// Threads:      any. Errors carry text, never pointers into whoever threw them.
// Cancellation: none of these.
// Errors:       making one allocates its text.
// Cost:         that of an exception.
// Source:       concurrent.futures' tree of errors.
#pragma once
#include <weft/runtime/error.hpp>

namespace weft {

/// Something on which all work of the executor depends has failed, so it takes no more.
class broken_executor : public error {
public:
    using error::error;
    ~broken_executor() override;
};

/// A thread pool's initialiser threw.
class broken_thread_pool : public broken_executor {
public:
    using broken_executor::broken_executor;
    ~broken_thread_pool() override;
};

/// A process pool gave up: its workers die or don't come up, the initialiser threw, or one worker
/// died and the pool was told that all its work ends with that. The text says which.
class broken_process_pool : public broken_executor {
public:
    using broken_executor::broken_executor;
    ~broken_process_pool() override;
};

} // namespace weft
