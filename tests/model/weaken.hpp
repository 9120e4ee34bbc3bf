// SPDX-License-Identifier: MIT
// Weakens the memory orders of a piece one after the other, each by one step, and tells which of
// them none of its models misses.
//
//     auto piece = weft::model::all_hold({{"counting", two_threads_count}});
//     CHECK(piece.not_missed() == std::vector<std::string>{});
//
// Threads:      the test's. Cancellation: none. Errors: failures of the test.
// Cost:         for each order the search up to the first failure; for one that isn't missed, all
//               searches. Source: none.
#pragma once
#include "model/expect.hpp"
#include "model/orders.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>

namespace weft::model {

struct named_model {
    const char* name;
    std::function<void()> run;
    bounds within = {};
};

/// The models of a piece, and the memory orders that they have met.
struct held_models {
    std::vector<named_model> models; // those that are quickly done come first
    std::vector<order_site> met;

    /// "file: function: operation order -> weaker order", sorted.
    [[nodiscard]] std::vector<std::string> not_missed() const {
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
        CHECK(tried != 0);
        std::sort(found.begin(), found.end());
        return found;
    }
};

inline held_models all_hold(std::vector<named_model> models) {
    std::map<std::string_view, std::uint64_t> executions;
    held_models piece;
    piece.met = orders_met([&] {
        for (const named_model& m : models)
            executions[m.name] = holds(m.name, m.run, m.within);
    });
    std::sort(models.begin(), models.end(), [&](const named_model& a, const named_model& b) {
        return executions[a.name] < executions[b.name];
    });
    piece.models = std::move(models);
    return piece;
}

} // namespace weft::model
