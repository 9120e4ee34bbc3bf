// SPDX-License-Identifier: MIT
// Linked into the programs of ipc and executors: their workers are the same program, started again.
#include "support/before_session.hpp"

#include <weft/ipc/worker_entry.hpp>

namespace {
[[maybe_unused]] const bool set = [] {
    weft::tests::before_session = [](int argc, char** argv) -> std::optional<int> {
        return weft::ipc::worker_entry(argc, argv);
    };
    return true;
}();
} // namespace
