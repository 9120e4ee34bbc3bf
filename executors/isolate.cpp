// SPDX-License-Identifier: MIT
#include <weft/executors/isolate.hpp>

#include <weft/ipc/detail/stack_trace.hpp>
#include <weft/ipc/detail/type_name.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/assert.hpp>

#include <atomic>
#include <map>
#include <mutex>

namespace weft {

// --- Errors --------------------------------------------------------------------------------------

isolate_error::~isolate_error() = default;
isolate_closed::~isolate_closed() = default;

execution_failed::execution_failed(const std::exception_ptr& cause, std::string_view trace)
    : remote_error(ipc::describe_error(cause, trace)), cause_(cause) {}
execution_failed::execution_failed(const ipc::remote_error& told, std::exception_ptr cause)
    : remote_error(told), cause_(std::move(cause)) {}
execution_failed::~execution_failed() = default;

template <>
struct ipc::codec<execution_failed> {
    static void encode(archive_writer& out, const execution_failed& e) {
        encode_error(out, e.cause(), e.trace());
    }
    static execution_failed decode(archive_reader& in) {
        archive_reader again = in; // the texts are there whether or not the type is known
        auto type = ipc::decode<std::string>(again);
        auto text = ipc::decode<std::string>(again);
        const remote_error told(type, text, ipc::decode<std::string>(again));
        return execution_failed(told, decode_error(in));
    }
};

namespace {
[[maybe_unused]] const bool isolate_errors_known = ipc::register_error<isolate_error>() &&
                                                   ipc::register_error<isolate_closed>() &&
                                                   ipc::register_error<execution_failed>();
} // namespace

// --- What is known of isolates -------------------------------------------------------------------

namespace detail {

class isolate_state {
public:
    /// The program's, or the one that this is.
    isolate_state(std::uint64_t n, isolate_origin from) noexcept : id(n), whence(from) {}
    isolate_state(std::uint64_t n, const process_pool_options& options);
    isolate_state(const isolate_state&) = delete;
    isolate_state& operator=(const isolate_state&) = delete;
    ~isolate_state() = default;

    [[nodiscard]] bool has_ended() const { return closed || (pool && pool->statistics().broken); }
    [[nodiscard]] std::string name() const { return "isolate " + std::to_string(id); }

    const std::uint64_t id;
    const isolate_origin whence;
    ipc::shared_memory birth; // says that its process was there
    std::optional<process_pool> pool;
    std::atomic<bool> closed{false};
};

namespace {

struct bound_value {
    const std::type_info* type;
    std::shared_ptr<void> value;
};

// What this process knows: which isolate it is, those that it made, and what is bound.
struct isolate_world {
    std::mutex mutex;
    std::uint64_t own_id = 0;
    std::uint64_t made = 0;
    std::vector<std::weak_ptr<isolate_state>> isolates;
    std::map<std::string, bound_value, std::less<>> values;

    // Never destroyed, for handles may be static.
    static isolate_world& instance() {
        static isolate_world& w = *new isolate_world();
        return w;
    }
};

// Numbers that are different from all that this process can meet: each isolate counts on from its
// own.
std::uint64_t next_isolate_id() {
    isolate_world& w = isolate_world::instance();
    std::lock_guard lock(w.mutex);
    return (w.own_id << 16) + ++w.made;
}

std::shared_ptr<isolate_state> isolate_without_pool(std::uint64_t id) {
    return std::make_shared<isolate_state>(id, id == 0 ? isolate_origin::program
                                                       : isolate_origin::created);
}

} // namespace

// Runs in the process before anything else, and once only: another process in its place, which
// knows nothing of what the first one knew, must not come up.
void become_isolate(std::uint64_t id, const memory_place& birth) {
    ipc::shared_memory m = memory_at(birth);
    std::atomic_ref<std::uint32_t> was_there(*reinterpret_cast<std::uint32_t*>(m.bytes().data()));
    if (was_there.exchange(1) != 0)
        throw isolate_closed("its process has ended, and with it what it knew");
    isolate_world& w = isolate_world::instance();
    std::lock_guard lock(w.mutex); // a process with other threads isn't forked
    w.own_id = id;
    // A process that was forked has its parent's.
    w.made = 0;
    w.isolates.clear();
    w.values.clear();
}

namespace {

process_pool_options for_one_worker(process_pool_options o) {
    if (o.workers > 1 || o.max_tasks_per_worker != 0)
        throw std::invalid_argument("an isolate has one worker, which isn't replaced");
    o.workers = 1;
    o.min_workers = 1;
    o.idle_timeout = duration::max();
    o.deaths_before_broken = 1;
    return o;
}

} // namespace

isolate_state::isolate_state(std::uint64_t n, const process_pool_options& options)
    : id(n), whence(isolate_origin::created),
      birth(ipc::shared_memory::create_nameless(sizeof(std::uint32_t))) {
    pool.emplace(for_one_worker(options), fn<&become_isolate>, id, place_of(birth));
}

void keep_bound(std::string name, const std::type_info& type, std::shared_ptr<void> value) {
    isolate_world& w = isolate_world::instance();
    bound_value fresh{&type, std::move(value)};
    std::lock_guard lock(w.mutex);
    std::swap(w.values.try_emplace(std::move(name)).first->second, fresh);
}

void* find_bound(std::string_view name, const std::type_info& type) {
    isolate_world& w = isolate_world::instance();
    std::lock_guard lock(w.mutex);
    auto found = w.values.find(name);
    if (found == w.values.end())
        throw lookup_error("nothing is bound to the name " + std::string(name) +
                           " in this isolate");
    if (*found->second.type != type)
        throw isolate_error("what is bound to the name " + std::string(name) + " is a " +
                            ipc::detail::readable_type_name(found->second.type->name()) +
                            ", not a " + ipc::detail::readable_type_name(type.name()));
    return found->second.value.get();
}

void run_in_isolate(void (*f)(void*), void* argument) {
    ipc::detail::stack_trace trace;
    try {
        ipc::detail::call_traced(f, argument, trace);
    } catch (const cancelled_error&) {
        throw; // it did as it was told
    } catch (...) {
        throw execution_failed(std::current_exception(), trace.text());
    }
}

} // namespace detail

// --- A handle ------------------------------------------------------------------------------------

isolate::isolate(std::shared_ptr<detail::isolate_state> state) noexcept
    : state_(std::move(state)) {}

isolate isolate::create(const process_pool_options& options) {
    auto state = std::make_shared<detail::isolate_state>(detail::next_isolate_id(), options);
    detail::isolate_world& w = detail::isolate_world::instance();
    std::lock_guard lock(w.mutex);
    std::erase_if(w.isolates, [](const auto& i) { return i.expired(); });
    w.isolates.push_back(state);
    return isolate(std::move(state));
}

isolate isolate::main() { return isolate(detail::isolate_without_pool(0)); }

isolate isolate::current() {
    return isolate(detail::isolate_without_pool(detail::isolate_world::instance().own_id));
}

std::vector<isolate> isolate::list_all() {
    std::vector<isolate> all;
    all.push_back(main());
    if (isolate self = current(); self.id() != 0)
        all.push_back(std::move(self));
    std::vector<isolate> made; // what is dropped here may be the last handle
    detail::isolate_world& w = detail::isolate_world::instance();
    {
        std::lock_guard lock(w.mutex);
        for (const auto& i : w.isolates)
            if (auto state = i.lock())
                made.push_back(isolate(std::move(state)));
    }
    for (isolate& i : made)
        if (!i.state_->has_ended())
            all.push_back(std::move(i));
    return all;
}

std::uint64_t isolate::id() const noexcept { return state_->id; }

isolate_origin isolate::whence() const noexcept { return state_->whence; }

bool isolate::is_running() const {
    if (!state_->pool)
        return true; // this code, or what waits for it
    if (state_->has_ended())
        throw isolate_closed(state_->name() + " has ended");
    process_pool_statistics s = state_->pool->statistics();
    return s.queued != 0 ||
           (!s.workers.empty() && s.workers.front().is == process_pool_statistics::state::running);
}

process_pool& isolate::open_pool() const {
    if (!state_->pool)
        throw isolate_error(state_->name() +
                            (state_->id == 0 ? " is the program itself" : " is the one that asks") +
                            ", and can't be called");
    if (state_->closed)
        throw isolate_closed(state_->name() + " was closed");
    if (state_->has_ended())
        throw isolate_closed(state_->name() + " has ended: its process did");
    return *state_->pool;
}

task<> isolate::close() const {
    if (!state_->pool)
        throw isolate_error(state_->name() + " can't be closed from here");
    if (!state_->closed && !state_->has_ended() && is_running())
        throw isolate_error(state_->name() + " is running, and can't be closed");
    if (state_->closed.exchange(true))
        throw isolate_closed(state_->name() + " was closed");
    return state_->pool->shutdown(shutdown_options());
}

task<> isolate::shutdown(shutdown_options how) const {
    if (!state_->pool)
        throw isolate_error(state_->name() + " can't be closed from here");
    state_->closed = true;
    return state_->pool->shutdown(how);
}

process_pool_statistics isolate::statistics() const {
    return state_->pool ? state_->pool->statistics() : process_pool_statistics();
}

} // namespace weft
