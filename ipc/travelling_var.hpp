// SPDX-License-Identifier: MIT
// Context variables whose values go along with calls to worker processes.
//
//     weft::ipc::travelling_var<std::string> customer("customer", "nobody");
//
//     std::string greeting() { return "hello " + customer.get(); }     // in a worker
//
//     template <class Pool>                                            // a weft::process_pool
//     weft::task<std::string> greet(Pool& pool, std::string name) {
//         auto here = customer.scoped(std::move(name));
//         co_return co_await pool.call(weft::fn<&greeting>);
//     }
//
// Both ends know a variable by its name, which must be the only one of its kind, and stands at
// namespace scope, so that every process of the program has it. A value goes with a call if one is
// set when the call is handed in; changes in the worker stay there, and end with the call.
//
// Threads:      as context_var. Cancellation: none.
// Errors:       those of context_var. A call with a value set throws state_error if two travelling
//               variables have the same name, or if the worker has none of it; what the value's
//               codec throws.
// Cost:         for a call: a look at each variable that has a value; nothing is sent unless one of
//               these travels.
// Source:       none; trace contexts of the W3C are what it is for.
#pragma once
#include <weft/ipc/codec.hpp>
#include <weft/runtime/context.hpp>

#include <atomic>
#include <string>

namespace weft {

/// How the values of one variable travel.
struct detail::context_travel {
    using encode_function = void (*)(ipc::archive_writer& out, const context_value& v);
    using decode_function = context_value_ref (*)(ipc::archive_reader& in);

    context_travel(const char* n, encode_function e, decode_function d) noexcept;
    context_travel(const context_travel&) = delete;
    context_travel& operator=(const context_travel&) = delete;

    /// From now on this process knows the variable.
    void enrol(const context_key& k) noexcept;

    const char* const called;
    const std::uint64_t id;
    const encode_function encode;
    const decode_function decode;
    const context_key* variable = nullptr;
    context_travel* next = nullptr;
    std::atomic<bool> ambiguous{false};
};

namespace ipc {

namespace detail {

template <class T>
struct travelling_values : weft::detail::context_travel {
    using box = weft::detail::context_box<T>;
    explicit travelling_values(const char* n) noexcept : context_travel(n, write, read) {}
    static void write(archive_writer& out, const weft::detail::context_value& v) {
        ipc::encode<T>(out, *box::value_of(&v));
    }
    static weft::detail::context_value_ref read(archive_reader& in) {
        return weft::detail::context_value_ref(new box(ipc::decode<T>(in)));
    }
};

/// Writes what is set here and travels. Gives how many values that are; for none nothing is
/// written.
std::size_t write_travelling(archive_writer& out);
/// Sets what was written.
void read_travelling(archive_reader& in);

} // namespace detail

/// A context variable that travels. Its type must have a codec.
template <class T>
class travelling_var : private detail::travelling_values<T>, public context_var<T> {
public:
    /// The name is kept as a pointer: a literal.
    explicit travelling_var(const char* n)
        : detail::travelling_values<T>(n), context_var<T>(n, std::nullopt, *this) {
        this->enrol(this->key());
    }
    travelling_var(const char* n, T default_value)
        : detail::travelling_values<T>(n), context_var<T>(n, std::move(default_value), *this) {
        this->enrol(this->key());
    }
};

/// What a request is called in the traces of all who have a part in it: the `traceparent` of the
/// W3C, for instance. Empty: it isn't traced.
extern travelling_var<std::string> trace_id;

} // namespace ipc
} // namespace weft
