// SPDX-License-Identifier: MIT
#include <weft/ipc/shared_memory_arena.hpp>

#include <weft/ipc/error.hpp>

#include <utility>

namespace weft::ipc {

shared_memory shared_memory_arena::create(std::size_t size) {
    std::lock_guard lock(mutex_);
    if (ended_)
        throw process_error("the arena was shut down");
    blocks_.reserve(blocks_.size() + 1); // the block mustn't be there without being listed
    blocks_.push_back(shared_memory::create(size, {.track = true}));
    return shared_memory::open(blocks_.back().name());
}

shareable_list shared_memory_arena::create_list(std::span<const shareable_list::item> items) {
    return {create(shareable_list::size_of(items)), items};
}

void shared_memory_arena::shutdown() noexcept {
    std::lock_guard lock(mutex_);
    ended_ = true;
    for (shared_memory& m : blocks_) {
        try {
            m.unlink();
        } catch (const std::system_error&) { // somebody else was faster
        }
    }
    blocks_.clear();
}

} // namespace weft::ipc
