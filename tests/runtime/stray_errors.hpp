// SPDX-License-Identifier: MIT
// Collects what goes to the unhandled-error hook while it lives.
#pragma once
#include <weft/runtime/unhandled.hpp>

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

namespace weft::tests {

class stray_errors {
public:
    stray_errors() {
        texts().clear();
        wheres().clear();
        before_ = weft::set_unhandled_error_hook([](const weft::unhandled_error& e) {
            std::lock_guard lock(mutex());
            texts().emplace_back(e.text);
            wheres().emplace_back(e.where);
        });
    }
    stray_errors(const stray_errors&) = delete;
    stray_errors& operator=(const stray_errors&) = delete;
    ~stray_errors() { weft::set_unhandled_error_hook(before_); }

    /// How many have come, for those who wait while others report.
    static std::size_t count() {
        std::lock_guard lock(mutex());
        return texts().size();
    }
    /// The text of each, in the order in which they came.
    static std::vector<std::string>& texts() {
        static std::vector<std::string> t;
        return t;
    }
    /// What each came from.
    static std::vector<std::string>& wheres() {
        static std::vector<std::string> w;
        return w;
    }

private:
    static std::mutex& mutex() {
        static std::mutex m;
        return m;
    }
    weft::unhandled_error_hook before_;
};

} // namespace weft::tests
