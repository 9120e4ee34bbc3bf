// SPDX-License-Identifier: MIT
#include "pool_hub.hpp"

#include "function_name.hpp"

#include <weft/executors/cpus.hpp>
#include <weft/executors/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/assert.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/introspect.hpp>
#include <weft/runtime/spawn.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <new>
#include <stdexcept>
#include <system_error>

namespace weft::detail {

namespace {

pool_machine::limits limits_of(const process_pool_options& o, ipc::start_method method) {
    if (o.deaths_before_broken == 0 || o.max_pending == 0)
        throw std::invalid_argument(
            "process_pool: max_pending and deaths_before_broken must be at least 1");
    if (o.workers > 1u << 16)
        throw std::invalid_argument("process_pool: at most 65536 workers");
    if (o.idle_timeout < duration::zero())
        throw std::invalid_argument("process_pool: idle_timeout is negative");
    if (o.start_deadline < duration::zero() || o.stop_grace < duration::zero() ||
        o.deaths_within < duration::zero())
        throw std::invalid_argument(
            "process_pool: start_deadline, stop_grace and deaths_within can't be negative");
    pool_machine::limits l;
    l.workers = o.workers == 0 ? usable_cpus() : o.workers;
    l.pending = o.max_pending;
    l.start_deadline = o.start_deadline;
    l.stop_grace = o.stop_grace;
    l.deaths = o.deaths_before_broken;
    l.deaths_within = o.deaths_within;
    // Later it may have threads, and can't fork any more.
    l.least_workers = method == ipc::start_method::fork ? ~0u : o.min_workers;
    l.idle_time = o.idle_timeout;
    l.tasks_per_worker = o.max_tasks_per_worker;
    l.look_ahead = worker_memory::slots - 1;
    // Where workers have processors of their own, nothing is known of how many those are together.
    if (l.workers > 1 && o.worker.cpu_lists.empty() && !o.worker.one_cpu_each)
        l.processors = usable_cpus();
    l.death_breaks = o.on_worker_death == worker_death::breaks_pool;
    return l;
}

process_pool_options without_worker(process_pool_options o) {
    o.worker = worker_options();
    return o;
}

} // namespace

// Suspends the supervising task for as long as the pool lives.
class pool_hub::life_op : public operation {
public:
    explicit life_op(pool_hub& h) noexcept : operation(kind), hub_(h) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <weft_promise P>
    bool await_suspend(std::coroutine_handle<P> h,
                       std::source_location where = std::source_location::current()) noexcept {
        if (begin(h, where))
            hub_.begin_life(*this);
        return true;
    }
    void await_resume() const noexcept {}
    void end() noexcept { complete(); }

private:
    static void cancel_life(operation& op) noexcept { static_cast<life_op&>(op).hub_.loop_ends(); }
    static void describe_life(const operation& op, task_info& t) {
        t.notes = lines_of(static_cast<const life_op&>(op).hub_.statistics());
    }
    static constexpr operation_type kind{cancel_life, "the workers of a process pool",
                                         describe_life};
    pool_hub& hub_;
};

// Keeps the pool for its task, and ends it if the task was stopped before it had its first turn.
class pool_hub::lease {
public:
    explicit lease(std::shared_ptr<pool_hub> h) noexcept : hub(std::move(h)) {}
    lease(lease&&) noexcept = default;
    lease& operator=(lease&&) = delete;
    ~lease() {
        if (hub)
            hub->loop_ends();
    }
    std::shared_ptr<pool_hub> hub;
};

pool_hub::pump_work::pump_work(pool_hub& h) noexcept
    : work([](work& w) noexcept {
          auto& self = static_cast<pump_work&>(w);
          std::shared_ptr<pool_hub> keep;
          {
              std::lock_guard lock(self.hub.mutex_);
              keep = std::move(self.hub.kept_by_pump_);
          }
          keep->pump();
      }),
      hub(h) {}

pool_hub::deadline_timer::deadline_timer(pool_hub& h) noexcept
    : timer([](timer& t) noexcept {
          pool_hub& self = static_cast<deadline_timer&>(t).hub;
          self.armed_for_ = never;
          {
              std::lock_guard lock(self.mutex_);
              self.machine_.advance(self.loop_.now());
          }
          self.pump();
      }),
      hub(h) {}

pool_hub::trim_timer::trim_timer(pool_hub& h) noexcept
    : timer([](timer& t) noexcept {
          pool_hub& self = static_cast<trim_timer&>(t).hub;
          self.blocks_.drop_unused();
          self.trim_later();
      }),
      hub(h) {}

pool_hub::look_work::look_work(pool_hub& h) noexcept
    : work([](work& w) noexcept { static_cast<look_work&>(w).hub.look(); }), hub(h) {}

pool_hub::pool_hub(loop& l, const process_pool_options& options, ipc::byte_buffer initialiser)
    : loop_(l), options_(without_worker(options)), plan_(options),
      initialiser_(std::move(initialiser)), blocks_(plan_.blocks()), pump_(*this), look_(*this),
      timer_(*this), trim_(*this), machine_(limits_of(options, plan_.method())) {
    for (unsigned i = 0; i != machine_.workers(); ++i)
        channels_.push_back(std::make_unique<worker_channel>(*this, l, i));
}

pool_hub::~pool_hub() { WEFT_ASSERT(ended_, "a process pool went away before its workers"); }

task<> pool_hub::live(lease held) { co_await life_op(*held.hub); }

void pool_hub::start(std::shared_ptr<pool_hub> hub) {
    spawn(live(lease(std::move(hub)))).set_name("process_pool");
}

// --- From any thread -----------------------------------------------------------------------------

pool_machine::answer pool_hub::submit(pool_request& call) noexcept {
    std::lock_guard lock(mutex_);
    if (ended_)
        return machine_.is_broken() ? pool_machine::answer::broken : pool_machine::answer::closed;
    auto a = machine_.submit(call, loop_.now());
    if (a == pool_machine::answer::accepted)
        schedule_pump();
    return a;
}

bool pool_hub::cancel(pool_request& call) noexcept {
    std::lock_guard lock(mutex_);
    if (ended_)
        return false; // on its way home
    bool withdrawn = machine_.cancel(call, loop_.now());
    schedule_pump();
    return withdrawn;
}

void pool_hub::grant(pool_request& call, std::uint32_t items) noexcept {
    std::lock_guard lock(mutex_);
    if (ended_ || !machine_.grant(call))
        return;
    call.credit_ += items;
    schedule_pump();
}

bool pool_hub::shut_down(pool_shutdown_op& op) noexcept {
    std::lock_guard lock(mutex_);
    if (ended_)
        return false;
    time_point now = loop_.now();
    time_point ask_at = never;
    if (op.deadline_ != never) {
        duration left = std::max(op.deadline_ - now, duration::zero());
        ask_at = op.deadline_ - std::min(options_.stop_grace, left / 2);
    }
    machine_.shut_down(ask_at, op.deadline_, now);
    op.next_ = waiters_;
    waiters_ = &op;
    schedule_pump();
    return true;
}

bool pool_hub::forget(pool_shutdown_op& op) noexcept {
    std::lock_guard lock(mutex_);
    for (pool_shutdown_op** at = &waiters_; *at != nullptr; at = &(*at)->next_) {
        if (*at == &op) {
            *at = op.next_;
            return true;
        }
    }
    return false; // told already
}

void pool_hub::close() noexcept {
    std::lock_guard lock(mutex_);
    if (ended_)
        return;
    machine_.shut_down(never, never, loop_.now());
    schedule_pump();
}

void pool_hub::drop_pending() noexcept {
    std::lock_guard lock(mutex_);
    if (ended_)
        return;
    machine_.drop_pending(loop_.now());
    schedule_pump();
}

void pool_hub::terminate(duration grace) noexcept {
    {
        std::lock_guard lock(mutex_);
        if (ended_)
            return;
        machine_.terminate(loop_.now(), grace);
        if (!on_loop() || life_ == nullptr) {
            schedule_pump();
            return;
        }
    }
    pump(); // here and now: who calls this wants them gone
}

process_pool_statistics pool_hub::statistics() const {
    process_pool_statistics s;
    s.workers.reserve(channels_.size());
    std::lock_guard lock(mutex_);
    time_point now = ended_ ? clock::now() : loop_.now();
    for (unsigned i = 0; i != machine_.workers(); ++i) {
        auto v = machine_.worker(i);
        if (v.pid == 0)
            continue;
        process_pool_statistics::worker w;
        w.pid = v.pid;
        w.tasks_done = v.tasks_done;
        switch (v.state) {
        case pool_machine::worker_state::starting:
            w.is = process_pool_statistics::state::starting;
            break;
        case pool_machine::worker_state::idle:
            w.is = process_pool_statistics::state::idle;
            break;
        case pool_machine::worker_state::running:
            w.is = process_pool_statistics::state::idle;
            if (!channels_[i]->has_begun())
                break; // it was told, but may be asleep
            w.is = process_pool_statistics::state::running;
            w.task_age = now - v.since;
            w.task_tag = v.tag;
            if (const pool_task* t = machine_.task_of(i))
                w.function = function_name(static_cast<const pool_request*>(t)->function_->name());
            break;
        case pool_machine::worker_state::leaving:
        case pool_machine::worker_state::dying:
        case pool_machine::worker_state::absent:
            w.is = process_pool_statistics::state::ending;
            break;
        }
        s.workers.push_back(w);
    }
    s.queued = machine_.queued();
    s.message_memory = blocks_.size();
    s.done = machine_.done();
    s.failed = machine_.failed();
    s.respawned = machine_.respawned();
    s.broken = machine_.is_broken();
    return s;
}

bool pool_hub::ends() const noexcept {
    std::lock_guard lock(mutex_);
    return ended_ || machine_.ends();
}

void pool_question::put_into(process_pool_statistics& s) {
    std::lock_guard lock(mutex_);
    for (const auto& [pid, tasks] : told_) {
        for (process_pool_statistics::worker& w : s.workers) {
            if (w.pid == pid) {
                w.answered = true;
                w.tasks = tasks;
            }
        }
    }
}

std::shared_ptr<pool_question> pool_hub::ask() {
    std::lock_guard lock(mutex_);
    auto q = std::make_shared<pool_question>(++questions_asked_);
    std::erase_if(questions_, [](const auto& old) { return old.expired(); });
    if (ended_) {
        q->answered.set();
        return q;
    }
    questions_.push_back(q);
    loop_.post([hub = shared_from_this(), q] { hub->send_question(q); });
    return q;
}

void pool_hub::send_question(const std::shared_ptr<pool_question>& q) {
    std::vector<unsigned> running;
    {
        std::lock_guard lock(mutex_);
        for (unsigned i = 0; i != machine_.workers(); ++i) {
            if (machine_.worker(i).state != pool_machine::worker_state::running)
                continue;
            // One that was given a plain function as soon as it was there listens after that.
            const auto* first = static_cast<const pool_request*>(machine_.task_of(i));
            if (machine_.worker(i).tasks_done != 0 || first->takes_stop_ || first->in_setting_)
                running.push_back(i);
        }
        std::lock_guard of_question(q->mutex_);
        q->left_ = running.size();
        q->told_.reserve(running.size());
    }
    if (running.empty())
        q->answered.set();
    for (unsigned i : running)
        channels_[i]->send_question(q->id);
}

void pool_hub::worker_told(unsigned i, told_tasks what) {
    if (what.question == 0)
        return;
    std::shared_ptr<pool_question> q;
    int pid = 0;
    {
        std::lock_guard lock(mutex_);
        pid = machine_.worker(i).pid;
        for (const auto& asked : questions_)
            if (auto alive = asked.lock(); alive && alive->id == what.question)
                q = std::move(alive);
    }
    if (!q)
        return; // too late
    std::lock_guard lock(q->mutex_);
    q->told_.emplace_back(pid, std::move(what.tree));
    if (--q->left_ == 0)
        q->answered.set();
}

void pool_hub::throw_broken() const {
    std::lock_guard lock(mutex_);
    std::string text = "the process pool is broken: " + machine_.reason();
    throw broken_process_pool(text);
}

// --- From the channels ---------------------------------------------------------------------------

void pool_hub::worker_started(unsigned i, int pid) noexcept {
    begins_oom_watch_ = begins_oom_watch_ || !oom_.has_begun();
    std::lock_guard lock(mutex_);
    machine_.spawned(i, pid, loop_.now());
    schedule_pump();
}

void pool_hub::worker_not_started(unsigned i) noexcept {
    int error_number = ENOMEM;
    std::string why;
    try {
        try {
            throw;
        } catch (const std::system_error& e) {
            error_number = e.code().value();
            why = e.what();
        } catch (const std::bad_alloc&) {
            error_number = ENOMEM;
        } catch (const std::exception& e) {
            error_number = ENOTSUP;
            why = e.what();
        }
    } catch (...) { // no memory for the text, or the loop is ending
        why.clear();
    }
    std::lock_guard lock(mutex_);
    machine_.spawn_failed(i, error_number, loop_.now(), std::move(why));
    schedule_pump();
}

void pool_hub::worker_ready(unsigned i) noexcept {
    begins_oom_watch_ = true;
    {
        std::lock_guard lock(mutex_);
        if (initialiser_.size() == 0)
            machine_.ready(i, loop_.now());
        else
            machine_.preparing(i, loop_.now());
        schedule_pump();
    }
    if (initialiser_.size() != 0)
        channels_[i]->prepare(initialiser_.bytes());
}

namespace {
std::string text_of_error(const frame& f) noexcept {
    try {
        ipc::archive_reader in(f.payload.bytes());
        std::rethrow_exception(ipc::decode_error(in));
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) { // no std::exception ever comes
        return "an error that isn't an exception of the standard library";
    }
}
} // namespace

void pool_hub::worker_prepared(unsigned i, const frame& f) noexcept {
    std::string text = f.header.kind == frame_kind::error ? text_of_error(f) : std::string();
    std::lock_guard lock(mutex_);
    if (f.header.kind == frame_kind::error)
        machine_.preparation_failed(i, std::move(text), loop_.now());
    else
        machine_.ready(i, loop_.now());
    schedule_pump();
}

void pool_hub::worker_answered(unsigned i, frame f) noexcept {
    if (f.header.task == 0 && initialiser_.size() != 0) {
        worker_prepared(i, f);
        return;
    }
    ipc::byte_buffer arguments; // nobody needs them again; not under the lock
    std::lock_guard lock(mutex_);
    auto* t = machine_.task_of(i);
    if (t == nullptr || t->id != f.header.task) {
        machine_.misbehaved(i, loop_.now());
    } else {
        auto& call = static_cast<pool_request&>(*t);
        call.answer_ = std::move(f.payload);
        arguments = std::move(call.message_);
        call.answer_is_error_ = f.header.kind == frame_kind::error;
        call.stop_seen_ = f.header.stop_seen != 0;
        machine_.finished(i, call.answer_is_error_, loop_.now());
    }
    schedule_pump();
}

void pool_hub::worker_gave(unsigned i, frame f) noexcept {
    std::lock_guard lock(mutex_);
    auto* t = machine_.task_of(i);
    if (t != nullptr && t->id == f.header.task) {
        t->retries = 0; // who has seen an item mustn't see it again
        auto& call = static_cast<pool_request&>(*t);
        if (call.type_->gives != nullptr && call.type_->gives(call, std::move(f.payload)))
            return;
    }
    machine_.misbehaved(i, loop_.now());
    schedule_pump();
}

void pool_hub::worker_wants_again(unsigned i, std::uint64_t task) noexcept {
    pool_task* t = nullptr;
    {
        std::lock_guard lock(mutex_);
        t = machine_.task_of(i);
        if (t == nullptr || t->id != task) {
            machine_.misbehaved(i, loop_.now());
            schedule_pump();
            return;
        }
    }
    channels_[i]->send_again(static_cast<pool_request&>(*t)); // it stays until that is answered
}

void pool_hub::worker_misbehaved(unsigned i) noexcept {
    std::lock_guard lock(mutex_);
    machine_.misbehaved(i, loop_.now());
    schedule_pump();
}

void pool_hub::worker_died(unsigned i, worker_end end, bool begun) noexcept {
    std::lock_guard lock(mutex_);
    if (end.status.signal() == SIGKILL && !machine_.is_being_killed(i))
        end.out_of_memory = oom_.explains_kill();
    std::shared_ptr<const worker_end> kept;
    try {
        kept = std::make_shared<const worker_end>(std::move(end));
    } catch (...) { // no memory: it ended somehow
        kept.reset();
    }
    machine_.died(i, std::move(kept), loop_.now(), begun);
    schedule_pump();
}

// --- The lanes -----------------------------------------------------------------------------------

void pool_hub::look_soon() noexcept {
    if (kept_by_look_)
        return;
    kept_by_look_ = shared_from_this();
    loop_.push(look_);
}

void pool_hub::was_woken() noexcept {
    if (asleep_since_ != never && loop_.now() - asleep_since_ < lane_lookout::brief)
        lookout_.slept_briefly();
    asleep_since_ = never;
    look_soon();
}

void pool_hub::look() noexcept {
    auto kept = std::move(kept_by_look_);
    bool any = false, expects = false;
    for (const auto& c : channels_) {
        any = c->take_answers() || any;
        expects = expects || c->expects_answer();
    }
    if (any) {
        if (looks_in_vain_ > lane_lookout::looks)
            lookout_.saw_it_after(loop_.now() - gives_way_since_);
        else if (looks_in_vain_ != 0)
            lookout_.saw_it();
        looks_in_vain_ = 0;
    }
    if (any || (expects && look_out()) || !sleep_until_rung()) {
        if (!kept_by_look_) {
            kept_by_look_ = std::move(kept);
            loop_.post(look_); // after whoever wants something of this loop
        }
    }
}

// Whether to look again, because the answer to what was just sent is about to come.
bool pool_hub::look_out() noexcept {
    if (!lookout_.is_worth_it())
        return false;
    if (looks_in_vain_ < lane_lookout::looks) {
        constexpr unsigned at_once = 16;
        for (unsigned n = 0; n != at_once && !loop_.has_ready(); ++n) {
            if (std::ranges::any_of(channels_, [](const auto& c) { return c->has_answer(); }))
                break;
            std_atomics::pause(1);
        }
        looks_in_vain_ += at_once;
        return true;
    }
    const time_point now = loop_.now();
    if (looks_in_vain_ == lane_lookout::looks) {
        ++looks_in_vain_;
        gives_way_since_ = now;
    } else if (now - gives_way_since_ >= lane_lookout::brief) {
        looks_in_vain_ = 0;
        lookout_.saw_nothing();
        return false;
    }
    if (!loop_.has_ready())
        std_atomics::pause(lane_lookout::giving_way);
    return true;
}

// False: something has come meanwhile.
bool pool_hub::sleep_until_rung() noexcept {
    for (const auto& c : channels_) {
        if (!c->arm_bell())
            return false;
    }
    asleep_since_ = loop_.now();
    trim_later();
    return true;
}

void pool_hub::recall(unsigned i) noexcept {
    while (true) {
        std::lock_guard lock(mutex_);
        pool_task* t = machine_.last_ahead_of(i);
        if (t == nullptr || !channels_[i]->withdraw_last())
            break;
        auto& request = static_cast<pool_request&>(*t);
        if (std::exchange(request.begun_, false))
            request.type_->returns(request);
        machine_.taken_back(i, loop_.now());
    }
    channels_[i]->take_answers(); // if it has begun another one, the first is done
    std::lock_guard lock(mutex_);
    machine_.recalled(i, loop_.now());
}

// --- On the loop ---------------------------------------------------------------------------------

void pool_hub::schedule_pump() noexcept {
    if (kept_by_pump_)
        return;
    kept_by_pump_ = shared_from_this();
    if (on_loop())
        loop_.push(pump_);
    else
        loop_.post(pump_);
}

void pool_hub::begin_life(life_op& op) noexcept {
    {
        std::lock_guard lock(mutex_);
        if (!ended_) {
            life_ = &op;
            machine_.start(loop_.now());
        }
    }
    if (life_ == nullptr)
        op.end(); // terminated before it began
    else
        pump();
}

void pool_hub::loop_ends() noexcept {
    {
        std::lock_guard lock(mutex_);
        machine_.terminate(loop_.now());
    }
    pump();
}

void pool_hub::pump() noexcept {
    while (true) {
        std::optional<pool_machine::action> a;
        {
            std::lock_guard lock(mutex_);
            a = machine_.next();
        }
        if (!a)
            break;
        perform(*a);
    }
    if (std::exchange(begins_oom_watch_, false)) // the new worker is busy meanwhile
        oom_.begin();
    arm_timer();
    end_if_closed();
}

void pool_hub::perform(const pool_machine::action& a) noexcept {
    using kind = pool_machine::action_kind;
    switch (a.what) {
    case kind::complete:
        leave(*a.task);
        break;
    case kind::spawn:
        try {
            channels_[a.worker]->open();
        } catch (...) {
            worker_not_started(a.worker);
        }
        break;
    case kind::send_task:
        send_task(a);
        break;
    case kind::recall:
        recall(a.worker);
        break;
    case kind::send_stop:
        channels_[a.worker]->send_stop(a.task->id);
        break;
    case kind::send_credit:
        send_credit(a);
        break;
    case kind::send_quit:
        channels_[a.worker]->send_quit();
        break;
    case kind::send_term:
        channels_[a.worker]->send_term();
        break;
    case kind::kill:
        channels_[a.worker]->kill();
        break;
    }
}

void pool_hub::leave(pool_task& t) noexcept {
    auto& request = static_cast<pool_request&>(t);
    request.type_->leaves(request);
}

void pool_hub::send_task(const pool_machine::action& a) noexcept {
    auto& request = static_cast<pool_request&>(*a.task);
    if (std::exchange(request.begun_, true) || request.type_->begins(request)) {
        channels_[a.worker]->send_task(request);
        return;
    }
    bool taken_back = false;
    {
        std::lock_guard lock(mutex_);
        taken_back = machine_.take_back(request, loop_.now());
    }
    if (taken_back)
        leave(*a.task);
}

void pool_hub::send_credit(const pool_machine::action& a) noexcept {
    std::uint32_t items = 0;
    {
        std::lock_guard lock(mutex_);
        items = std::exchange(static_cast<pool_request&>(*a.task).credit_, 0);
    }
    channels_[a.worker]->send_credit(a.task->id, items);
}

void pool_hub::arm_timer() noexcept {
    time_point next;
    {
        std::lock_guard lock(mutex_);
        next = machine_.next_deadline();
    }
    // One that fires too early is set anew then, which costs less than to move it all the time.
    if (next >= armed_for_)
        return;
    loop_.remove_timer(timer_);
    armed_for_ = never;
    if (next == never)
        return;
    try {
        loop_.add_timer(timer_, next);
        armed_for_ = next;
    } catch (...) {
        // No memory for one entry of the heap: the next event of the pool tries again.
        static_cast<void>(next);
    }
}

// As long as there are blocks those that aren't used are looked for.
void pool_hub::trim_later() noexcept {
    if (trim_.active() || life_ == nullptr || blocks_.size() == 0)
        return;
    try {
        loop_.add_timer(trim_, loop_.now() + shared_blocks::trim_every);
    } catch (...) { // no memory for one entry of the heap: the next large argument tries again
        static_cast<void>(trim_);
    }
}

void pool_hub::end_if_closed() noexcept {
    pool_shutdown_op* told = nullptr;
    {
        std::lock_guard lock(mutex_);
        // A pump that is scheduled comes by here once more.
        if (ended_ || !machine_.closed() || kept_by_pump_)
            return;
        ended_ = true;
        told = std::exchange(waiters_, nullptr);
    }
    loop_.remove_timer(timer_);
    loop_.remove_timer(trim_);
    while (told != nullptr) {
        pool_shutdown_op* next = told->next_;
        told->leave_pool(loop_);
        told = next;
    }
    if (life_ != nullptr)
        std::exchange(life_, nullptr)->end();
}

} // namespace weft::detail
