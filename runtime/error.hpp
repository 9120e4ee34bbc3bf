// SPDX-License-Identifier: MIT
// The errors that weft throws, named after what happened. What the kernel says comes as
// std::system_error instead.
//
//     bool connected(const std::exception_ptr& e) {
//         try {
//             std::rethrow_exception(e);
//         } catch (const weft::timeout_error&) {
//             return false;               // nobody answered in time
//         } catch (const std::system_error&) {
//             return false;               // connection refused, network unreachable, ...
//         }
//     }
//
// Threads:      any. Errors carry text and numbers, never pointers into whoever threw them.
// Cancellation: is no error: frames get unwound instead. `cancelled_error` exists for places that
//               must say so, futures and blocking calls, and is not a `weft::error`, so that
//               handlers of errors leave it alone.
// Errors:       making one allocates its text.
// Cost:         that of an exception.
// Source:       the split into kinds is by who can do something about it; names follow Python's
//               where C++ has none.
#pragma once
#include <cstddef>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace weft {

/// Base of all that weft itself reports.
class error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
    ~error() override;
};

/// The call doesn't fit the state of the object: entered twice, used after its end, from the wrong
/// place.
class state_error : public error {
public:
    using error::error;
    ~state_error() override;
};

/// A deadline passed.
class timeout_error : public error {
public:
    using error::error;
    timeout_error() : error("the deadline passed") {}
    ~timeout_error() override;
};

/// The stream or channel ended where more was needed.
class eof_error : public error {
public:
    using error::error;
    ~eof_error() override;
};

/// The stream ended inside of something: says how much of it was there.
class truncated_error : public eof_error {
public:
    truncated_error(std::string partial, std::size_t expected);
    /// Where the bytes are nobody's business.
    truncated_error(std::size_t came, std::size_t expected);
    ~truncated_error() override;
    /// The bytes that came; they have been consumed.
    [[nodiscard]] const std::string& partial() const noexcept { return partial_; }
    /// How many bytes were asked for; 0 if it was a delimiter.
    [[nodiscard]] std::size_t expected() const noexcept { return expected_; }

private:
    std::string partial_;
    std::size_t expected_;
};

/// A bound that was set was reached. `consumed` tells how many bytes were looked at and are still
/// there.
class limit_error : public error {
public:
    explicit limit_error(const std::string& what, std::size_t consumed = 0)
        : error(what), consumed_(consumed) {}
    ~limit_error() override;
    [[nodiscard]] std::size_t consumed() const noexcept { return consumed_; }

private:
    std::size_t consumed_;
};

/// The peer said something that the protocol doesn't allow.
class protocol_error : public error {
public:
    using error::error;
    ~protocol_error() override;
};

/// Something that this machine or build doesn't offer; the text names the cause.
class unavailable_error : public error {
public:
    using error::error;
    ~unavailable_error() override;
};

/// The program was asked to end (SIGINT, SIGTERM). Passes through task groups as itself.
class interrupted_error : public error {
public:
    explicit interrupted_error(int signal);
    ~interrupted_error() override;
    [[nodiscard]] int signal() const noexcept { return signal_; }

private:
    int signal_;
};

/// A value with the given key or name isn't there.
class lookup_error : public error {
public:
    using error::error;
    ~lookup_error() override;
};

/// What was asked for was cancelled. Not a `weft::error`: see "Cancellation" above.
class cancelled_error : public std::exception {
public:
    cancelled_error() noexcept = default;
    ~cancelled_error() override;
    [[nodiscard]] const char* what() const noexcept override;
};

/// Several errors at once: what the children of a task group threw, in the order in which they
/// ended.
class exception_group : public error {
public:
    exception_group(std::string_view where, std::vector<std::exception_ptr> errors);
    ~exception_group() override;
    [[nodiscard]] std::span<const std::exception_ptr> errors() const noexcept { return errors_; }

    /// Whether an E is among the errors, at any depth. A group counts for what is in it, not for
    /// itself.
    template <class E>
    [[nodiscard]] bool contains() const;

private:
    static bool is_group(const std::exception_ptr& e) noexcept;
    std::vector<std::exception_ptr> errors_;
};

/// The text of any exception: what(), or the fact that it has none.
[[nodiscard]] std::string describe(const std::exception_ptr& e);

/// Throws std::system_error for a (positive) errno. `operation` and `object` become its text:
/// "connect 127.0.0.1:80: ...".
[[noreturn]] void throw_errno(int error_number, std::string_view operation,
                              std::string_view object = {});

// ------------------------------------------------------------------------------------------------

template <class E>
bool exception_group::contains() const {
    for (const std::exception_ptr& e : errors_) {
        try {
            try {
                std::rethrow_exception(e);
            } catch (
                const exception_group& inner) { // itself an error: look inside before looking at it
                if (inner.contains<E>())
                    return true;
                throw;
            }
        } catch (const E&) {
            if constexpr (!std::is_base_of_v<E, exception_group>)
                return true;
            else if (!is_group(e))
                return true;
        } catch (...) { // some other error: go on looking
        }
    }
    return false;
}

} // namespace weft
