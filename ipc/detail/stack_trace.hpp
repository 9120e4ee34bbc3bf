// SPDX-License-Identifier: MIT
// The stack at the throw of an exception that leaves a function, taken before it is unwound.
//
// The unwinder walks the stack twice: first it looks for a handler and changes nothing, then it
// unwinds. In the first walk it asks each frame on the way; call_traced puts a frame there which
// answers "go on" and notes the stack, which still holds everything down to the throw.
//
// Threads:      each its own trace.
// Cancellation: none.
// Errors:       none of its own; what the function throws passes through.
// Cost:         a call; a throw that passes costs a walk of the stack, about a microsecond a frame.
// Source:       Itanium C++ ABI, "Exception Handling", 1.3 and 1.6; the idea of tracing in the
//               search phase is cpptrace's.
#pragma once
#include <array>
#include <cstddef>
#include <string>

namespace weft::ipc::detail {

class stack_trace {
public:
    /// A frame per line, the throw first. Empty if nothing was thrown or the machine isn't one that
    /// we know.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    /// Notes the calling stack.
    void take() noexcept;

private:
    std::array<void*, 64> frames_;
    int size_ = 0;
};

/// Calls f(argument), with `trace` telling afterwards where the exception came from that left it.
void call_traced(void (*f)(void*), void* argument, stack_trace& trace);

/// Does the work that the first trace of a process needs, so that no throw has to.
void prepare_traces() noexcept;

} // namespace weft::ipc::detail
