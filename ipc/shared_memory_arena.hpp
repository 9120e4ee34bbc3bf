// SPDX-License-Identifier: MIT
// Shared memory whose names go when the arena ends.
//
//     weft::task<> compute(weft::ipc::connection& workers) {
//         weft::ipc::shared_memory_arena arena;
//         weft::ipc::shared_memory board = arena.create(4096);
//         co_await workers.send(board.name());
//         co_await workers.receive_bytes();           // they are done
//     }                                               // the name is gone, whatever happened
//
// It goes too when the program is gone and couldn't do that any more: the blocks are tracked.
//
// Threads:      any, at the same time. Processes: as shared_memory.hpp says; the arena is this
//               process's.
// Cancellation: none.
// Errors:       process_error for what is asked of it after shutdown; as shared_memory.hpp.
// Cost:         a second mapping of each block, until then.
// Source:       multiprocessing.managers.SharedMemoryManager, without a server of its own.
#pragma once
#include <weft/ipc/shareable_list.hpp>
#include <weft/ipc/shared_memory.hpp>

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

namespace weft::ipc {

class shared_memory_arena {
public:
    shared_memory_arena() = default;
    shared_memory_arena(const shared_memory_arena&) = delete;
    shared_memory_arena& operator=(const shared_memory_arena&) = delete;
    ~shared_memory_arena() { shutdown(); }

    /// Makes a block of zeros, under a name that is new.
    [[nodiscard]] shared_memory create(std::size_t size);
    /// Makes a list of these.
    [[nodiscard]] shareable_list create_list(std::span<const shareable_list::item> items);

    /// Takes the names away. Whoever has a block keeps it. Nothing can be made afterwards.
    void shutdown() noexcept;

private:
    std::mutex mutex_; // for what follows
    std::vector<shared_memory> blocks_;
    bool ended_ = false;
};

} // namespace weft::ipc
