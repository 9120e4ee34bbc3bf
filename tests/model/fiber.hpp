// SPDX-License-Identifier: MIT
// A stack of its own for something that runs until it lets something else run: what the threads of
// a model are.
//
//     weft::model::fiber home;             // the stack that we are on
//     weft::model::fiber other(64 * 1024); // one of its own
//     other.prepare(body, &argument);
//     weft::model::fiber::change(home, other); // comes back when somebody changes to `home`
//
// Threads:      all fibers belong to one thread. Cancellation: a fiber may be left for ever, and be
//               prepared anew; what lived on its stack isn't destroyed.
// Errors:       std::bad_alloc. Running over the end of a stack is a segmentation fault.
// Cost:         a change is a dozen instructions on x86-64, and a system call elsewhere (ucontext).
// Source:       none.
#pragma once
#include <cstddef>

#if defined(__x86_64__) && !defined(WEFT_MODEL_UCONTEXT)
#define WEFT_MODEL_OWN_CHANGE 1
#else
#define WEFT_MODEL_OWN_CHANGE 0
#include <ucontext.h>
#endif

namespace weft::model {

class fiber {
public:
    using function = void (*)(void*) noexcept; // never returns: it changes to another one

    fiber() noexcept = default;
    explicit fiber(std::size_t stack_size);
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;
    ~fiber();

    /// The next change to it calls f(argument), at the beginning of its stack.
    void prepare(function f, void* argument) noexcept;
    static void change(fiber& from, fiber& to) noexcept;

private:
    // What the C++ runtime keeps for each thread of those exceptions that are being handled.
    struct exceptions {
        void* caught = nullptr;
        unsigned uncaught = 0;
    };

    std::byte* memory_ = nullptr; // a guard page, then the stack
    std::size_t size_ = 0;        // of both
#if WEFT_MODEL_OWN_CHANGE
    void* top_ = nullptr; // of the stack, where its registers are
#else
    ::ucontext_t context_{};
    function begin_ = nullptr;
    void* argument_ = nullptr;
    static void enter(unsigned high, unsigned low);
#endif
    exceptions exceptions_;
};

} // namespace weft::model
