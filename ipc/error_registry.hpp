// SPDX-License-Identifier: MIT
// Exceptions that cross to another process and come out there as what they were. The standard
// library's and weft's own are known; a program adds its own once, before main, so that every
// process of it knows them:
//
//     struct no_such_tile : std::runtime_error {
//         using std::runtime_error::runtime_error;
//     };
//     const bool known = weft::ipc::register_error<no_such_tile>();
//
// Any other type arrives as remote_error, with its name and text. What was nested inside of an
// error (std::throw_with_nested) is nested inside of it again, 16 deep at most. One that is known
// carries a remote_error with the trace inside of it, behind those, where the trace could be had.
//
// A std::exception_ptr and a std::error_code are values that travel as well (codec.hpp).
//
// What is known can also be copied, so that each of several who ask for a result gets an exception
// that nobody else changes.
//
// Threads:      any.
// Cancellation: none.
// Errors:       registering throws std::bad_alloc only. Encoding never fails: what can't be told
//               becomes a remote_error.
// Cost:         a look into a table by name, and the texts.
// Source:       none.
#pragma once
#include <weft/ipc/codec.hpp>

#include <exception>
#include <stdexcept>
#include <type_traits>
#include <typeinfo>

namespace weft::ipc {

/// An exception type that both sides know.
class error_entry {
public:
    /// Called in the handler of the exception, which it finds by rethrowing.
    using encode_function = void (*)(archive_writer& out);
    /// Makes the exception, with `cause` inside of it unless that is null.
    using decode_function = std::exception_ptr (*)(archive_reader& in,
                                                   const std::exception_ptr& cause);
    /// Called in the handler of the exception: makes another one like it. Null: can't be copied.
    using copy_function = std::exception_ptr (*)();

    error_entry(const std::type_info& type, encode_function encode, decode_function decode,
                copy_function copy);
    error_entry(const error_entry&) = delete;
    error_entry& operator=(const error_entry&) = delete;

    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    [[nodiscard]] const char* name() const noexcept { return name_; }

    const encode_function encode;
    const decode_function decode;
    const copy_function copy;

private:
    const char* name_;
    std::uint64_t id_;
};

/// Lets E travel: by its codec if it has one, else by its text, from which it must be
/// constructible. Gives true, so that it can initialise something.
template <class E>
bool register_error();

/// Lets error codes of a category travel, which both sides know by its name; it must live on. The
/// standard library's are known. Gives true.
bool register_error_category(const std::error_category& category);

template <>
struct codec<std::exception_ptr> {
    static constexpr std::size_t least_size = 1;
    static void encode(archive_writer& out, const std::exception_ptr& e);
    [[nodiscard]] static std::exception_ptr decode(archive_reader& in);
};

/// Writes an exception, with the stack at its throw as text if that is known.
void encode_error(archive_writer& out, const std::exception_ptr& e, std::string_view trace = {});
/// What encode_error wrote. Throws codec_error if it isn't that.
[[nodiscard]] std::exception_ptr decode_error(archive_reader& in);
/// What it would be to a process that doesn't know its type.
[[nodiscard]] remote_error describe_error(const std::exception_ptr& e, std::string_view trace = {});
/// Another exception with the same content, if the type is known, else `e` itself. What is nested
/// inside is shared. Without memory for it, std::bad_alloc is what comes.
[[nodiscard]] std::exception_ptr copy_error(const std::exception_ptr& e) noexcept;

// -------------------------------------------------------------------------------------------------

namespace detail {

/// So deep are the causes that travel with an error, or are told.
constexpr unsigned most_causes = 16;

/// What is nested inside of an exception; null for most.
[[nodiscard]] std::exception_ptr cause_of(const std::exception_ptr& e) noexcept;

/// What it says, also if its what() gives no text at all.
inline std::string_view text_of(const std::exception& e) noexcept {
    const char* text = e.what();
    return text == nullptr ? std::string_view() : std::string_view(text);
}

template <class E>
std::exception_ptr error_around(E e, const std::exception_ptr& cause) {
    if (cause == nullptr)
        return std::make_exception_ptr(std::move(e));
    try {
        std::rethrow_exception(cause);
    } catch (...) {
        try {
            std::throw_with_nested(std::move(e));
        } catch (...) {
            return std::current_exception();
        }
    }
}

template <class E>
void encode_known(archive_writer& out) {
    try {
        throw;
    } catch (const E& e) {
        if constexpr (codable<E>)
            ipc::encode<E>(out, e);
        else
            ipc::encode<std::string_view>(out, text_of(e).substr(0, remote_error::longest_text));
    }
}

template <class E>
std::exception_ptr decode_known(archive_reader& in, const std::exception_ptr& cause) {
    if constexpr (codable<E>)
        return error_around(ipc::decode<E>(in), cause);
    else
        return error_around(E(ipc::decode<std::string>(in)), cause);
}

template <class E>
std::exception_ptr copy_known() {
    try {
        throw;
    } catch (const E& e) {
        if constexpr (std::is_polymorphic_v<E> && !std::is_final_v<E>) {
            const auto* nested = dynamic_cast<const std::nested_exception*>(&e);
            if (nested != nullptr && nested->nested_ptr() != nullptr) {
                try {
                    nested->rethrow_nested();
                } catch (...) { // what is being handled goes inside
                    try {
                        std::throw_with_nested(E(e));
                    } catch (...) {
                        return std::current_exception();
                    }
                }
            }
        }
        return std::make_exception_ptr(E(e));
    }
}

template <class E>
constexpr error_entry::copy_function copier() noexcept {
    if constexpr (std::is_copy_constructible_v<E>)
        return copy_known<E>;
    else
        return nullptr;
}

} // namespace detail

template <class E>
bool register_error() {
    static_assert(
        codable<E> ||
            (std::is_base_of_v<std::exception, E> && std::is_constructible_v<E, std::string>),
        "an error type travels by its codec, or by what() if it can be made from a std::string");
    static const error_entry entry(typeid(E), detail::encode_known<E>, detail::decode_known<E>,
                                   detail::copier<E>());
    return true;
}

} // namespace weft::ipc
