// SPDX-License-Identifier: MIT
// Holds functions on pool threads back until it is opened, and counts those that came.
#pragma once
#include <atomic>

namespace weft::tests {

class gate {
public:
    void open() noexcept {
        open_.store(true);
        open_.notify_all();
    }
    void pass() const noexcept {
        ++arrived;
        open_.wait(false);
    }
    mutable std::atomic<int> arrived{0};

private:
    std::atomic<bool> open_{false};
};

} // namespace weft::tests
