// SPDX-License-Identifier: MIT
// A helper that outlives the processes of a program and takes the names away that they leave. All
// of them hold an end of one socket pair; when the last has let go, however it ended, the helper
// sees the end of the stream.
//
// Threads:      any.
// Cancellation: none. Errors: std::system_error. Cost: a process; a packet for each name.
// Source:       multiprocessing.resource_tracker.
#pragma once
#include "tracker_machine.hpp"

#include <weft/ipc/detail/child.hpp>
#include <weft/runtime/descriptor.hpp>

#include <mutex>
#include <vector>

namespace weft::ipc::detail {

class tracker {
public:
    /// The one of this process; a forked child has its parent's.
    static tracker& instance();

    /// From now on the name is taken away when the program is gone. Starts the helper if there is
    /// none, and another one if it has died.
    void add(const tracked_name& n);
    void remove(const tracked_name& n) noexcept;

    /// For a process that is to belong to the program: its end of the socket; none if there is no
    /// helper.
    [[nodiscard]] descriptor for_child() const;
    /// In that process.
    void adopt(descriptor d);
    /// Lets go of it and waits for its end, unless others hold it. As if this process were gone.
    void stop() noexcept;
    /// 0 if this process hasn't started one.
    [[nodiscard]] int pid() const;

private:
    void start();
    [[nodiscard]] bool send(tracker_order o, const tracked_name& n);

    mutable std::mutex mutex_; // for what follows
    descriptor to_;
    child child_;
    std::vector<tracked_name> names_; // that were added here
};

} // namespace weft::ipc::detail
