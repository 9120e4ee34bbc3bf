// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/stack_trace.hpp>

#include <weft/ipc/detail/type_name.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <execinfo.h>
#include <unwind.h>
#include <utility>

namespace weft::ipc::detail {

namespace {
thread_local stack_trace* current = nullptr;
}

} // namespace weft::ipc::detail

// The frame that the unwinder asks. Elsewhere functions are called directly, and there are no
// traces.
#if defined(__x86_64__)
#define WEFT_TRACES 1
asm(R"(
    .pushsection .text.weft_ipc_call_traced, "ax", @progbits
    .globl weft_ipc_call_traced
    .hidden weft_ipc_call_traced
    .type weft_ipc_call_traced, @function
    .p2align 4
weft_ipc_call_traced:
    .cfi_startproc
    .cfi_personality 0x1b, weft_ipc_trace_personality
    endbr64
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq %rdi, %rax
    movq %rsi, %rdi
    callq *%rax
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    retq
    .cfi_endproc
    .size weft_ipc_call_traced, . - weft_ipc_call_traced
    .popsection
)");
#elif defined(__aarch64__)
#define WEFT_TRACES 1
asm(R"(
    .pushsection .text.weft_ipc_call_traced, "ax", @progbits
    .globl weft_ipc_call_traced
    .hidden weft_ipc_call_traced
    .type weft_ipc_call_traced, @function
    .p2align 4
weft_ipc_call_traced:
    .cfi_startproc
    .cfi_personality 0x1b, weft_ipc_trace_personality
    stp x29, x30, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    mov x29, sp
    mov x9, x0
    mov x0, x1
    blr x9
    ldp x29, x30, [sp], #16
    .cfi_adjust_cfa_offset -16
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size weft_ipc_call_traced, . - weft_ipc_call_traced
    .popsection
)");
#endif

#if defined(WEFT_TRACES)
extern "C" void weft_ipc_call_traced(void (*f)(void*), void* argument);

extern "C" [[gnu::visibility("hidden"), gnu::used]] _Unwind_Reason_Code
weft_ipc_trace_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class,
                           _Unwind_Exception*, _Unwind_Context*) {
    if (version == 1 && (actions & _UA_SEARCH_PHASE) != 0 && weft::ipc::detail::current != nullptr)
        weft::ipc::detail::current->take();
    return _URC_CONTINUE_UNWIND;
}
#endif

namespace weft::ipc::detail {

void stack_trace::take() noexcept {
    size_ = ::backtrace(frames_.data(), static_cast<int>(frames_.size()));
}

void call_traced(void (*f)(void*), void* argument, stack_trace& trace) {
#if defined(WEFT_TRACES)
    struct restore {
        explicit restore(stack_trace* now) noexcept : before(std::exchange(current, now)) {}
        restore(const restore&) = delete;
        restore& operator=(const restore&) = delete;
        ~restore() { current = before; }
        stack_trace* before;
    } until_end(&trace);
    weft_ipc_call_traced(f, argument);
#else
    static_cast<void>(trace);
    f(argument);
#endif
}

void prepare_traces() noexcept {
    void* frame = nullptr;
    ::backtrace(&frame, 1); // loads the unwinder's library, with allocations and locks
}

namespace {

bool belongs_to_throwing(const Dl_info& where) {
    if (where.dli_fname != nullptr && std::strstr(where.dli_fname, "libgcc_s") != nullptr)
        return true;
    for (const char* name :
         {"__cxa_throw", "__cxa_rethrow", "_Unwind_RaiseException", "_Unwind_Resume_or_Rethrow"})
        if (where.dli_sname != nullptr && std::strstr(where.dli_sname, name) != nullptr)
            return true;
    return where.dli_fname != nullptr && std::strstr(where.dli_fname, "libstdc++") != nullptr;
}

std::string describe_frame(int number, const void* address, const Dl_info* where) {
    char line[64];
    std::snprintf(line, sizeof line, "#%d %p", number, address);
    std::string text = line;
    if (where == nullptr)
        return text;
    if (where->dli_sname != nullptr)
        text.append(" ").append(readable_type_name(where->dli_sname));
    if (where->dli_fname != nullptr) {
        auto offset = reinterpret_cast<std::uintptr_t>(address) -
                      reinterpret_cast<std::uintptr_t>(where->dli_fbase);
        std::snprintf(line, sizeof line, "+0x%zx)", static_cast<std::size_t>(offset));
        text.append(" (").append(where->dli_fname).append(line);
    }
    return text;
}

} // namespace

std::string stack_trace::text() const {
    std::string all;
#if defined(WEFT_TRACES)
    // On top lies what throwing calls; below, whoever called call_traced.
    int first = 0;
    for (int i = 0; i < size_ && i < 8; ++i) {
        Dl_info where;
        if (::dladdr(frames_[static_cast<std::size_t>(i)], &where) != 0 &&
            belongs_to_throwing(where))
            first = i + 1;
    }
    auto begin = reinterpret_cast<std::uintptr_t>(&weft_ipc_call_traced);
    for (int i = first; i < size_; ++i) {
        void* address = frames_[static_cast<std::size_t>(i)];
        auto a = reinterpret_cast<std::uintptr_t>(address);
        if (a >= begin && a < begin + 64)
            break;
        // A return address may lie behind the function's last instruction.
        Dl_info where;
        bool known = ::dladdr(static_cast<char*>(address) - 1, &where) != 0;
        all.append(describe_frame(i - first, address, known ? &where : nullptr)).append("\n");
    }
#endif
    return all;
}

} // namespace weft::ipc::detail
