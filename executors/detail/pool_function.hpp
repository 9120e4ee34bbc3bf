// SPDX-License-Identifier: MIT
// How functions run in a worker, by what they give: a value; a task, which is run on a loop there;
// or a sequence, whose items go to the caller as they are made.
//
// Threads:      a worker's main thread.
// Cancellation: a coroutine that is asked to stop is unwound. A generator is destroyed at its next
//               item; an asynchronous one is unwound, and closed.
// Errors:       what the function throws.
// Cost:         an entry in the registry for each. Source: none.
#pragma once
#include <weft/executors/detail/worker_call.hpp>
#include <weft/ipc/registry.hpp>
#include <weft/runtime/async_generator.hpp>
#include <weft/runtime/cancellation.hpp>
#include <weft/runtime/generator.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/sync_wait.hpp>

#include <type_traits>
#include <utility>

namespace weft::detail {

// Tells their entries apart from those of other kinds of calls to the same functions.
template <class R, class... P>
struct coroutine_signature {};

/// Awaits a task that gives nothing on the worker's loop, and tells the call how it ended.
void run_in_worker(task<> t, const std::stop_token& stop);

template <class Call>
struct pool_function;

template <class F, bool TakesStop, class R, class... P>
struct pool_function<ipc::detail::call<F, TakesStop, ipc::detail::signature<R, P...>>>
    : ipc::detail::call<F, TakesStop, ipc::detail::signature<R, P...>> {
    static constexpr bool is_sequence = false;
};

template <class Call, class Result>
struct pool_coroutine {
    using result = std::remove_cvref_t<Result>;
    template <class... A>
    static void send_arguments(ipc::archive_writer& out, const A&... arguments) {
        Call::send_arguments(out, arguments...);
    }
};

template <class F, bool TakesStop, class T, class... P>
struct pool_function<ipc::detail::call<F, TakesStop, ipc::detail::signature<task<T>, P...>>>
    : pool_coroutine<ipc::detail::call<F, TakesStop, ipc::detail::signature<task<T>, P...>>, T> {
    using base = ipc::detail::call<F, TakesStop, ipc::detail::signature<task<T>, P...>>;
    static constexpr bool is_sequence = false;

    static void run(ipc::archive_reader& in, [[maybe_unused]] ipc::archive_writer& out,
                    const std::stop_token& stop) {
        typename base::received arguments(in);
        if constexpr (std::is_void_v<T>)
            run_in_worker(arguments.call(stop), stop);
        else
            run_in_worker(encoded(arguments.call(stop), out), stop);
    }
    static inline ipc::function_entry entry{typeid(F), typeid(coroutine_signature<task<T>, P...>),
                                            run, true};

private:
    static task<> encoded(task<T> t, ipc::archive_writer& out) {
        ipc::encode<std::remove_cvref_t<T>>(out, co_await std::move(t));
    }
};

template <class F, bool TakesStop, class T, class... P>
struct pool_function<ipc::detail::call<F, TakesStop, ipc::detail::signature<generator<T>, P...>>>
    : pool_coroutine<ipc::detail::call<F, TakesStop, ipc::detail::signature<generator<T>, P...>>,
                     T> {
    using base = ipc::detail::call<F, TakesStop, ipc::detail::signature<generator<T>, P...>>;
    static constexpr bool is_sequence = true;

    static void run(ipc::archive_reader& in, ipc::archive_writer&, const std::stop_token& stop) {
        typename base::received arguments(in);
        worker_call& call = worker_call::current();
        generator<T> items = arguments.call(stop);
        bool cut_short = false;
        auto end = items.end();
        for (auto at = items.begin(); at != end; ++at) {
            ipc::archive_writer item = call.new_item();
            ipc::encode<std::remove_cvref_t<T>>(item, *at);
            call.send_item(item);
            if (!call.has_room())
                sync_wait(call.room());
            cut_short = stop.stop_requested();
            if (cut_short)
                break;
        }
        call.ended(cut_short);
    }
    static inline ipc::function_entry entry{
        typeid(F), typeid(coroutine_signature<generator<T>, P...>), run, true};
};

template <class F, bool TakesStop, class T, class... P>
struct pool_function<
    ipc::detail::call<F, TakesStop, ipc::detail::signature<async_generator<T>, P...>>>
    : pool_coroutine<
          ipc::detail::call<F, TakesStop, ipc::detail::signature<async_generator<T>, P...>>, T> {
    using base = ipc::detail::call<F, TakesStop, ipc::detail::signature<async_generator<T>, P...>>;
    static constexpr bool is_sequence = true;

    static void run(ipc::archive_reader& in, ipc::archive_writer&, const std::stop_token& stop) {
        typename base::received arguments(in);
        async_generator<T> items = arguments.call(stop);
        auto ends = [&items] { return items.close(); };
        run_in_worker(weft::as_task(weft::finally(sent(items, stop), ends)), stop);
    }
    static inline ipc::function_entry entry{
        typeid(F), typeid(coroutine_signature<async_generator<T>, P...>), run, true};

private:
    static task<> sent(async_generator<T>& items, const std::stop_token& stop) {
        worker_call& call = worker_call::current();
        while (auto next = co_await items.next()) {
            ipc::archive_writer item = call.new_item();
            ipc::encode<std::remove_cvref_t<T>>(item, *next);
            call.send_item(item);
            if (!call.has_room())
                co_await call.room();
            while (stop.stop_requested()) // it is on its way, and unwinds this
                co_await yield();
        }
    }
};

/// The entry of F, called with arguments of types A.
template <class F, class... A>
using pool_function_of = pool_function<ipc::detail::call_of<F, A...>>;

} // namespace weft::detail
