// SPDX-License-Identifier: MIT
#include "model/search.hpp"

#include "model/arena.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <exception>

namespace weft::model {

search* search::current_ = nullptr;

namespace {

constexpr int crashes[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr std::size_t alternate_stack_size = 64 * 1024;

/// An assertion of the library or a crash ends the execution as a failure, instead of the program.
class crash_watch {
public:
    crash_watch() : stack_(alternate_stack_size) {
        ::stack_t s{};
        s.ss_sp = stack_.data();
        s.ss_size = stack_.size();
        ::sigaltstack(&s, &stack_before_);
        struct sigaction a{};
        a.sa_handler = crashed;
        a.sa_flags = SA_ONSTACK | SA_NODEFER;
        for (std::size_t i = 0; i < std::size(crashes); ++i)
            ::sigaction(crashes[i], &a, &before_[i]);
    }
    crash_watch(const crash_watch&) = delete;
    crash_watch& operator=(const crash_watch&) = delete;
    ~crash_watch() {
        for (std::size_t i = 0; i < std::size(crashes); ++i)
            ::sigaction(crashes[i], &before_[i], nullptr);
        ::sigaltstack(&stack_before_, nullptr);
    }

private:
    static void crashed(int signal) {
        if (!search::current().executes()) { // not the model: as if we weren't here
            ::signal(signal, SIG_DFL);
            ::raise(signal);
        }
        arena::in_use = false;
        search::current().fail(fmt::format("the model crashed: {}", ::strsignal(signal)));
    }

    std::vector<std::byte> stack_;
    ::stack_t stack_before_{};
    struct sigaction before_[std::size(crashes)]{};
};

unsigned from_environment(const char* name, unsigned otherwise) {
    const char* given = std::getenv(name);
    return given == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(given, nullptr, 10));
}

} // namespace

search::search(std::string_view name, const std::function<void()>& model, const bounds& b)
    : name_(name), model_(model), bounds_(b) {
    bounds_.preemptions = from_environment("WEFT_MODEL_PREEMPTIONS", b.preemptions);
}

search::actor& search::get(std::size_t number) {
    static std::vector<std::unique_ptr<actor>> all;
    while (all.size() < all_threads)
        all.push_back(std::make_unique<actor>(all.size()));
    return *all[number];
}

// --- The search ----------------------------------------------------------------------------------

result search::run() {
    crash_watch watch;
    current_ = this;
    result r;
    r.name = name_;
    bool more = true;
    while (more && !failure_ && executions_ < bounds_.executions) {
        execute();
        more = failure_ || next_schedule();
    }
    r.executions = executions_;
    r.complete = !more;
    if (failure_) {
        r.failure = failure_;
        r.schedule = schedule();
        tracing_ = true;
        execute();
        r.trace = trace_;
    }
    current_ = nullptr;
    return r;
}

result search::replay(std::string_view choices) {
    while (!choices.empty()) { // position:choice,position:choice
        std::string_view one = choices.substr(0, choices.find(','));
        choices.remove_prefix(std::min(choices.size(), one.size() + 1));
        std::size_t at = 0;
        unsigned chosen = 0;
        auto colon = std::from_chars(one.data(), one.data() + one.size(), at);
        if (colon.ptr != one.data() + one.size())
            std::from_chars(colon.ptr + 1, one.data() + one.size(), chosen);
        if (trail_.size() <= at)
            trail_.resize(at + 1);
        trail_[at].chosen = static_cast<std::uint8_t>(chosen);
    }
    crash_watch watch;
    current_ = this;
    tracing_ = true;
    execute();
    current_ = nullptr;
    result r;
    r.name = name_;
    r.executions = executions_;
    r.failure = failure_;
    r.schedule = schedule();
    r.trace = trace_;
    return r;
}

std::string search::schedule() const {
    std::string text;
    for (std::size_t i = 0; i < trail_.size(); ++i)
        if (trail_[i].chosen != 0)
            text += fmt::format("{}{}:{}", text.empty() ? "" : ",", i, trail_[i].chosen);
    return text;
}

bool search::next_schedule() noexcept {
    while (!trail_.empty() && trail_.back().chosen + 1 >= trail_.back().options)
        trail_.pop_back();
    if (trail_.empty())
        return false;
    ++trail_.back().chosen;
    return true;
}

unsigned search::branch_into(std::size_t options) {
    if (options == 1)
        return 0;
    if (options > 255)
        fail("a model has too many options at once");
    if (depth_ == trail_.size()) {
        trail_.push_back({0, static_cast<std::uint8_t>(options)});
        ++depth_;
        return 0;
    }
    branch& b = trail_[depth_++];
    if (b.options == 0) // a schedule that was given
        b.options = static_cast<std::uint8_t>(options);
    if (b.options != options || b.chosen >= options)
        fail("the same choices led somewhere else: the model depends on something that it doesn't "
             "control");
    return b.chosen;
}

void search::execute() {
    ++executions_;
    memory_.reset();
    arena::reset();
    bells_.clear();
    depth_ = 0;
    left_ = bounds_;
    free_timeouts_ = 0;
    steps_ = 0;
    threads_ = 1;
    running_ = 0;
    actor& first = get(0);
    first.view.now = {};
    first.view.now.clock[0] = 1;
    begin_thread(
        first, [](void* f) { (*static_cast<const std::function<void()>*>(f))(); },
        const_cast<std::function<void()>*>(&model_));
    home_state_ = weft::detail::this_thread_state;
    do {
        request_ = request::none;
        actor& next = me();
        weft::detail::this_thread_state = next.own;
        executes_ = true;
        fiber::change(home_, next.stack);
        executes_ = false;
        if (request_ == request::restart) {
            running_ = restarted_;
            begin_thread(me(), me().body.run, me().argument);
        }
    } while (request_ == request::restart);
    weft::detail::this_thread_state = home_state_;
    trail_.resize(std::min(trail_.size(), depth_));
}

void search::leave(request r) noexcept {
    request_ = r;
    actor& a = me();
    a.own = weft::detail::this_thread_state;
    fiber::change(a.stack, home_);
    std::abort(); // nobody comes back here
}

void search::fail(std::string what) {
    if (!executes_) {
        fmt::print(stderr, "outside of a model: {}\n", what);
        std::abort();
    }
    if (tracing_)
        trace_ += fmt::format("  T{} {}\n", running_, what);
    failure_ = std::move(what);
    leave(request::failed);
}

// --- Threads -------------------------------------------------------------------------------------

void search::begin_thread(actor& a, void (*f)(void*), void* argument) {
    a.to_run = f;
    a.argument = argument;
    a.state = phase::running;
    a.view.released = {};
    a.view.read = {};
    a.view.ahead = {};
    a.view.fenced = {};
    a.seen.clear();
    a.fresh = true;
    a.doing = "begin";
    a.own.current_runner = nullptr;
    a.stack.prepare(run_body, this);
}

void search::run_body(void* self) noexcept {
    auto& s = *static_cast<search*>(self);
    actor& a = s.me();
    std::string thrown;
    arena::in_use = true;
    try {
        a.to_run(a.argument);
        arena::in_use = false;
    } catch (const std::exception& e) {
        arena::in_use = false;
        thrown = e.what();
    } catch (...) {
        arena::in_use = false;
        thrown = "something else";
    }
    if (!thrown.empty())
        s.fail("a thread threw: " + std::exchange(thrown, {}));
    if (s.running_ == 0)
        s.leave(request::finished);
    s.end_of_thread();
}

void search::end_of_thread() {
    me().doing = "end";
    me().state = phase::ended;
    pick(false);
}

void search::run_threads(const detail::thread_body* bodies, std::size_t n) {
    if (running_ != 0)
        fail("only the first thread of a model makes others");
    threads_ = n + 1;
    for (std::size_t i = 0; i < n; ++i) {
        actor& a = get(i + 1);
        a.body = bodies[i];
        a.view.now = view().now;
        a.view.now.clock[i + 1] = 1 + view().now.clock[i + 1];
        begin_thread(a, bodies[i].run, bodies[i].argument);
    }
    ++view().now.clock[0];
    me().doing = "threads";
    wait(phase::for_threads, 0);
    for (std::size_t i = 1; i <= n; ++i)
        memory_.join(view().now, get(i).view.now);
    threads_ = 1;
}

bool search::others_ended() const noexcept {
    for (std::size_t i = 1; i < threads_; ++i)
        if (get(i).state != phase::ended)
            return false;
    return true;
}

bool search::may_go_on(const actor& a) const noexcept {
    switch (a.state) {
    case phase::ended:
        return false;
    case phase::running:
        return true;
    case phase::pausing: // a loop that reads the same again comes to the same end
        for (auto [l, value] : a.seen)
            if (memory_.value(l, memory_.newest(l)) != value)
                return true;
        return a.seen.empty() && steps_ > a.paused_at;
    case phase::on_word:
        return a.notified;
    case phase::on_bell:
        return bells_[a.waits_for].rung != 0;
    case phase::for_threads:
        return others_ended();
    }
    return false;
}

bool search::may_die(std::size_t who) const noexcept {
    const actor& a = get(who);
    return left_.deaths != 0 && who != 0 && a.state != phase::ended && a.body.at_death != nullptr;
}

void search::step(const char* what, const site& at) {
    actor& a = me();
    a.doing = what;
    a.at = at;
    if (++steps_ > bounds_.steps)
        fail("an execution doesn't end: something spins without a pause, or far too much is done");
    if (std::exchange(a.fresh, false))
        return;
    if (threads_ != 1)
        pick(true);
}

void search::wait(phase how, std::size_t for_what) {
    actor& a = me();
    a.state = how;
    a.waits_for = for_what;
    pick(false);
}

void search::pick(bool can_go_on) {
    offer(can_go_on);
    option chosen = options_[branch_into(options_.size())];
    if (can_go_on && chosen.who != running_) {
        --left_.preemptions;
        tell("... is preempted");
    }
    switch_to(chosen);
}

void search::offer(bool can_go_on) {
    options_.clear();
    const bool may_switch = !can_go_on || left_.preemptions != 0;
    bool progress = can_go_on;
    if (can_go_on)
        options_.push_back({running_, action::go_on});
    for (std::size_t i = 1; i <= threads_ && may_switch; ++i) {
        std::size_t who = (running_ + i) % threads_;
        if (who == running_ && can_go_on)
            continue;
        actor& a = get(who);
        if (may_go_on(a)) {
            options_.push_back({who, action::go_on});
            progress = true;
        } else if (a.state == phase::pausing && who == running_ && left_.pauses != 0) {
            options_.push_back({who, action::go_on_unchanged});
            progress = true;
        }
    }
    for (std::size_t who = 1; who < threads_ && may_switch; ++who) {
        actor& a = get(who);
        if (a.state != phase::on_word || a.notified)
            continue;
        if (a.timed && (!progress || left_.timeouts != 0))
            options_.push_back({who, action::time_out});
    }
    if (!progress && (options_.empty() || ++free_timeouts_ > most_free_timeouts))
        everybody_waits();
    for (std::size_t who = 1; who < threads_ && may_switch; ++who)
        if (get(who).state == phase::on_word && !get(who).notified && left_.spurious != 0)
            options_.push_back({who, action::wake_spuriously});
    for (std::size_t who = 1; who < threads_; ++who)
        if (may_die(who) && (may_switch || who == running_))
            options_.push_back({who, action::die});
}

void search::switch_to(option o) {
    actor& before = me();
    actor& next = get(o.who);
    switch (o.what) {
    case action::die:
        --left_.deaths;
        if (tracing_)
            trace_ += fmt::format("  T{} vanishes\n", o.who);
        restarted_ = o.who;
        next.body.run = std::exchange(next.body.at_death, nullptr);
        if (o.who == running_)
            leave(request::restart);
        begin_thread(next, next.body.run, next.body.argument);
        break;
    case action::time_out:
        if (left_.timeouts != 0)
            --left_.timeouts;
        next.how = woken::timed_out;
        break;
    case action::wake_spuriously:
        --left_.spurious;
        next.how = woken::spuriously;
        break;
    case action::go_on_unchanged:
        --left_.pauses;
        [[fallthrough]];
    case action::go_on:
        if (next.state == phase::pausing)
            for (auto [l, value] : next.seen)
                memory_.see_newest(next.view, l);
        else if (next.state == phase::on_word)
            next.how = woken::by_wake;
        break;
    }
    if (next.state == phase::pausing)
        next.seen.clear();
    // What it does next was chosen by choosing it.
    if (next.state == phase::pausing || next.state == phase::on_word)
        next.fresh = true;
    next.state = phase::running;
    if (o.who == running_)
        return;
    running_ = o.who;
    before.own = weft::detail::this_thread_state;
    weft::detail::this_thread_state = next.own;
    fiber::change(before.stack, next.stack);
}

void search::everybody_waits() {
    std::string who;
    for (std::size_t i = 1; i < threads_; ++i) {
        const actor& a = get(i);
        if (a.state != phase::ended)
            who += fmt::format("{}thread {} in {} ({})", who.empty() ? "" : ", ", i, a.doing,
                               where(a.at));
    }
    fail("everybody waits: " + who);
}

void search::pause() {
    actor& a = me();
    a.doing = "pause";
    a.state = phase::pausing;
    a.paused_at = steps_;
    pick(false);
}

void search::yield(const site& at) {
    actor& a = me();
    a.doing = "yield";
    a.at = at;
    if (threads_ == 1)
        return;
    pick(false);
    a.fresh = true;
}

unsigned search::choose(unsigned n) {
    unsigned chosen = branch_into(n);
    if (n > 1)
        tell("chooses {} of {}", chosen, n);
    return chosen;
}

// --- Memory --------------------------------------------------------------------------------------

void search::note_seen(location l, bits value) {
    for (auto& [where, was] : me().seen) {
        if (where == l) {
            was = value;
            return;
        }
    }
    me().seen.emplace_back(l, value);
}

search::location search::make(const void* object, bits value, const site& made) {
    return memory_.make(view(), object, value, made);
}

void search::end(location l, const void* object) { memory_.end(view(), l, object); }

/// Which store is read now.
std::size_t search::readable(location l, std::memory_order o) {
    std::size_t newest = memory_.newest(l);
    if (left_.stale_reads == 0)
        return newest;
    std::size_t back = branch_into(newest - memory_.oldest(view(), l, o) + 1);
    if (back != 0)
        --left_.stale_reads;
    return newest - back;
}

search::bits search::load(location l, const void* object, std::memory_order o, const site& at) {
    step("load", at);
    memory_.touch(view(), l, object);
    o = order_now("load", o, false, at);
    std::size_t index = readable(l, o);
    memory_.read(view(), l, index, o);
    bits value = memory_.value(l, index);
    note_seen(l, value);
    tell("#{} load {}: {:#x}{}", l, name_of(o), value,
         index == memory_.newest(l) ? "" : " (not the newest)");
    return value;
}

void search::store(location l, const void* object, bits value, std::memory_order o,
                   const site& at) {
    step("store", at);
    memory_.touch(view(), l, object);
    o = order_now("store", o, false, at);
    memory_.write(view(), l, value, o);
    note_seen(l, value);
    tell("#{} store {}: {:#x}", l, name_of(o), value);
}

search::bits search::read_newest(location l, const void* object, std::memory_order o,
                                 const char* what, const site& at) {
    step(what, at);
    memory_.touch(view(), l, object);
    modified_ = l;
    modified_order_ = order_now(what, o, false, at);
    return memory_.value(l, memory_.newest(l));
}

void search::write_newest(bits value) {
    bits was = memory_.value(modified_, memory_.newest(modified_));
    memory_.modify(view(), modified_, value, modified_order_);
    note_seen(modified_, value);
    tell("#{} {} {}: {:#x} -> {:#x}", modified_, me().doing, name_of(modified_order_), was, value);
}

bool search::compare_exchange(location l, const void* object, bits& expected, bits desired,
                              std::memory_order success, std::memory_order failure, bool weak,
                              const site& at) {
    step("compare_exchange", at);
    memory_.touch(view(), l, object);
    success = order_now("compare_exchange", success, false, at);
    failure = order_now("compare_exchange", failure, true, at);
    const std::size_t newest = memory_.newest(l);
    const bool fits = memory_.value(l, newest) == expected;
    const bool may_fail = fits && weak && left_.spurious != 0;
    // The newest; the newest but in vain; and older ones that aren't what is expected.
    outcomes_.assign(may_fail ? 2 : 1, newest);
    if (left_.stale_reads != 0)
        for (std::size_t i = newest; i-- > memory_.oldest(view(), l, failure);)
            if (memory_.value(l, i) != expected)
                outcomes_.push_back(i);
    const unsigned chosen = branch_into(outcomes_.size());
    if (fits && chosen == 0) {
        memory_.modify(view(), l, desired, success);
        note_seen(l, desired);
        tell("#{} compare_exchange {}: {:#x} -> {:#x}", l, name_of(success), expected, desired);
        return true;
    }
    const std::size_t index = outcomes_[chosen];
    if (may_fail && chosen == 1)
        --left_.spurious;
    else if (index != newest)
        --left_.stale_reads;
    memory_.read(view(), l, index, failure);
    bits value = memory_.value(l, index);
    note_seen(l, value);
    tell("#{} compare_exchange fails {}: {:#x}, expected {:#x}", l, name_of(failure), value,
         expected);
    expected = value;
    return false;
}

void search::fence(std::memory_order o, const site& at) {
    step("fence", at);
    o = order_now("fence", o, false, at);
    memory_.fence(view(), o);
    tell("fence {}", name_of(o));
}

void search::store_ahead(location l, const void* object, bits value, const site& at) {
    step("store_ahead", at);
    memory_.touch(view(), l, object);
    std::memory_order o = order_now("store_ahead", std::memory_order_seq_cst, false, at);
    // Weakened, it is a release that nothing comes after, or the other way round.
    memory_.write(view(), l, value, o == std::memory_order_relaxed ? o : std::memory_order_release);
    if (o != std::memory_order_release)
        memory_.go_ahead(view());
    note_seen(l, value);
    tell("#{} store_ahead {}: {:#x}", l, name_of(o), value);
}

void search::fence_all(const site& at) {
    step("fence_all", at);
    std::memory_order o = order_now("fence_all", std::memory_order_seq_cst, false, at);
    memory_.fence(view(), o);
    tell("fence_all {}", name_of(o));
    if (o != std::memory_order_seq_cst)
        return;
    // The others pass it one after the other.
    for (std::size_t i = 1; i < threads_; ++i) {
        if (i == running_)
            continue;
        if (get(i).state == phase::ended) // it has left everything behind
            memory_.go_ahead(get(i).view);
        else
            step("fence_all", at);
        memory_.fence_for(view(), get(i).view);
        tell("fence_all: thread {} has passed it", i);
    }
}

search::woken search::wait_while(location l, const void* object, bits expected, bool timed,
                                 const site& at) {
    step("wait", at);
    memory_.touch(view(), l, object);
    memory_.see_through_kernel(view());
    std::size_t index = readable(l, std::memory_order_relaxed);
    bits value = memory_.value(l, index);
    if (value != expected) {
        memory_.read(view(), l, index, std::memory_order_relaxed);
        tell("#{} wait: is {:#x} already", l, value);
        return woken::changed;
    }
    tell("#{} waits", l);
    actor& a = me();
    a.timed = timed;
    a.notified = false;
    wait(phase::on_word, l);
    tell("#{} is woken", l);
    return a.how;
}

void search::wake(location l, const void* object, unsigned n, const site& at) {
    step("wake", at);
    memory_.touch(view(), l, object);
    memory_.see_through_kernel(view());
    tell("#{} wake", l);
    while (n-- != 0) {
        std::size_t waiting[all_threads];
        std::size_t count = 0;
        for (std::size_t i = 1; i < threads_; ++i)
            if (get(i).state == phase::on_word && get(i).waits_for == l && !get(i).notified)
                waiting[count++] = i;
        if (count == 0)
            return;
        get(waiting[branch_into(count)]).notified = true;
    }
}

void search::read_plain(const void* p, const site& at) { memory_.read_plain(view(), p, at); }
void search::write_plain(const void* p, const site& at) { memory_.write_plain(view(), p, at); }

std::uint32_t search::make_bell() {
    bells_.emplace_back();
    return static_cast<std::uint32_t>(bells_.size() - 1);
}

void search::ring(std::uint32_t n, const site& at) {
    step("ring", at);
    tell("bell {} rings", n);
    ++bells_[n].rung;
    memory_.join(bells_[n].message, view().now);
    ++view().now.clock[running_];
}

void search::wait_bell(std::uint32_t n, const site& at) {
    step("wait for a bell", at);
    while (bells_[n].rung == 0)
        wait(phase::on_bell, n);
    --bells_[n].rung;
    memory_.join(view().now, bells_[n].message);
    tell("bell {} heard", n);
}

} // namespace weft::model
