// SPDX-License-Identifier: MIT
// A value for each thread that asks for one, in an object that may be anywhere: a member, a local.
//
//     class parser {
//     public:
//         std::size_t parse(std::string_view text) {
//             std::string& buffer = buffers_.get();       // this thread's own
//             buffer.assign(text);
//             return buffer.size();
//         }
//
//     private:
//         weft::thread_local_slot<std::string> buffers_;
//     };
//
// A value is made when a thread first asks, by the initialiser if there is one, and destroyed when
// the thread ends or the slot is destroyed, whichever is first. In the second case it is destroyed
// by who destroys the slot; no thread may use it then.
//
// A task of a loop stays on its thread, but shares it with the others; one that runs on a pool may
// go on on another thread after each co_await. So what belongs to a task is a context variable, and
// no reference that get() gave is kept across a co_await on a pool.
//
// Threads:      get and find from any. Cancellation: none.
// Errors:       what the initialiser throws, then there is no value; std::bad_alloc; state_error
//               from get in the last destructors of a thread.
// Cost:         get: a look into a table of the thread. One allocation for each value.
// Source:       Python's threading.local.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace weft {

namespace detail {

class slot_base;

/// A value of one thread, in the lists of its thread and of its slot.
struct slot_value {
    slot_value() noexcept = default;
    slot_value(const slot_value&) = delete;
    slot_value& operator=(const slot_value&) = delete;
    virtual ~slot_value() = default;

    // Guarded by the lock that all slots share.
    slot_value** of_slot = nullptr; // what points to it in the slot's list
    slot_value* next_of_slot = nullptr;
    slot_value** of_thread = nullptr;
    slot_value* next_of_thread = nullptr;
};

class slot_base {
public:
    slot_base();
    slot_base(const slot_base&) = delete;
    slot_base& operator=(const slot_base&) = delete;

protected:
    ~slot_base();
    /// The calling thread's, or null.
    [[nodiscard]] slot_value* find_value() const noexcept;
    /// Keeps a new one; takes it over.
    void keep_value(slot_value* v);
    /// Destroys all. The derived class calls it, because the values may use what it has.
    void clear() noexcept;

private:
    std::size_t place_; // in the tables of the threads; used again when the slot is gone
    std::uint64_t id_;  // never used again
    slot_value* values_ = nullptr;
};

} // namespace detail

template <class T>
class thread_local_slot : private detail::slot_base {
public:
    /// Values are made by T().
    thread_local_slot()
        requires std::default_initializable<T>
        : thread_local_slot([] { return T(); }) {}
    /// Values are what `make()` gives, in each thread anew.
    template <class F>
        requires std::is_invocable_r_v<T, F&>
    explicit thread_local_slot(F make) : make_(std::move(make)) {}
    ~thread_local_slot() { clear(); }

    /// This thread's value.
    T& get() {
        if (T* mine = find()) [[likely]]
            return *mine;
        auto* v = new value(make_);
        keep_value(v); // which destroys it if it can't
        return v->it;
    }
    /// The same, or null if this thread hasn't asked yet.
    [[nodiscard]] T* find() const noexcept {
        auto* v = static_cast<value*>(find_value());
        return v == nullptr ? nullptr : &v->it;
    }

private:
    struct value final : detail::slot_value {
        explicit value(const std::function<T()>& make) : it(make()) {}
        T it;
    };
    std::function<T()> make_;
};

} // namespace weft
