// SPDX-License-Identifier: MIT
// The search through all orders of a model: who goes on at each step, and what each load reads.
//
// An execution is a list of choices. The first one chooses 0 everywhere: nobody is preempted, and
// every load reads the newest store. The next one repeats all choices but the last that has
// another option left, and takes that: a depth-first search that keeps nothing but one list. The
// bounds limit how often an execution may leave the beaten track, by which option is offered.
//
// A thread chooses before each operation on shared memory who goes on. What it does between two
// operations is never interrupted. Where it has to wait, anybody else may go on, and that is no
// preemption.
//
// Threads:      one. Cancellation: none.
// Errors:       a failure leaves the execution for good: its stacks are forgotten, its memory is
//               an arena's.
// Cost:         see model.hpp. Source: see model.hpp.
#pragma once
#include "model/fiber.hpp"
#include "model/memory_model.hpp"
#include "model/model.hpp"
#include "model/orders.hpp"

#include <weft/runtime/detail/frame_pool.hpp>

#include <fmt/format.h>
#include <memory>

namespace weft::model {

class search {
public:
    using bits = detail::bits;
    using location = detail::location;
    using woken = detail::woken;

    search(std::string_view name, const std::function<void()>& model, const bounds& b);
    search(const search&) = delete;
    search& operator=(const search&) = delete;

    /// The one that is going on.
    static search& current() noexcept { return *current_; }
    [[nodiscard]] bool executes() const noexcept { return executes_; }
    static bool is_there() noexcept { return current_ != nullptr; }

    result run();
    result replay(std::string_view schedule);

    // --- What the running thread does ------------------------------------------------------------

    location make(const void* object, bits value, const site& made);
    void end(location l, const void* object);
    bits load(location l, const void* object, std::memory_order o, const site& at);
    void store(location l, const void* object, bits value, std::memory_order o, const site& at);
    bits read_newest(location l, const void* object, std::memory_order o, const char* what,
                     const site& at);
    void write_newest(bits value);
    bool compare_exchange(location l, const void* object, bits& expected, bits desired,
                          std::memory_order success, std::memory_order failure, bool weak,
                          const site& at);
    woken wait_while(location l, const void* object, bits expected, bool timed, const site& at);
    void wake(location l, const void* object, unsigned n, const site& at);
    void fence(std::memory_order o, const site& at);
    void store_ahead(location l, const void* object, bits value, const site& at);
    void fence_all(const site& at);
    void pause();
    void yield(const site& at);
    void read_plain(const void* p, const site& at);
    void write_plain(const void* p, const site& at);
    std::uint32_t make_bell();
    void ring(std::uint32_t n, const site& at);
    void wait_bell(std::uint32_t n, const site& at);
    void run_threads(const detail::thread_body* bodies, std::size_t n);
    unsigned choose(unsigned n);
    [[noreturn]] void fail(std::string what);

private:
    enum class phase : std::uint8_t {
        ended,
        running,     // or may run
        pausing,     // until something changes
        on_word,     // in a futex
        on_bell,     // in a doorbell
        for_threads, // for the end of all others
    };
    enum class action : std::uint8_t { go_on, go_on_unchanged, die, time_out, wake_spuriously };
    enum class request : std::uint8_t { none, finished, failed, restart };

    struct actor {
        explicit actor(std::size_t number) : stack(stack_size) { view.number = number; }
        fiber stack;
        detail::thread_body body;
        void (*to_run)(void*) = nullptr;
        void* argument = nullptr;
        phase state = phase::ended;
        thread_view view;
        std::vector<std::pair<location, bits>> seen; // since its last pause
        std::uint64_t paused_at = 0;
        std::size_t waits_for = 0; // a location or a doorbell
        bool timed = false;
        bool notified = false;
        woken how = woken::by_wake;
        bool fresh = false; // its next operation was chosen already
        const char* doing = "";
        site at;
        weft::detail::thread_state own; // what weft keeps for each thread, while it doesn't run
    };
    struct option {
        std::size_t who = 0;
        action what = action::go_on;
    };
    struct bell {
        unsigned rung = 0;
        knowledge message;
    };
    struct branch {
        std::uint8_t chosen = 0;
        std::uint8_t options = 0;
    };
    static constexpr std::size_t stack_size = 256 * 1024;
    static constexpr unsigned most_free_timeouts = 16;

    void execute();
    unsigned branch_into(std::size_t options);
    bool next_schedule() noexcept;
    [[nodiscard]] std::string schedule() const;
    void trace_failure(result& r);
    void begin_thread(actor& a, void (*f)(void*), void* argument);
    static void run_body(void* self) noexcept;
    void end_of_thread();
    [[noreturn]] void leave(request r) noexcept;

    /// They outlive a search: each keeps its stack, and memory for its coroutines.
    static actor& get(std::size_t number);
    actor& me() noexcept { return get(running_); }
    thread_view& view() noexcept { return me().view; }
    [[nodiscard]] bool may_go_on(const actor& a) const noexcept;
    [[nodiscard]] bool may_die(std::size_t who) const noexcept;
    [[nodiscard]] bool others_ended() const noexcept;
    [[nodiscard]] std::size_t readable(location l, std::memory_order o);
    /// The running thread is about to do something.
    void step(const char* what, const site& at);
    /// It can't go on before somebody else does something.
    void wait(phase how, std::size_t for_what);
    void pick(bool can_go_on);
    void offer(bool can_go_on);
    void switch_to(option o);
    [[noreturn]] void everybody_waits();
    void note_seen(location l, bits value);

    template <class... Args>
    void tell(fmt::format_string<Args...> f, Args&&... args) {
        if (!tracing_) [[likely]]
            return;
        trace_ += fmt::format("  T{} {:<40} {}\n", running_,
                              fmt::format(f, std::forward<Args>(args)...), where(me().at));
    }
    static std::string where(const site& s) {
        return fmt::format("{}:{}", short_path(s.file_name()), s.line());
    }

    static search* current_;

    std::string name_;
    const std::function<void()>& model_;
    bounds bounds_;

    // Of the whole search.
    std::vector<branch> trail_;
    std::uint64_t executions_ = 0;
    std::optional<std::string> failure_;
    bool tracing_ = false;
    std::string trace_;
    fiber home_;
    weft::detail::thread_state home_state_;
    bool executes_ = false;

    // Of an execution.
    std::size_t depth_ = 0; // in the trail
    request request_ = request::none;
    std::size_t restarted_ = 0;
    std::size_t threads_ = 1;
    std::size_t running_ = 0;
    bounds left_;
    unsigned free_timeouts_ = 0;
    std::uint64_t steps_ = 0;
    memory_model memory_;
    location modified_ = 0; // between read_newest and write_newest
    std::memory_order modified_order_ = std::memory_order_relaxed;
    std::vector<bell> bells_;
    std::vector<option> options_;
    std::vector<std::size_t> outcomes_; // of a compare_exchange
};

} // namespace weft::model
