// SPDX-License-Identifier: MIT
// What the threads of a model see of each other's memory.
//
// Each location keeps all its stores, in the order in which they were executed: that is its
// modification order. What a thread knows is, for each location, the oldest store that it may still
// read (its view), and for each thread how much of it happened before (its clock). A store carries
// a message: what its thread knew if it is a release, or what it knew at its last release fence.
// Whoever reads it with acquire knows that too from then on. What sequentially consistent
// operations did is known to all later ones. Plain objects have no stores, but the moments of their
// last accesses: one that isn't ordered by the clock is a race.
//
// Threads:      one. Cancellation: none.
// Errors:       a broken rule ends the execution: see fail() in model.hpp.
// Cost:         a join of two arrays for each operation that synchronises.
// Source:       see model.hpp.
#pragma once
#include "model/model.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace weft::model {

inline constexpr std::size_t all_threads = most_threads + 1; // the first makes the model
inline constexpr std::size_t most_locations = 64;

struct knowledge {
    std::array<std::uint16_t, most_locations> oldest{};
    std::array<std::uint32_t, all_threads> clock{};
};

/// What a thread knows, and has to do with fences.
struct thread_view {
    std::size_t number = 0;
    knowledge now;
    knowledge released; // at its last release fence
    knowledge read;     // by relaxed loads: it counts from the next acquire fence on
    knowledge ahead;    // at its last store_ahead
    knowledge fenced;   // by others for all: it counts from the next store_ahead on
};

class memory_model {
public:
    using bits = detail::bits;
    using location = detail::location;

    memory_model();

    /// Nothing is there.
    void reset() noexcept;

    location make(thread_view& t, const void* object, bits value, const site& made);
    void end(thread_view& t, location l, const void* object);
    /// Fails if the object isn't alive, or its beginning isn't known to the thread.
    void touch(thread_view& t, location l, const void* object);

    [[nodiscard]] std::size_t newest(location l) const noexcept { return at(l).history.size() - 1; }
    [[nodiscard]] bits value(location l, std::size_t index) const noexcept {
        return at(l).history[index].value;
    }
    /// The first store that the thread may read.
    [[nodiscard]] std::size_t oldest(const thread_view& t, location l,
                                     std::memory_order o) const noexcept;
    [[nodiscard]] const site& made(location l) const noexcept { return at(l).made; }

    /// The thread reads that store.
    void read(thread_view& t, location l, std::size_t index, std::memory_order o);
    void write(thread_view& t, location l, bits value, std::memory_order o);
    /// It has read the newest store, and writes the next one.
    void modify(thread_view& t, location l, bits value, std::memory_order o);
    void fence(thread_view& t, std::memory_order o);
    /// The thread's next loads come after what it has stored, for those who fence for all.
    void go_ahead(thread_view& t) noexcept;
    /// `t` has fenced for all threads, of which `other` is one.
    void fence_for(thread_view& t, thread_view& other) noexcept;
    /// The newest store is seen from now on, without anything else.
    void see_newest(thread_view& t, location l) noexcept;
    /// The kernel orders those who wait for a word and those who wake them; what they did before
    /// isn't released by that.
    void see_through_kernel(thread_view& t) noexcept;

    void read_plain(thread_view& t, const void* p, const site& where);
    void write_plain(thread_view& t, const void* p, const site& where);

    /// `to` knows what `from` does.
    void join(knowledge& to, const knowledge& from) const noexcept;

    [[nodiscard]] std::size_t locations() const noexcept { return used_; }

private:
    struct stored {
        bits value = 0;
        knowledge message;
    };
    struct place {
        const void* object = nullptr;
        site made;
        bool alive = false;
        std::size_t maker = 0;
        std::uint32_t made_at = 0;
        std::array<std::uint32_t, all_threads> touched{}; // when each thread was here last
        std::vector<stored> history;
    };
    /// When each thread used a plain object last.
    struct accesses {
        const void* object = nullptr;
        std::uint32_t era = 0; // an entry of another execution is empty
        std::size_t writer = 0;
        std::uint32_t written = 0;
        site write_site;
        std::array<std::uint32_t, all_threads> read{};
        std::array<site, all_threads> read_site{};
    };

    [[nodiscard]] place& at(location l) noexcept { return places_[l]; }
    [[nodiscard]] const place& at(location l) const noexcept { return places_[l]; }
    void append(thread_view& t, location l, bits value, std::memory_order o,
                const knowledge* continued);
    accesses& of(const void* p);
    void see(knowledge& to, const knowledge& from) const noexcept;
    static void check_order(const thread_view& t, std::size_t other, std::uint32_t when,
                            const char* what, const site& mine, const site& theirs);

    std::vector<place> places_;
    std::size_t used_ = 0;
    knowledge sequential_;
    std::vector<accesses> plain_; // a hash table
    std::size_t plain_used_ = 0;
    std::uint32_t era_ = 1;
};

} // namespace weft::model
