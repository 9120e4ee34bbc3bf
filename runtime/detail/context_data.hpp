// SPDX-License-Identifier: MIT
// What the values of context variables are kept in: immutable arrays, counted, shared by everything
// that copied them.
//
// A context, that is what a task and those who share its variables have, gets an identity when a
// variable is first set in it. Each array made for it carries that number, and so do the tokens;
// what another context copies keeps the number of the first until it sets something itself
// (strand::own_context tells).
//
// Threads:      arrays and values are shared by several; their counts are atomic. Cancellation:
//               none.
// Errors:       std::bad_alloc. Cost: see context.hpp. Source: none.
#pragma once
#include <weft/runtime/detail/runner.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace weft::detail {

// A value. Never changes.
struct context_value {
    explicit context_value(void (*d)(context_value&) noexcept) noexcept : destroy(d) {}
    std::atomic<std::uint32_t> references{1};
    void (*destroy)(context_value&) noexcept;
};

template <class T>
struct context_box : context_value, recycled {
    static_assert(alignof(T) <= alignof(std::max_align_t),
                  "an over-aligned value belongs behind a pointer");
    explicit context_box(T v) : context_value(end), value(std::move(v)) {}
    static void end(context_value& v) noexcept { delete static_cast<context_box*>(&v); }
    static const T* value_of(const context_value* v) noexcept {
        return v == nullptr ? nullptr : &static_cast<const context_box*>(v)->value;
    }
    static bool equal(const context_value& a, const context_value& b) {
        if constexpr (std::equality_comparable<T>)
            return &a == &b || *value_of(&a) == *value_of(&b);
        else
            return &a == &b;
    }
    T value;
};

// A counted pointer to a thing with `references` for which `dispose` is found.
template <class T>
class context_ref {
public:
    context_ref() noexcept = default;
    /// Takes over one reference.
    explicit context_ref(T* taken) noexcept : it_(taken) {}
    context_ref(const context_ref& other) noexcept : it_(other.it_) {
        if (it_ != nullptr)
            it_->references.fetch_add(1, std::memory_order_relaxed); // who copies holds one already
    }
    context_ref(context_ref&& other) noexcept : it_(std::exchange(other.it_, nullptr)) {}
    context_ref& operator=(context_ref other) noexcept {
        std::swap(it_, other.it_);
        return *this;
    }
    ~context_ref() {
        // acq_rel: whoever gives up the last reference has to see what the others did with theirs.
        if (it_ != nullptr && it_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
            dispose(*it_);
    }
    [[nodiscard]] static context_ref to(T* shared) noexcept {
        if (shared != nullptr)
            shared->references.fetch_add(1, std::memory_order_relaxed);
        return context_ref(shared);
    }
    [[nodiscard]] T* get() const noexcept { return it_; }
    [[nodiscard]] T* release() noexcept { return std::exchange(it_, nullptr); }
    explicit operator bool() const noexcept { return it_ != nullptr; }
    T& operator*() const noexcept { return *it_; }
    T* operator->() const noexcept { return it_; }

private:
    T* it_ = nullptr;
};

inline void dispose(context_value& v) noexcept { v.destroy(v); }
void dispose(context_data& d) noexcept;
using context_value_ref = context_ref<context_value>;
using context_data_ref = context_ref<context_data>;

struct context_travel; // of ipc/travelling_var.hpp

// The part of a variable that doesn't depend on its type.
class context_key {
public:
    using equal_function = bool (*)(const context_value&, const context_value&);

    context_key(const char* name, equal_function e, const context_travel* t = nullptr) noexcept
        : name_(name), equal_(e), travel_(t) {}
    [[nodiscard]] const char* name() const noexcept { return name_; }
    /// How its values go to other processes; null: they don't.
    [[nodiscard]] const context_travel* travel() const noexcept { return travel_; }
    [[nodiscard]] bool equal(const context_value& a, const context_value& b) const {
        return equal_(a, b);
    }
    /// Its place among all variables of the program, by the time of their first set; 0 before.
    [[nodiscard]] std::uint32_t rank() const noexcept {
        return rank_.load(std::memory_order_relaxed);
    }
    void give_rank() const noexcept;

private:
    const char* name_;
    equal_function equal_;
    const context_travel* travel_;
    mutable std::atomic<std::uint32_t> rank_{0};
};

struct context_data {
    struct entry {
        const context_key* key;
        context_value* value;
    };

    constexpr context_data(std::uint64_t id, std::uint32_t n) noexcept
        : count(n), room(n), identity(id) {}
    [[nodiscard]] std::size_t size() const noexcept { return count; }
    [[nodiscard]] context_value* find(const context_key& k) const noexcept;
    /// In the order of the variables' ranks, in the memory behind this header.
    [[nodiscard]] entry* entries() noexcept { return reinterpret_cast<entry*>(this + 1); }
    [[nodiscard]] const entry* entries() const noexcept {
        return reinterpret_cast<const entry*>(this + 1);
    }

    std::atomic<std::uint32_t> references{1};
    std::uint32_t count;
    std::uint32_t room; // entries that the memory was made for
    std::uint64_t identity;
};

// Where a context is current, and what was there when somebody looked: a strand, or the thread if
// it runs none.
struct context_place {
    strand* at = nullptr;
    context_data* data = nullptr;
    bool own =
        // The data carry the identity of this context, and not of one that it was copied from
        false;
};

// The arrays before and after a set, which is undone by going back.
class context_change {
public:
    context_change(const context_key& k, context_data_ref before, context_data_ref after) noexcept
        : key_(&k), before_(std::move(before)), after_(std::move(after)) {}
    context_change(context_change&& other) noexcept
        : key_(std::exchange(other.key_, nullptr)), before_(std::move(other.before_)),
          after_(std::move(other.after_)) {}
    context_change& operator=(context_change&&) noexcept = default;

    [[nodiscard]] const context_key* key() const noexcept { return key_; }
    [[nodiscard]] const context_value* old_value() const noexcept;
    void undo(const context_key& expected);
    void undo_if_here() noexcept;

private:
    void apply(const context_place& here);
    const context_key* key_;
    context_data_ref before_;
    context_data_ref after_; // null once it is undone
};

[[noreturn]] void throw_unset(const context_key& k);
[[nodiscard]] const context_value* find_in_context(const context_key& k) noexcept;
[[nodiscard]] context_change set_in_context(const context_key& k, context_value_ref v);

/// The caller's values, with a reference; null if there are none.
[[nodiscard]] context_data* capture_context() noexcept;

/// Gives a strand that is being created a copy of the variables of whoever creates it, instead of
/// its parent's.
void copy_context_to_slow(strand& s) noexcept;
inline void copy_context_to(strand& s) noexcept {
    runner* r = runner::current();
    strand* creator = r == nullptr ? nullptr : r->current_strand;
    if (creator == nullptr || creator->context != s.context) [[unlikely]]
        copy_context_to_slow(s);
}

/// For a strand that a plain thread waits for, as if it were a function that the thread calls.
void lend_context_to(strand& s) noexcept;
void return_context_from(strand& s) noexcept;

/// Makes a captured context (with its reference) the thread's for the duration of a call.
class context_scope {
public:
    explicit context_scope(context_data* captured) noexcept;
    context_scope(const context_scope&) = delete;
    context_scope& operator=(const context_scope&) = delete;
    ~context_scope();

private:
    context_data* outer_;
    bool outer_own_;
};

} // namespace weft::detail
