// SPDX-License-Identifier: MIT
#include "model/fiber.hpp"

#include <cstdint>
#include <cstring>
#include <cxxabi.h>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

#if WEFT_MODEL_OWN_CHANGE
// void weft_model_change(void** from, void* to): puts what a function must preserve on the stack,
// and takes it from the other one. A fiber that begins finds its function in r12 and the argument
// in r13.
asm(R"(
.text
.globl weft_model_change
.type weft_model_change, @function
weft_model_change:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size weft_model_change, . - weft_model_change

.globl weft_model_begin
.type weft_model_begin, @function
weft_model_begin:
    .cfi_startproc
    .cfi_undefined rip
    movq %r13, %rdi
    callq *%r12
    ud2
    .cfi_endproc
.size weft_model_begin, . - weft_model_begin
)");

extern "C" {
void weft_model_change(void** from, void* to) noexcept;
void weft_model_begin() noexcept;
}
#endif

namespace weft::model {

fiber::fiber(std::size_t stack_size) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size_ = (stack_size + page - 1) / page * page + page;
    void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        throw std::bad_alloc();
    ::mprotect(memory, page, PROT_NONE);
    memory_ = static_cast<std::byte*>(memory);
}

fiber::~fiber() {
    if (memory_ != nullptr)
        ::munmap(memory_, size_);
}

#if WEFT_MODEL_OWN_CHANGE

void fiber::prepare(function f, void* argument) noexcept {
    exceptions_ = {};
    // r15, r14, r13, r12, rbx, rbp, the address to return to; above them the stack is aligned.
    void* registers[8] = {nullptr,
                          nullptr,
                          argument,
                          reinterpret_cast<void*>(f),
                          nullptr,
                          nullptr,
                          reinterpret_cast<void*>(&weft_model_begin),
                          nullptr};
    std::byte* at = memory_ + size_ - sizeof registers - 8;
    std::memcpy(at, static_cast<const void*>(registers), sizeof registers);
    top_ = at;
}

void fiber::change(fiber& from, fiber& to) noexcept {
    auto* handled = reinterpret_cast<exceptions*>(abi::__cxa_get_globals());
    from.exceptions_ = *handled;
    *handled = to.exceptions_;
    weft_model_change(&from.top_, to.top_);
}

#else

void fiber::enter(unsigned high, unsigned low) {
    auto* self =
        reinterpret_cast<fiber*>(static_cast<std::uintptr_t>(std::uint64_t{high} << 32 | low));
    self->begin_(self->argument_);
}

void fiber::prepare(function f, void* argument) noexcept {
    exceptions_ = {};
    begin_ = f;
    argument_ = argument;
    ::getcontext(&context_);
    context_.uc_stack.ss_sp = memory_;
    context_.uc_stack.ss_size = size_;
    context_.uc_link = nullptr;
    const auto self = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(this));
    ::makecontext(&context_, reinterpret_cast<void (*)()>(&fiber::enter), 2,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

void fiber::change(fiber& from, fiber& to) noexcept {
    auto* handled = reinterpret_cast<exceptions*>(abi::__cxa_get_globals());
    from.exceptions_ = *handled;
    *handled = to.exceptions_;
    ::swapcontext(&from.context_, &to.context_);
}

#endif

} // namespace weft::model
