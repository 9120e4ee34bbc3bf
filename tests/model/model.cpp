// SPDX-License-Identifier: MIT
#include "model/model.hpp"

#include "model/arena.hpp"
#include "model/search.hpp"

#include <cstdlib>

namespace weft::model {

namespace {

/// The checker's own work: what it allocates isn't the model's.
class outside {
public:
    outside() noexcept : before_(std::exchange(arena::in_use, false)) {}
    outside(const outside&) = delete;
    outside& operator=(const outside&) = delete;
    ~outside() { arena::in_use = before_; }

private:
    bool before_;
};

} // namespace

std::string result::text() const {
    if (failure)
        return fmt::format("model \"{}\", execution {}: {}\n{}  WEFT_MODEL_REPLAY='{}@{}'", name,
                           executions, *failure, trace, name, schedule);
    return fmt::format("model \"{}\": {} executions{}", name, executions,
                       complete ? "" : ", and that isn't all of them");
}

result explore(std::string_view name, const std::function<void()>& model, const bounds& b) {
    search s(name, model, b);
    const char* given = std::getenv("WEFT_MODEL_REPLAY");
    std::string_view replayed = given == nullptr ? "" : given;
    if (replayed.starts_with(name) && replayed.substr(name.size()).starts_with('@')) {
        result r = s.replay(replayed.substr(name.size() + 1));
        fmt::print("{}\n{}", name, r.trace);
        return r;
    }
    return s.run();
}

void fail(std::string_view what, const site& at) noexcept {
    outside o;
    search::current().fail(fmt::format("{} ({}:{})", what, short_path(at.file_name()), at.line()));
}

unsigned choose(unsigned n) noexcept {
    outside o;
    return search::current().choose(n);
}

void yield(const site& at) noexcept {
    outside o;
    search::current().yield(at);
}

void atomics::pause(unsigned) noexcept {
    outside o;
    search::current().pause();
}

void atomics::fence(std::memory_order order, const site& at) noexcept {
    outside o;
    search::current().fence(order, at);
}

void atomics::fence_all(const site& at) noexcept {
    outside o;
    search::current().fence_all(at);
}

doorbell::doorbell() noexcept {
    outside o;
    number_ = search::current().make_bell();
}

void doorbell::ring(const site& at) noexcept {
    outside o;
    search::current().ring(number_, at);
}

void doorbell::wait(const site& at) noexcept {
    outside o;
    search::current().wait_bell(number_, at);
}

namespace detail {

void run_threads(const thread_body* bodies, std::size_t n) noexcept {
    outside o;
    search::current().run_threads(bodies, n);
}

location make_location(const void* object, bits value, const site& made) noexcept {
    outside o;
    return search::current().make(object, value, made);
}

void end_location(location l, const void* object) noexcept {
    outside o;
    search::current().end(l, object);
}

bits load(location l, const void* object, std::memory_order order, const site& at) noexcept {
    outside o;
    return search::current().load(l, object, order, at);
}

void store(location l, const void* object, bits value, std::memory_order order,
           const site& at) noexcept {
    outside o;
    search::current().store(l, object, value, order, at);
}

void store_ahead(location l, const void* object, bits value, const site& at) noexcept {
    outside o;
    search::current().store_ahead(l, object, value, at);
}

bits read_newest(location l, const void* object, std::memory_order order, const char* what,
                 const site& at) noexcept {
    outside o;
    return search::current().read_newest(l, object, order, what, at);
}

void write_newest(bits value) noexcept {
    outside o;
    search::current().write_newest(value);
}

bool compare_exchange(location l, const void* object, bits& expected, bits desired,
                      std::memory_order success, std::memory_order failure, bool weak,
                      const site& at) noexcept {
    outside o;
    return search::current().compare_exchange(l, object, expected, desired, success, failure, weak,
                                              at);
}

woken wait_while(location l, const void* object, bits expected, bool timed,
                 const site& at) noexcept {
    outside o;
    return search::current().wait_while(l, object, expected, timed, at);
}

void wake_waiters(location l, const void* object, unsigned n, const site& at) noexcept {
    outside o;
    search::current().wake(l, object, n, at);
}

void read_plain(const void* p, const site& at) noexcept {
    outside o;
    search::current().read_plain(p, at);
}

void write_plain(const void* p, const site& at) noexcept {
    outside o;
    search::current().write_plain(p, at);
}

} // namespace detail
} // namespace weft::model
