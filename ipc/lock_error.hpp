// SPDX-License-Identifier: MIT
// What locks and barriers between processes throw besides std::invalid_argument.
//
//     weft::task<> add(weft::ipc::mutex& m, int& sum, void (*repair)(int&)) {
//         weft::guard<weft::ipc::mutex> held;
//         try {
//             held = co_await m.scoped();
//         } catch (const weft::ipc::owner_dead& e) {
//             e.keep();                           // from here on the lock is ours
//             held = weft::guard(m);
//             repair(sum);
//             m.mark_consistent();
//         }
//         ++sum;
//     }
//
// Threads:      any; the last copy of an owner_dead that nobody kept unlocks, wherever it goes.
// Cancellation: none of these.
// Errors:       making one allocates.
// Cost:         that of an exception.
// Source:       robust mutexes of pthread_mutexattr_setrobust(3); threading.BrokenBarrierError.
#pragma once
#include <weft/runtime/error.hpp>

#include <memory>

namespace weft::ipc {

/// The process that had the lock has ended without giving it back. Whoever is told so has the lock
/// now, and what it guards may be half done. The error has it until somebody keeps it: when its
/// last copy goes, the lock is unlocked. Whoever unlocks it without mark_consistent() makes it
/// unusable for all (not_recoverable).
class owner_dead : public error {
public:
    /// `give_back(lock)` unlocks it; null: the caller has kept it.
    owner_dead(void* lock, void (*give_back)(void*) noexcept);
    ~owner_dead() override;

    /// The lock is the caller's, who has to unlock it.
    void keep() const noexcept;

private:
    struct held;
    explicit owner_dead(std::shared_ptr<held> h);
    std::shared_ptr<held> held_;
};

/// The process that had the lock died, and who had it next gave it back without repairing what it
/// guards.
class not_recoverable : public error {
public:
    using error::error;
    not_recoverable() : error("the holder of the lock died, and nobody repaired what it guards") {}
    ~not_recoverable() override;
};

/// Who should have come to the barrier didn't, in time or at all, or died there; or somebody broke
/// it.
class broken_barrier : public state_error {
public:
    using state_error::state_error;
    broken_barrier() : state_error("the barrier is broken") {}
    ~broken_barrier() override;
};

} // namespace weft::ipc
