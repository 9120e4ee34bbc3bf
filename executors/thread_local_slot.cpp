// SPDX-License-Identifier: MIT
#include <weft/executors/thread_local_slot.hpp>

#include <weft/runtime/error.hpp>

#include <memory>
#include <mutex>
#include <vector>

namespace weft::detail {

namespace {

// Never destroyed: threads end, and slots of the program's statics go, until the very end.
struct slot_registry {
    std::mutex mutex; // for this, and for the lists of all values
    std::vector<std::size_t> free_places;
    std::size_t places = 0;
    std::uint64_t last_id = 0;

    static slot_registry& instance() {
        static slot_registry& all = *new slot_registry();
        return all;
    }
};

void link_value(slot_value& v, slot_value*& slot, slot_value*& thread) noexcept {
    v.next_of_slot = slot;
    v.of_slot = &slot;
    if (slot != nullptr)
        slot->of_slot = &v.next_of_slot;
    slot = &v;
    v.next_of_thread = thread;
    v.of_thread = &thread;
    if (thread != nullptr)
        thread->of_thread = &v.next_of_thread;
    thread = &v;
}

// The first of a slot's or of a thread's list, taken out of both, for the caller to destroy.
slot_value* take_from_slot(slot_value*& list) noexcept {
    std::lock_guard lock(slot_registry::instance().mutex);
    slot_value* first = list;
    if (first == nullptr)
        return nullptr;
    list = first->next_of_slot;
    if (list != nullptr)
        list->of_slot = &list;
    *first->of_thread = first->next_of_thread;
    if (first->next_of_thread != nullptr)
        first->next_of_thread->of_thread = first->of_thread;
    return first;
}
slot_value* take_from_thread(slot_value*& list) noexcept {
    std::lock_guard lock(slot_registry::instance().mutex);
    slot_value* first = list;
    if (first == nullptr)
        return nullptr;
    list = first->next_of_thread;
    if (list != nullptr)
        list->of_thread = &list;
    *first->of_slot = first->next_of_slot;
    if (first->next_of_slot != nullptr)
        first->next_of_slot->of_slot = first->of_slot;
    return first;
}

// The thread has destroyed its table. Not a member of that: what a destructor stores in its object
// is dead for the compiler.
constinit thread_local bool slots_gone = false;

struct slots_of_thread {
    struct entry {
        std::uint64_t id = 0;
        slot_value* value = nullptr; // dangles once the slot is gone, whose id nobody asks for then
    };
    slots_of_thread() = default;
    slots_of_thread(const slots_of_thread&) = delete;
    slots_of_thread& operator=(const slots_of_thread&) = delete;
    ~slots_of_thread() {
        while (slot_value* v = take_from_thread(values)) {
            // Its destructor may ask for others, and even for itself: then it gets new ones, which
            // this loop comes to.
            forget(v);
            delete v;
        }
        slots_gone = true;
    }
    void forget(const slot_value* v) noexcept {
        for (entry& e : table) {
            if (e.value == v)
                e = entry();
        }
    }
    std::vector<entry> table; // by the slots' places
    slot_value* values = nullptr;
};
thread_local slots_of_thread slots_here;

} // namespace

slot_base::slot_base() {
    slot_registry& r = slot_registry::instance();
    std::lock_guard lock(r.mutex);
    if (r.free_places.empty()) {
        r.free_places.reserve(r.places + 1); // giving it back must not need memory
        place_ = r.places++;
    } else {
        place_ = r.free_places.back();
        r.free_places.pop_back();
    }
    id_ = ++r.last_id;
}

slot_base::~slot_base() {
    slot_registry& r = slot_registry::instance();
    std::lock_guard lock(r.mutex);
    r.free_places.push_back(place_); // there is room
}

slot_value* slot_base::find_value() const noexcept {
    if (slots_gone)
        return nullptr;
    const auto& table = slots_here.table;
    return place_ < table.size() && table[place_].id == id_ ? table[place_].value : nullptr;
}

void slot_base::keep_value(slot_value* v) {
    std::unique_ptr<slot_value> kept(v);
    if (slots_gone)
        throw state_error("a thread that is ending has no more values of its own");
    auto& table = slots_here.table;
    if (place_ >= table.size())
        table.resize(place_ + 1);
    table[place_] = {id_, v};
    std::lock_guard lock(slot_registry::instance().mutex);
    link_value(*kept.release(), values_, slots_here.values);
}

void slot_base::clear() noexcept {
    while (slot_value* v = take_from_slot(values_))
        delete v;
}

} // namespace weft::detail
