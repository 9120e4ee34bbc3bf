// SPDX-License-Identifier: MIT
// Hears what a worker says beside its answers: see worker_voice.hpp.
//
// Threads:      the loop's.
// Cancellation: none; it ends when the channel's other end is gone, or ours was shut down.
// Errors:       without memory for the request nothing more is heard; what isn't understood is
//               left out.
// Cost:         a poll request; a receive for each packet. Source: none.
#pragma once
#include <weft/runtime/loop.hpp>

namespace weft::detail {

class pool_hub;

class worker_ear {
public:
    /// `quiet(owner)` is called when there will be nothing more.
    worker_ear(pool_hub& hub, loop& l, unsigned index, void* owner,
               void (*quiet)(void*) noexcept) noexcept;
    worker_ear(const worker_ear&) = delete;
    worker_ear& operator=(const worker_ear&) = delete;

    void open(int control, int pid) noexcept;
    [[nodiscard]] bool listens() const noexcept { return listening_; }

private:
    struct target : completion_target {
        target(worker_ear& e, function f) noexcept : completion_target(f), ear(e) {}
        worker_ear& ear;
    };
    static void heard(completion_target& t, std::int32_t result, std::uint32_t flags) noexcept;
    void listen() noexcept;
    /// False: the channel has ended.
    [[nodiscard]] bool hear_all() noexcept;
    void hear(std::size_t size) noexcept;

    pool_hub& hub_;
    loop& loop_;
    unsigned index_;
    void* owner_;
    void (*quiet_)(void*) noexcept;
    target heard_;
    int control_ = -1;
    int pid_ = 0;
    bool listening_ = false;
};

} // namespace weft::detail
