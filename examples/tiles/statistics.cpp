// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <algorithm>
#include <vector>

namespace tiles {

void statistics::drawn(time_point asked, time_point done) {
    ++drawn_;
    last_.push_back({.done = done, .took = done - asked});
    if (last_.size() > remembered)
        last_.pop_front();
}

statistics::summary statistics::at(time_point now) const {
    summary s{.drawn = drawn_, .given_up = given_up_};
    std::vector<milliseconds> took;
    took.reserve(last_.size());
    for (const tile& t : last_) {
        took.push_back(t.took);
        s.rate += now - t.done < std::chrono::seconds(1);
    }
    std::ranges::sort(took);
    // The smallest that isn't exceeded by more than the given part of them.
    auto quantile = [&](std::size_t percent) -> std::optional<milliseconds> {
        if (took.empty())
            return {};
        return took[(took.size() * percent + 99) / 100 - 1];
    };
    s.p50 = quantile(50);
    s.p99 = quantile(99);
    return s;
}

} // namespace tiles
