// SPDX-License-Identifier: MIT
// The memory orders in the code that models run: which there are, and what happens if one of them
// is weaker. What no model notices is either not needed, or not tested.
//
//     auto all = weft::model::orders_met([] { run_all_models(); });
//     for (const auto& s : all)
//         for (auto o : weft::model::weaker(s)) {
//             weft::model::weakened now(s, o);
//             CHECK_FALSE(run_all_models());
//         }
//
// Threads:      one. Cancellation: none. Errors: std::bad_alloc.
// Cost:         a comparison of lines for each atomic operation while an order is weakened.
// Source:       none.
#pragma once
#include <atomic>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace weft::model {

/// One memory order.
struct order_site {
    std::string file; // from the folder of the module on
    std::string function;
    std::string operation; // load, store, exchange ...
    unsigned line = 0;
    unsigned column = 0;
    bool of_failure = false; // the second one of a compare_exchange
    std::memory_order order = std::memory_order_relaxed;

    /// As in: sync/detail/turnstile.hpp: lock: compare_exchange acquire
    [[nodiscard]] std::string text() const;
};

/// Which orders stronger than relaxed are met in the library while `f` runs models.
std::vector<order_site> orders_met(const std::function<void()>& f);

/// Those that are one step weaker.
std::vector<std::memory_order> weaker(const order_site& s);
const char* name_of(std::memory_order o) noexcept;

/// As long as it lives, that site has another order.
class weakened {
public:
    weakened(const order_site& s, std::memory_order o);
    weakened(const weakened&) = delete;
    weakened& operator=(const weakened&) = delete;
    ~weakened();
};

/// The part of a path that is the same everywhere: from the module's folder on.
std::string_view short_path(std::string_view path) noexcept;

/// For the checker: the order that an operation has now.
std::memory_order order_now(const char* operation, std::memory_order written, bool of_failure,
                            const std::source_location& at);

} // namespace weft::model
