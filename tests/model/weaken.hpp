// SPDX-License-Identifier: MIT
// Weakens the memory orders of a piece one after the other, each by one step, and tells which of
// them none of its models misses.
//
//     const std::vector<weft::model::named_model> models{{"counting", two_threads_count}};
//     weft::model::all_hold(models);
//     CHECK(weft::model::not_missed(models) == std::vector<std::string>{});
//
// Threads:      the test's. Cancellation: none. Errors: failures of the test.
// Cost:         for each order the search up to the first failure; for one that isn't missed, all
//               searches. Source: none.
#pragma once
#include "model/expect.hpp"
#include "model/orders.hpp"

#include <algorithm>

namespace weft::model {

struct named_model {
    const char* name;
    std::function<void()> run;
    bounds within = {};
};

inline void all_hold(const std::vector<named_model>& models) {
    for (const named_model& m : models)
        holds(m.name, m.run, m.within);
}

/// "file: function: operation order -> weaker order", sorted.
inline std::vector<std::string> not_missed(const std::vector<named_model>& models) {
    auto met = orders_met([&] {
        for (const named_model& m : models)
            explore(m.name, m.run, m.within);
    });
    REQUIRE(!met.empty());
    std::vector<std::string> found;
    std::size_t tried = 0;
    for (const order_site& s : met) {
        for (std::memory_order o : weaker(s)) {
            ++tried;
            weakened now(s, o);
            bool missed = std::any_of(models.begin(), models.end(), [](const named_model& m) {
                return explore(m.name, m.run, m.within).failure.has_value();
            });
            if (!missed)
                found.push_back(s.text() + " -> " + name_of(o));
        }
    }
    std::cout << tried << " orders weakened, " << found.size() << " not missed\n";
    std::sort(found.begin(), found.end());
    return found;
}

} // namespace weft::model
