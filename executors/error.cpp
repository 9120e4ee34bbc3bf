// SPDX-License-Identifier: MIT
#include <weft/executors/error.hpp>

#include <weft/ipc/error_registry.hpp>

namespace weft {

// Out of line, so that each type's information is in the library once.
broken_executor::~broken_executor() = default;
broken_thread_pool::~broken_thread_pool() = default;
broken_process_pool::~broken_process_pool() = default;

namespace {
const bool broken_executors_known = ipc::register_error<broken_executor>() &&
                                    ipc::register_error<broken_thread_pool>() &&
                                    ipc::register_error<broken_process_pool>();
}

} // namespace weft
