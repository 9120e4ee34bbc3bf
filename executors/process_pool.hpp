// SPDX-License-Identifier: MIT
// Calls functions in worker processes: for work that must not share the caller's heap, may crash,
// or must be stoppable while it runs.
//
//     double area(double width, double height) { return width * height; }
//
//     weft::task<> measure() {
//         weft::process_pool pool({.workers = 4});
//         double a = co_await pool.call(weft::fn<&area>, 2.0, 3.0);       // in another process
//         auto line = [](std::size_t n) { return std::string(n, '*'); };  // captures nothing
//         weft::future<std::string> later = pool.submit(line, std::size_t{20});
//         fmt::print("{} {}\n", a, co_await later);
//         co_await pool.shutdown();
//     }
//
// The workers are this program, started again, or forks of one that was, or of this process
// (`start`): main() begins with the line of ipc/worker_entry.hpp. What they may use and do can be
// limited (worker_options.hpp).
// Arguments and results travel as ipc/codec.hpp says; parameters of the function may be views
// (std::string_view, std::span<const T>), which show what lies in the message. A function whose
// first parameter is a std::stop_token is told through it that it should stop. One that gives a
// task runs on a loop of its worker, which goes on while something is called there. The deadline of
// who calls (current_deadline) and the context variables that travel (ipc/travelling_var.hpp) go
// along.
//
//     weft::generator<std::string> lines(const std::string& file) {
//         std::ifstream in(file);
//         for (std::string line; std::getline(in, line);)
//             co_yield line;
//     }
//     weft::task<> print(weft::process_pool& pool, std::string file) {
//         auto all = pool.stream(weft::fn<&lines>, file);         // made as they are read
//         while (auto line = co_await all.next())
//             fmt::print("{}\n", *line);
//     }
//
// Threads:      made on a loop's thread, and supervised there. call and submit on any thread;
//               statistics, terminate and the destructor from any thread.
// Processes:    a worker that dies fails the task that it held (worker_lost, which says how it
//               died, what it ran and what it last wrote to its standard error), unless that may be
//               retried, and is replaced. Workers die with the process that started them, also when
//               that is killed. What they report to the unhandled-error hook, and log, comes to
//               those of this process.
// Cancellation: a queued task is withdrawn at once. A running one is asked to stop, and its worker
//               is killed and replaced when the grace is over; the awaiting scope waits until then.
//               A function that returns after it was asked counts as stopped; one that takes no
//               stop_token and returns in time gives its result, and an error that it throws is
//               never lost. A coroutine is unwound.
// Errors:       what the function throws, as in ipc/error_registry.hpp; worker_lost,
//               broken_process_pool, pool_terminated, codec_error; timeout_error at a task's own
//               deadline; state_error after shutdown; limit_error when too much is queued;
//               std::system_error when no worker can be started.
// Cost:         a task is a message each way through shared memory: about 2 microseconds there and
//               back while both ends look out, and a wake-up each of 5 to 10 where one sleeps. More
//               than 64 KiB are written into shared memory once and read there (message_memory);
//               what lies between 4 KiB and that goes over a socket pair. Workers that answer
//               within a millisecond are given up to 15 tasks ahead; those that one hasn't begun
//               are taken back when they would wait for longer. Tasks of a few microseconds wake no
//               further worker where it would have no processor for itself.
// Source:       concurrent.futures.ProcessPoolExecutor, without its "one dead, all dead".
#pragma once
#include <weft/executors/detail/pool_function.hpp>
#include <weft/executors/detail/pool_request.hpp>
#include <weft/executors/detail/pool_stream.hpp>
#include <weft/executors/executor.hpp>
#include <weft/executors/pool_forms.hpp>
#include <weft/executors/task_priority.hpp>
#include <weft/executors/worker_options.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/registry.hpp>
#include <weft/ipc/start_method.hpp>
#include <weft/runtime/detail/operation.hpp>
#include <weft/runtime/time.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weft {

/// What it means that a worker dies in the middle.
enum class worker_death : std::uint8_t {
    fails_its_task, // worker_lost, and the worker is replaced
    breaks_pool     // everything fails with broken_process_pool, as in Python
};

struct process_pool_options {
    /// At most so many. 0: one for each CPU that the process may use.
    unsigned workers = 0;
    /// So many are started at once and stay; the others come when a task waits. All, unless fewer
    /// are named.
    unsigned min_workers = ~0u;
    /// Those beyond min_workers go home when they had nothing to do for so long.
    duration idle_timeout = duration::max();
    /// A worker goes home after so many tasks, and another takes its place. 0: never.
    std::uint64_t max_tasks_per_worker = 0;
    worker_death on_worker_death = worker_death::fails_its_task;
    /// Tasks that may wait for a worker; beyond that submit fails with limit_error.
    std::size_t max_pending = std::size_t{1} << 20;
    /// Bytes of shared memory that large arguments may take, and in each worker the results. What
    /// doesn't fit goes over a socket, which takes several times as long. A quarter of it may be
    /// kept for the next ones, for a second; not where a filter shuts workers in, which get nothing
    /// that others had.
    std::size_t message_memory = std::size_t{256} << 20;
    /// How long a worker may take from its start to its first word, and then for its initialiser.
    duration start_deadline = std::chrono::seconds(10);
    /// How long a worker that is asked to stop has before it is killed.
    duration stop_grace = std::chrono::seconds(5);
    /// So many deaths in that time without a finished task between them, and the pool is broken.
    unsigned deaths_before_broken = 5;
    duration deaths_within = std::chrono::seconds(10);
    /// How workers come into being: see ipc/start_context.hpp. `standard` is spawn if
    /// max_tasks_per_worker is set. With fork all are started at once, by a process that has one
    /// thread; it must have one when a worker is to be replaced as well.
    ipc::start_method start = ipc::start_method::standard;
    /// What they may use, where they run, and which system calls they can make.
    worker_options worker = {};
};

struct submit_options {
    /// A task that waits comes before all less urgent ones, however long these have waited.
    task_priority priority = task_priority::normal;
    /// How often the task may be run again when its worker is lost. Only for what may run twice.
    unsigned retry = 0;
    /// Instead of the pool's; negative: the pool's.
    duration stop_grace = duration(-1);
    /// The caller's own name for the task, to find it again in statistics().
    std::uint64_t tag = 0;
    /// Then the task fails with timeout_error: at once if it waits; one that runs is asked to stop,
    /// and its worker killed when the grace is over. What it gives until then counts.
    time_point deadline = never;
    /// The same, counted from now.
    duration timeout = duration::max();
    /// Of stream: the worker makes no more while so many items, or so many bytes of them, weren't
    /// taken.
    std::uint32_t window = 64;
    std::size_t window_bytes = std::size_t{1} << 20;
};

struct process_pool_statistics {
    enum class state : std::uint8_t { starting, idle, running, ending };
    struct worker {
        int pid = 0;
        state is = state::starting;
        std::uint64_t tasks_done = 0;
        duration task_age = duration::zero(); // of the task that is running
        std::uint64_t task_tag = 0;           // its submitter's name for it
        std::string function;                 // what it runs
        // From inspect() only: whether it answered in time, and the tree of its own tasks
        bool answered = false;
        std::string tasks;
    };
    process_pool_statistics() = default;

    std::vector<worker> workers; // those that exist now
    std::size_t queued = 0;
    std::size_t message_memory = 0; // bytes of shared memory that the arguments take, or took
    std::uint64_t done = 0;         // tasks that gave a result
    std::uint64_t failed = 0;       // tasks that ended in an error, the lost ones included
    std::uint64_t respawned = 0;    // workers started in place of others
    bool broken = false;
};

/// A line for each worker: pid, what it does and for how long.
[[nodiscard]] std::vector<std::string> lines_of(const process_pool_statistics& s);
/// The same with the tasks of those that told them, as text that ends with a newline.
[[nodiscard]] std::string to_string(const process_pool_statistics& s);

namespace detail {
class pool_shutdown_op;
} // namespace detail

class process_pool {
public:
    /// Starts the workers, from the loop's next turn on. Throws state_error if main() doesn't call
    /// worker_entry, or if the thread runs no loop; std::invalid_argument for options that make no
    /// sense; unavailable_error if there is no io_uring.
    explicit process_pool(const process_pool_options& options = {});
    /// Each worker calls `initialiser(arguments...)` before anything else, also one that replaces
    /// another. If it throws, the pool is broken, and all tasks fail with broken_process_pool. What
    /// it leaves in static variables is there for the tasks.
    template <class F, class... A>
    process_pool(const process_pool_options& options, F initialiser, const A&... arguments);
    /// Kills the workers; what is queued or running fails with pool_terminated.
    ~process_pool();
    process_pool(const process_pool&) = delete;
    process_pool& operator=(const process_pool&) = delete;

    /// Calls `function(arguments...)` in a worker, once this is awaited; the arguments are encoded
    /// here and now. The function is weft::fn<&f> or something callable without state, such as a
    /// lambda that captures nothing.
    template <class F, class... A>
        requires(!std::is_convertible_v<F, const submit_options&>)
    [[nodiscard]] auto call(F function, const A&... arguments) {
        return call(submit_options(), function, arguments...);
    }
    /// The same with options: pool.call({.retry = 2}, weft::fn<&f>, 1).
    template <class F, class... A>
    [[nodiscard]] auto call(const submit_options& options, F function, const A&... arguments);

    /// The same at once, whether or not anybody awaits it, for a future, which runs when a worker
    /// begins with it. The result is decoded on the pool's loop. request_stop() of the future ends
    /// in the worker's end if the function doesn't stop within the grace. Throws what speaks
    /// against it: state_error, broken_executor, limit_error.
    template <class F, class... A>
        requires(!std::is_convertible_v<F, const submit_options&>)
    [[nodiscard]] auto submit(F function, const A&... arguments) {
        return submit(submit_options(), function, arguments...);
    }
    template <class F, class... A>
    [[nodiscard]] auto submit(const submit_options& options, F function, const A&... arguments);

    // Python's words, as in pool_forms.hpp: one function, many arguments.

    template <class F, class... A>
    [[nodiscard]] auto apply(F function, const A&... arguments) {
        return call(function, arguments...);
    }
    template <class F, std::ranges::input_range R>
    [[nodiscard]] auto map(F function, R&& items, std::size_t chunk = 0) {
        return weft::map_all(*this, function, std::forward<R>(items), chunk);
    }
    template <class F, std::ranges::input_range R>
    [[nodiscard]] auto starmap(F function, R&& items, std::size_t chunk = 0) {
        return weft::starmap(*this, function, std::forward<R>(items), chunk);
    }
    template <class F, std::ranges::input_range R>
    [[nodiscard]] auto imap(F function, R&& items, std::size_t chunk = 1) {
        return weft::imap(*this, function, std::forward<R>(items), chunk);
    }
    template <class F, std::ranges::input_range R>
    [[nodiscard]] auto imap_unordered(F function, R&& items, std::size_t chunk = 1) {
        return weft::imap_unordered(*this, function, std::forward<R>(items), chunk);
    }

    /// Has `function(arguments...)` make a sequence in a worker: it gives a weft::generator<T> or a
    /// weft::async_generator<T>, and this an async_generator<T> of what it yields. It begins when
    /// the first item is asked for, with the variables and the deadline of who does that. The
    /// worker is ahead by a window, and then waits. Who lets go of the sequence early has the
    /// worker asked to stop, which it does at its next item; if not, it is killed when the grace is
    /// over. An error, or the worker's death, comes after the items that had arrived; once one has,
    /// the task isn't tried again. A sequence that is neither read to its end nor let go of keeps
    /// its worker, and shutdown() waiting.
    template <class F, class... A>
        requires(!std::is_convertible_v<F, const submit_options&>)
    [[nodiscard]] auto stream(F function, const A&... arguments) {
        return stream(submit_options(), function, arguments...);
    }
    template <class F, class... A>
    [[nodiscard]] auto stream(const submit_options& options, F function, const A&... arguments);

    /// Takes no more tasks, waits until the accepted ones are done, and ends the workers. If the
    /// wait is stopped, the pool goes on ending.
    [[nodiscard]] detail::pool_shutdown_op shutdown() noexcept;
    /// The same with a choice of what becomes of futures that are pending, and of waiting. May be
    /// awaited again, and by several.
    [[nodiscard]] task<> shutdown(shutdown_options how);
    /// The first with a bound: some time before the deadline (the stop grace, or half of what is
    /// left) the tasks that wait fail with pool_terminated and those that run are asked to stop; at
    /// the deadline the workers are killed.
    [[nodiscard]] detail::pool_shutdown_op shutdown_until(time_point deadline) noexcept;
    template <class Rep, class Period>
    [[nodiscard]] detail::pool_shutdown_op
    shutdown_for(std::chrono::duration<Rep, Period> d) noexcept;

    /// Takes no more tasks, and ends when the accepted ones are done. Doesn't wait.
    void close() noexcept;
    /// Waits until the workers have ended. Throws state_error unless the pool was closed, shut down
    /// or terminated.
    [[nodiscard]] detail::pool_shutdown_op join();

    /// Kills the workers now; what is queued or running fails with pool_terminated. Doesn't wait.
    void terminate() noexcept { terminate(duration::zero()); }
    /// The same by SIGTERM, and SIGKILL when the grace is over.
    void terminate(duration grace) noexcept;

    /// How many workers there may be.
    [[nodiscard]] unsigned size() const noexcept;

    /// A snapshot.
    [[nodiscard]] process_pool_statistics statistics() const;
    /// The same with the tree of tasks that each worker runs, which it is asked for: those that
    /// don't answer `within` that time, because they hang or compute, are waited for no longer. Nor
    /// is one asked whose very first function takes no stop: it has no such tree, and may not
    /// listen before that is done.
    [[nodiscard]] task<process_pool_statistics> inspect(duration within = std::chrono::seconds(1));

private:
    process_pool(const process_pool_options& options, const ipc::function_entry& initialiser,
                 ipc::archive_writer call);

    std::shared_ptr<detail::pool_hub> hub_;
};

// -------------------------------------------------------------------------------------------------

namespace detail {

inline void apply_options(pool_task& t, const submit_options& options) noexcept {
    t.priority = static_cast<std::uint8_t>(options.priority);
    t.retries = options.retry;
    t.tag = options.tag;
    t.deadline = std::min(options.deadline, deadline_after(options.timeout));
    if (options.stop_grace >= duration::zero())
        t.grace = options.stop_grace;
}

template <class Function, class... A>
ipc::archive_writer encoded_call(const A&... arguments) {
    ipc::archive_writer out = call_message(Function::entry);
    Function::send_arguments(out, arguments...);
    return out;
}
template <class Function, class... A>
ipc::archive_writer encoded_call_for(pool_hub& hub, const A&... arguments) {
    ipc::archive_writer out = call_message(hub, Function::entry);
    Function::send_arguments(out, arguments...);
    return out;
}

/// A request that a task awaits.
class pool_call_base : public operation, public pool_request {
public:
    pool_call_base(pool_call_base&& other) noexcept;
    pool_call_base& operator=(pool_call_base&&) = delete;
    ~pool_call_base();

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }

protected:
    pool_call_base(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
                   ipc::archive_writer call);

private:
    struct homecoming : work {
        explicit homecoming(pool_call_base& c) noexcept;
        pool_call_base& call;
    };

    void start() noexcept;
    static void cancel_call(operation& op) noexcept;
    static const operation_type kind;
    static bool begins(pool_request& r) noexcept;
    static void returns(pool_request& r) noexcept;
    static void leaves(pool_request& r) noexcept;
    static const pool_request_type type;
    /// Back on its own loop: goes on, or is unwound.
    void arrive() noexcept;

    homecoming homecoming_;
};

template <class R>
class [[nodiscard]] pool_call : public pool_call_base {
public:
    pool_call(std::shared_ptr<pool_hub> hub, const ipc::function_entry& function,
              ipc::archive_writer call, const submit_options& options)
        : pool_call_base(std::move(hub), function, std::move(call)) {
        apply_options(*this, options);
    }

    R await_resume() {
        auto answer = check();
        if constexpr (!std::is_void_v<R>)
            return ipc::decode<R>(answer);
    }
};

class [[nodiscard]] pool_shutdown_op : public operation {
public:
    pool_shutdown_op(std::shared_ptr<pool_hub> hub, time_point deadline) noexcept;
    pool_shutdown_op(pool_shutdown_op&& other) noexcept;
    pool_shutdown_op& operator=(pool_shutdown_op&&) = delete;
    ~pool_shutdown_op();

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            start();
        return true;
    }
    void await_resume() const noexcept {}

private:
    friend class pool_hub;
    struct homecoming : work {
        explicit homecoming(pool_shutdown_op& o) noexcept;
        pool_shutdown_op& op;
    };
    void start() noexcept;
    static void cancel_wait(operation& op) noexcept;
    static const operation_type kind;
    void leave_pool(const runner& pools) noexcept;

    std::shared_ptr<pool_hub> hub_;
    time_point deadline_;
    homecoming homecoming_;
    pool_shutdown_op* next_ = nullptr;
};

} // namespace detail

template <class F, class... A>
process_pool::process_pool(const process_pool_options& options, F, const A&... arguments)
    : process_pool(options, detail::pool_function_of<F, A...>::entry,
                   detail::encoded_call<detail::pool_function_of<F, A...>>(arguments...)) {}

template <class F, class... A>
auto process_pool::call(const submit_options& options, F, const A&... arguments) {
    using function = detail::pool_function_of<F, A...>;
    static_assert(!function::is_sequence, "a sequence comes by stream()");
    return detail::pool_call<typename function::result>(
        hub_, function::entry, detail::encoded_call_for<function>(*hub_, arguments...), options);
}

template <class F, class... A>
auto process_pool::submit(const submit_options& options, F, const A&... arguments) {
    using function = detail::pool_function_of<F, A...>;
    static_assert(!function::is_sequence, "a sequence comes by stream()");
    using R = typename function::result;
    auto* record = new detail::pool_submission<R>(
        hub_, function::entry, detail::encoded_call_for<function>(*hub_, arguments...));
    auto f = future<R>::of(detail::future_hold::first_of(*record));
    detail::apply_options(*record, options);
    record->post();
    return f;
}

template <class F, class... A>
auto process_pool::stream(const submit_options& options, F, const A&... arguments) {
    using function = detail::pool_function_of<F, A...>;
    static_assert(function::is_sequence,
                  "the function gives no generator<T> or async_generator<T>");
    auto* record = new detail::pool_stream(hub_, function::entry,
                                           detail::encoded_call_for<function>(*hub_, arguments...),
                                           {options.window, options.window_bytes});
    detail::pool_stream_handle handle(record);
    detail::apply_options(*record, options);
    return detail::streamed<typename function::result>(std::move(handle));
}

static_assert(executor<process_pool>);

/// So that map() works on process pools.
template <class T>
struct ipc::codec<detail::mapped_piece<T>> {
    static constexpr bool by_parts = true;
    static void encode(archive_writer& out, const weft::detail::mapped_piece<T>& piece) {
        out.write_count(piece.values.size());
        for (const auto& v : piece.values)
            ipc::encode<T>(out, v.it);
        ipc::encode<std::exception_ptr>(out, piece.error);
    }
    static weft::detail::mapped_piece<T> decode(archive_reader& in) {
        weft::detail::mapped_piece<T> piece;
        std::size_t n = in.read_count(least_size_of<T>(), sizeof(T));
        piece.values.reserve(n);
        for (std::size_t i = 0; i != n; ++i)
            piece.values.emplace_back(std::in_place, ipc::decode<T>(in));
        piece.error = ipc::decode<std::exception_ptr>(in);
        return piece;
    }
};

template <class Rep, class Period>
detail::pool_shutdown_op process_pool::shutdown_for(std::chrono::duration<Rep, Period> d) noexcept {
    return shutdown_until(deadline_after(d));
}

} // namespace weft
