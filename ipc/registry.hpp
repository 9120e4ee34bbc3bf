// SPDX-License-Identifier: MIT
// The functions that another process of the same program may be asked to call. A function is named
// by the hash of its type's name, and checked by that of its signature; never by an address. Nobody
// has to list them: naming one to a pool registers it, before main, in every process of the
// program.
//
//     double area(double width, double height) { return width * height; }
//
//     std::uint64_t name_of_area() {
//         return weft::ipc::function_of<weft::function_constant<&area>, double, double>().id();
//     }
//
// Threads:      any.
// Cancellation: none.
// Errors:       state_error if two different functions have the same name (both in unnamed
//               namespaces, or static, of different source files) and one of them is used; or if a
//               process is asked for one that it doesn't have.
// Cost:         one entry per function; the index is made at the first use.
// Source:       the registering static member is the usual trick of test frameworks and
//               serialisers.
#pragma once
#include <weft/ipc/detail/signature.hpp>

#include <atomic>
#include <cstdint>
#include <typeinfo>

namespace weft::ipc {

/// A registered function, whatever it takes.
class function_entry {
public:
    /// Decodes the arguments, calls, and encodes the result. Throws what the function or a codec
    /// throws.
    using invoke_function = void (*)(archive_reader& arguments, archive_writer& result,
                                     const std::stop_token& stop);

    function_entry(const std::type_info& function, const std::type_info& signature,
                   invoke_function call, bool takes_stop) noexcept;
    function_entry(const function_entry&) = delete;
    function_entry& operator=(const function_entry&) = delete;

    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    [[nodiscard]] std::uint64_t signature() const noexcept { return signature_; }
    /// As the compiler writes it.
    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] bool takes_stop() const noexcept { return takes_stop_; }

    void invoke(archive_reader& arguments, archive_writer& result,
                const std::stop_token& stop) const {
        invoke_(arguments, result, stop);
    }

    /// Throws state_error if the name stands for another function as well.
    void check() const;

private:
    friend struct function_index;

    const char* name_;
    const char* signature_name_;
    std::uint64_t id_;
    std::uint64_t signature_;
    invoke_function invoke_;
    function_entry* next_ = nullptr;
    mutable std::atomic<bool> ambiguous_{false};
    bool takes_stop_;
};

/// The function with this id and signature. Throws state_error if this process has none or several.
[[nodiscard]] const function_entry& find_function(std::uint64_t id, std::uint64_t signature);

/// The entry of F, called with arguments of types A (which matter only if F is overloaded or a
/// template).
template <class F, class... A>
[[nodiscard]] const function_entry& function_of() noexcept;

/// What F gives when it is called so, without references and const.
template <class F, class... A>
struct remote_result;
template <class F, class... A>
using remote_result_t = typename remote_result<F, A...>::type;

// -------------------------------------------------------------------------------------------------

namespace detail {

template <class F, bool TakesStop, class Signature>
struct call;

template <class F, bool TakesStop, class R, class... P>
struct call<F, TakesStop, signature<R, P...>> {
    using result = std::remove_cvref_t<R>;
    static constexpr std::size_t arity = sizeof...(P);

    template <class... A>
    static void send_arguments([[maybe_unused]] archive_writer& out, const A&... arguments) {
        static_assert(sizeof...(A) == sizeof...(P),
                      "the function takes another number of arguments");
        if constexpr (sizeof...(A) == sizeof...(P))
            (send_argument<P>(out, arguments), ...);
    }

    /// The arguments that came, which live while this does.
    class received {
    public:
        explicit received([[maybe_unused]] archive_reader& in)
            : arguments_{decode_kept<kept_t<P>>(in)...} {
            in.finish();
        }
        /// Calls the function with them, once.
        R call([[maybe_unused]] const std::stop_token& stop) {
            auto invoke = [&](kept_t<P>&... kept) -> R {
                if constexpr (TakesStop)
                    return F{}(stop, hand_over<P>(kept)...);
                else
                    return F{}(hand_over<P>(kept)...);
            };
            return std::apply(invoke, arguments_);
        }

    private:
        std::tuple<kept_t<P>...> arguments_;
    };

    static void run(archive_reader& in, [[maybe_unused]] archive_writer& out,
                    const std::stop_token& stop) {
        received arguments(in);
        if constexpr (std::is_void_v<R>)
            arguments.call(stop);
        else
            ipc::encode<result>(out, arguments.call(stop));
    }

    static inline function_entry entry{typeid(F), typeid(signature<R, P...>), run, TakesStop};
};

template <class F, class... A>
consteval auto find_call() {
    static_assert(!std::is_pointer_v<F> && !std::is_function_v<F>,
                  "an address means nothing in another process: write weft::fn<&f> instead of f");
    static_assert(stateless<F>, "what a lambda captures doesn't travel: pass it as arguments");
    if constexpr (has_signature<F>) {
        using declared = typename signature_of<F>::type;
        using bare = decltype(without_token(declared()));
        return call<F, !std::is_same_v<declared, bare>, bare>();
    } else if constexpr (std::is_invocable_v<F, std::decay_t<A>...>) {
        return call<F, false,
                    signature<std::invoke_result_t<F, std::decay_t<A>...>, std::decay_t<A>...>>();
    } else if constexpr (std::is_invocable_v<F, std::stop_token, std::decay_t<A>...>) {
        return call<F, true,
                    signature<std::invoke_result_t<F, std::stop_token, std::decay_t<A>...>,
                              std::decay_t<A>...>>();
    } else {
        static_assert(sizeof(F) == 0, "the function can't be called with these arguments");
    }
}

template <class F, class... A>
using call_of = decltype(find_call<F, A...>());

} // namespace detail

template <class F, class... A>
const function_entry& function_of() noexcept {
    return detail::call_of<F, A...>::entry;
}

template <class F, class... A>
struct remote_result {
    using type = typename detail::call_of<F, A...>::result;
};

} // namespace weft::ipc
