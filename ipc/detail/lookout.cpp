// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/lookout.hpp>

#include <algorithm>

namespace weft::ipc::detail {

void lookout::note_found(bool at_first_turn, bool in_time) noexcept {
    turns_given_.store(at_first_turn && in_time ? turns_given_.load(relaxed) + 1 : 0, relaxed);
    if (in_time) {
        confidence_.store(most, relaxed);
        vain_.store(first_penalty, relaxed);
        return;
    }
    int left = confidence_.load(relaxed) - in_vain;
    if (left <= 0) {
        const int penalty = vain_.load(relaxed);
        left = -penalty;
        vain_.store(std::min(2 * penalty, last_penalty), relaxed);
    }
    confidence_.store(left, relaxed);
}

} // namespace weft::ipc::detail
