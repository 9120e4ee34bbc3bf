// SPDX-License-Identifier: MIT
#include <weft/runtime/context.hpp>

#include <weft/runtime/assert.hpp>
#include <weft/runtime/detail/runner.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

namespace weft {

namespace detail {

namespace {

// The variables of a thread where it runs no strand.
struct thread_context {
    context_data* data = nullptr;
    bool own = false;
};
constinit thread_local thread_context of_thread;

// Lets go of them when the thread ends. They are not its members, because others may still look at
// them after that.
struct release_at_exit {
    release_at_exit() noexcept = default;
    release_at_exit(const release_at_exit&) = delete;
    release_at_exit& operator=(const release_at_exit&) = delete;
    ~release_at_exit() { context_data_ref(std::exchange(of_thread.data, nullptr)); }
    void attach() const noexcept {}
};
thread_local release_at_exit context_exit_guard;

constinit context_data empty_data(0, 0);

std::uint64_t new_context_identity() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

context_place here() noexcept {
    runner* r = runner::current();
    if (r != nullptr && r->current_strand != nullptr) {
        strand& s = *r->current_strand;
        return {&s, s.context, (s.flags & strand::own_context) != 0};
    }
    return {nullptr, of_thread.data, of_thread.own};
}

// Replaces what is current and gives back what was, references included.
context_data* exchange(strand* at, context_data* data, bool own) noexcept {
    if (at == nullptr) {
        context_exit_guard.attach();
        of_thread.own = own;
        return std::exchange(of_thread.data, data);
    }
    at->flags &= static_cast<std::uint8_t>(~strand::own_context);
    if (own)
        at->flags |= strand::own_context;
    return std::exchange(at->context, data);
}

void put(strand* at, context_data_ref data) noexcept {
    context_data_ref(exchange(at, data.release(), true));
}

std::size_t size_of(std::uint32_t entries) noexcept {
    return sizeof(context_data) + entries * sizeof(context_data::entry);
}

// Room for `n` entries, which the caller fills before anything can throw.
context_data* make_data(std::uint64_t identity, std::uint32_t n) {
    static_assert(alignof(context_data) >= alignof(context_data::entry));
    return ::new (allocate_frame(size_of(n))) context_data(identity, n);
}

context_value* retained(context_value* v) noexcept {
    v->references.fetch_add(1, std::memory_order_relaxed);
    return v;
}

context_data_ref copy_for(std::uint64_t identity, const context_data& from) {
    context_data* made = make_data(identity, from.count);
    for (std::uint32_t i = 0; i < from.count; ++i)
        ::new (&made->entries()[i])
            context_data::entry{from.entries()[i].key, retained(from.entries()[i].value)};
    return context_data_ref(made);
}

std::uint32_t place_of(const context_data& d, const context_key& k) noexcept {
    const context_data::entry* first = d.entries();
    std::uint32_t rank = k.rank();
    const context_data::entry* at = std::lower_bound(
        first, first + d.count, rank,
        [](const context_data::entry& e, std::uint32_t r) { return e.key->rank() < r; });
    return static_cast<std::uint32_t>(at - first);
}

bool is_at(const context_data& d, std::uint32_t place, const context_key& k) noexcept {
    return place < d.count && d.entries()[place].key == &k;
}

// A copy in which `k` has another value.
context_data_ref with(const context_data& from, const context_key& k, context_value_ref v) {
    std::uint32_t place = place_of(from, k);
    bool replaces = is_at(from, place, k);
    context_data* made = make_data(from.identity, from.count + (replaces ? 0 : 1));
    const context_data::entry* next = from.entries();
    for (std::uint32_t i = 0; i < made->count; ++i) {
        context_data::entry e{&k, nullptr};
        if (i == place) {
            e.value = v.release();
            next += replaces ? 1 : 0;
        } else {
            e = {next->key, retained(next->value)};
            ++next;
        }
        ::new (&made->entries()[i]) context_data::entry(e);
    }
    return context_data_ref(made);
}

// A copy without one entry.
context_data_ref without(const context_data& from, std::uint32_t place) {
    context_data* made = make_data(from.identity, from.count - 1);
    for (std::uint32_t i = 0; i < made->count; ++i) {
        const context_data::entry& e = from.entries()[i < place ? i : i + 1];
        ::new (&made->entries()[i]) context_data::entry{e.key, retained(e.value)};
    }
    return context_data_ref(made);
}

// What nobody else looks at is changed without memory: the value of an entry, or it goes if there
// is none.
void change_in_place(context_data& d, std::uint32_t place, context_value* v) noexcept {
    context_data::entry* at = d.entries() + place;
    context_value_ref before(at->value);
    if (v != nullptr) {
        at->value = retained(v);
    } else {
        std::move(at + 1, d.entries() + d.count, at);
        --d.count;
    }
}

// The data of this place with its own identity.
context_data_ref own_data(const context_place& p) {
    if (p.own && p.data != nullptr)
        return context_data_ref::to(p.data);
    context_data_ref made =
        copy_for(new_context_identity(), p.data == nullptr ? empty_data : *p.data);
    put(p.at, made);
    return made;
}

} // namespace

void dispose(context_data& d) noexcept {
    for (std::uint32_t i = 0; i < d.count; ++i)
        context_value_ref(d.entries()[i].value);
    std::size_t size = size_of(d.room);
    d.~context_data();
    release_frame(&d, size);
}

void retain_context(context_data* c) noexcept {
    static_cast<void>(context_data_ref::to(c).release());
}
void release_context(context_data* c) noexcept { context_data_ref{c}; }

void context_key::give_rank() const noexcept {
    static std::atomic<std::uint32_t> last{0};
    if (rank() != 0)
        return;
    std::uint32_t none = 0;
    // Of two threads that set it for the first time one decides; the other's number stays unused.
    rank_.compare_exchange_strong(none, last.fetch_add(1, std::memory_order_relaxed) + 1,
                                  std::memory_order_relaxed);
}

context_value* context_data::find(const context_key& k) const noexcept {
    constexpr std::uint32_t few = 8;
    if (count <= few) {
        for (const entry *e = entries(), *end = e + count; e != end; ++e) {
            if (e->key == &k)
                return e->value;
        }
        return nullptr;
    }
    std::uint32_t place = place_of(*this, k);
    return is_at(*this, place, k) ? entries()[place].value : nullptr;
}

void throw_unset(const context_key& k) {
    throw lookup_error(std::string("the context variable '") + k.name() + "' has no value here");
}

const context_value* find_in_context(const context_key& k) noexcept {
    context_place p = here();
    return p.data == nullptr ? nullptr : p.data->find(k);
}

context_change set_in_context(const context_key& k, context_value_ref v) {
    k.give_rank();
    context_place p = here();
    context_data_ref before = own_data(p);
    context_data_ref after = with(*before, k, std::move(v));
    put(p.at, after);
    return context_change(k, std::move(before), std::move(after));
}

const context_value* context_change::old_value() const noexcept {
    return before_ ? before_->find(*key_) : nullptr;
}

void context_change::undo(const context_key& expected) {
    if (!after_)
        throw state_error("a token of a context variable was used twice");
    if (key_ != &expected)
        throw std::invalid_argument(std::string("a token of the context variable '") +
                                    key_->name() + "' was given to '" + expected.name() + "'");
    context_place p = here();
    if (!p.own || p.data == nullptr || p.data->identity != after_->identity)
        throw std::invalid_argument(std::string("a token of the context variable '") +
                                    key_->name() + "' was used in another context");
    apply(p);
}

void context_change::undo_if_here() noexcept {
    if (!after_)
        return;
    context_place p = here();
    if (p.own && p.data != nullptr && p.data->identity == after_->identity)
        apply(p);
}

void context_change::apply(const context_place& p) {
    context_data* now = p.data;
    context_value* old = before_->find(*key_);
    std::uint32_t at = place_of(*now, *key_);
    bool there = is_at(*now, at, *key_);
    // Alone: pairs with the release of whoever let go of the array last.
    bool shared = now->references.load(std::memory_order_acquire) != 1;
    if (now == after_.get()) // the usual case
        put(p.at, before_);
    else if (!shared && there)
        change_in_place(*now, at, old);
    else if (old != nullptr)
        put(p.at, with(*now, *key_, context_value_ref::to(old)));
    else if (there)
        put(p.at, without(*now, at));
    after_ = context_data_ref();
}

context_data* capture_context() noexcept { return context_data_ref::to(here().data).release(); }

void copy_context_to_slow(strand& s) noexcept {
    context_data_ref before(s.context);
    s.context = capture_context();
}

void lend_context_to(strand& s) noexcept {
    context_place p = here();
    s.context = context_data_ref::to(p.data).release();
    if (p.own)
        s.flags |= strand::own_context;
}

void return_context_from(strand& s) noexcept {
    bool own = (s.flags & strand::own_context) != 0;
    context_data_ref replaced(exchange(here().at, std::exchange(s.context, nullptr), own));
}

context_scope::context_scope(context_data* captured) noexcept
    : outer_(captured), outer_own_(std::exchange(of_thread.own, false)) {
    std::swap(of_thread.data, outer_);
}

context_scope::~context_scope() {
    context_data_ref left(std::exchange(of_thread.data, outer_));
    of_thread.own = outer_own_;
}

} // namespace detail

context::context(context&& other) noexcept {
    WEFT_ASSERT(!other.is_entered(), "a context was moved while something ran in it");
    data_ = std::move(other.data_);
    has_identity_ = std::exchange(other.has_identity_, false);
}

context& context::operator=(context other) noexcept {
    WEFT_ASSERT(!is_entered(), "a context was assigned while something ran in it");
    data_ = std::move(other.data_);
    has_identity_ = std::exchange(other.has_identity_, false);
    return *this;
}

context::~context() {
    WEFT_ASSERT(!is_entered(), "a context was destroyed while something ran in it");
}

void context::enter() {
    // acquire: pairs with the release in leave(), on whichever thread that was.
    if (entered_.exchange(true, std::memory_order_acquire))
        throw state_error("a context was entered that is entered already");
    try {
        if (!has_identity_)
            data_ = detail::copy_for(detail::new_context_identity(),
                                     data_ ? *data_ : detail::empty_data);
    } catch (...) {
        entered_.store(false, std::memory_order_release);
        throw;
    }
    has_identity_ = true;
    outer_ = detail::here();
    detail::exchange(outer_.at, detail::context_data_ref(data_).release(), true);
}

void context::leave() noexcept {
    data_ = detail::context_data_ref(detail::exchange(outer_.at, outer_.data, outer_.own));
    outer_ = detail::context_place();
    entered_.store(false, std::memory_order_release); // pairs with the acquire in enter()
}

const detail::context_data& context::view_data() const noexcept {
    if (!data_)
        return detail::empty_data;
    if (is_entered()) {
        detail::context_place p = detail::here();
        if (p.own && p.data != nullptr && p.data->identity == data_->identity)
            return *p.data;
    }
    return *data_;
}

detail::context_data_ref context::view() const noexcept {
    const detail::context_data& d = view_data();
    // The counts are what changes in data that are shared; the empty ones have no owner.
    return &d == &detail::empty_data
               ? detail::context_data_ref()
               : detail::context_data_ref::to(const_cast<detail::context_data*>(&d));
}

bool context::equal(const detail::context_data& a, const detail::context_data& b) {
    if (a.count != b.count)
        return false;
    for (std::uint32_t i = 0; i < a.count; ++i) {
        const detail::context_data::entry &x = a.entries()[i], &y = b.entries()[i];
        if (x.key != y.key || !x.key->equal(*x.value, *y.value))
            return false;
    }
    return true;
}

context copy_context() noexcept {
    return context(detail::context_data_ref(detail::capture_context()));
}

} // namespace weft
