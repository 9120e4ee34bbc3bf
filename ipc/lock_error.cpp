// SPDX-License-Identifier: MIT
#include <weft/ipc/lock_error.hpp>

#include <utility>

namespace weft::ipc {

struct owner_dead::held {
    held(void* l, void (*g)(void*) noexcept) noexcept : lock(l), give_back(g) {}
    held(const held&) = delete;
    held& operator=(const held&) = delete;
    ~held() {
        if (give_back != nullptr)
            give_back(lock);
    }
    void* lock;
    void (*give_back)(void*) noexcept;
};

namespace {
// Without memory for the error the lock isn't anybody's, either.
template <class Held>
std::shared_ptr<Held> hold_dead_lock(void* lock, void (*give_back)(void*) noexcept) {
    try {
        return std::make_shared<Held>(lock, give_back);
    } catch (...) {
        if (give_back != nullptr)
            give_back(lock);
        throw;
    }
}
} // namespace

owner_dead::owner_dead(void* lock, void (*give_back)(void*) noexcept)
    : owner_dead(hold_dead_lock<held>(lock, give_back)) {}
owner_dead::owner_dead(std::shared_ptr<held> h)
    : error("the holder of the lock died"), held_(std::move(h)) {}
owner_dead::~owner_dead() = default;

void owner_dead::keep() const noexcept { held_->give_back = nullptr; }

not_recoverable::~not_recoverable() = default;
broken_barrier::~broken_barrier() = default;

} // namespace weft::ipc
