// SPDX-License-Identifier: MIT
// Where what a model allocates comes from: an arena that is emptied after each execution. So what
// an execution leaves behind when it is given up in the middle is no leak, no address is used twice
// in one execution, and what is used after its end holds a pattern.
//
// arena.cpp replaces the program's operator new and delete; outside of models they are malloc.
//
// Threads:      one. Cancellation: none.
// Errors:       std::bad_alloc. Cost: a few instructions an allocation. Source: none.
#pragma once

namespace weft::model::arena {

/// Whether what is allocated now comes from the arena.
extern constinit bool in_use;

/// Forgets everything that the arena holds.
void reset() noexcept;

} // namespace weft::model::arena
