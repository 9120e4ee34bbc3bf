// SPDX-License-Identifier: MIT
// What a tracker knows, without I/O: packets in, the names that are left out.
//
// Threads:      one. Cancellation: none. Errors: a packet that makes no sense is passed over.
// Cost:         an entry for each name. Source: multiprocessing.resource_tracker.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::ipc::detail {

/// A name in shared memory and the file that it stands for: when it stands for another one, it is
/// somebody else's.
struct tracked_name {
    std::string name; // without the slash in front
    std::uint64_t device = 0, inode = 0;
    friend bool operator==(const tracked_name&, const tracked_name&) = default;
};

enum class tracker_order : std::uint8_t { add = '+', remove = '-' };

/// The packet that says so.
[[nodiscard]] std::string tracker_packet(tracker_order o, const tracked_name& n);

class tracker_machine {
public:
    static constexpr std::size_t longest_name = 255;
    static constexpr std::size_t longest_packet = 1 + 2 * sizeof(std::uint64_t) + longest_name;

    /// False if it makes no sense.
    bool received(std::string_view packet);
    /// What was added and not removed.
    [[nodiscard]] std::vector<tracked_name> left() const;

private:
    struct file {
        std::uint64_t device, inode;
    };
    std::map<std::string, file, std::less<>> names_;
};

} // namespace weft::ipc::detail
