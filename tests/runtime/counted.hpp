// SPDX-License-Identifier: MIT
// An object that knows how many of its kind are alive, and tells when it ends.
#pragma once
#include <functional>
#include <utility>

namespace weft::tests {

class counted {
public:
    explicit counted(int& live) : live_(live) { ++live_; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --live_; }

private:
    int& live_;
};

class at_end {
public:
    explicit at_end(std::function<void()> f) : f_(std::move(f)) {}
    at_end(const at_end&) = delete;
    at_end& operator=(const at_end&) = delete;
    ~at_end() { f_(); }

private:
    std::function<void()> f_;
};

} // namespace weft::tests
