// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/frame_pool.hpp>

#include "support/report.hpp"
#include "sync/patience.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <malloc.h>
#include <set>
#include <thread>
#include <vector>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::size_t largest = detail::frame_classes * detail::frame_step;

void* take(std::size_t size) {
    void* block = detail::allocate_frame(size);
    std::memset(block, static_cast<int>(size % 251), size);
    return block;
}

// Gives a block back, and whether it still holds what was put into it.
bool give(void* block, std::size_t size) {
    const auto* bytes = static_cast<unsigned char*>(block);
    bool intact =
        std::all_of(bytes, bytes + size, [size](unsigned char b) { return b == size % 251; });
    detail::release_frame(block, size);
    return intact;
}

std::vector<void*> take_many(std::size_t count, std::size_t size) {
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < count; ++i)
        blocks.push_back(take(size));
    return blocks;
}

bool give_all(const std::vector<void*>& blocks, std::size_t size) {
    bool intact = true;
    for (void* b : blocks)
        intact = give(b, size) && intact;
    return intact;
}

// Under the address sanitizer each block comes from the heap, so that a use after free is seen.
bool recycles() {
    if (WEFT_PLAIN_FRAMES != 0)
        skip("under the address sanitizer nothing is recycled");
    return WEFT_PLAIN_FRAMES == 0;
}

template <class F>
void on_a_thread(F f) {
    std::thread(f).join();
}

// Sizes of their own for the cases below that count blocks: nothing else here is so large.
constexpr std::size_t rare = largest - 5;

} // namespace

TEST_CASE("frame_pool: blocks of every size are distinct, aligned and as large as asked for") {
    struct block {
        void* at;
        std::size_t size;
    };
    std::vector<block> blocks;
    bool aligned = true;
    for (std::size_t size = 1; size <= largest + 100; ++size) {
        for (int i = 0; i < 3; ++i) {
            void* b = take(size);
            aligned = aligned && reinterpret_cast<std::uintptr_t>(b) % alignof(void*) == 0;
            aligned =
                aligned &&
                (size < 16 || reinterpret_cast<std::uintptr_t>(b) % alignof(std::max_align_t) == 0);
            blocks.push_back({b, size});
        }
    }
    CHECK(aligned);
    bool intact = true;
    for (const block& b : blocks)
        intact = give(b.at, b.size) && intact;
    CHECK(intact);
}

TEST_CASE("frame_pool: what was given back last is handed out next") {
    if (!recycles())
        return;
    void* a = take(rare);
    void* b = take(rare);
    detail::release_frame(a, rare);
    detail::release_frame(b, rare);
    CHECK(take(rare) == b);
    CHECK(take(rare) == a);
    // Sizes that are rounded up alike share their blocks.
    detail::release_frame(a, rare);
    CHECK(take(rare - 3) == a);
    detail::release_frame(a, rare - 3);
    detail::release_frame(b, rare);
}

TEST_CASE("frame_pool: the same work again takes no memory of the heap") {
    if (!recycles())
        return;
    auto work = [] { CHECK(give_all(take_many(5000, rare), rare)); };
    work();
    std::size_t before = ::mallinfo2().uordblks;
    for (int i = 0; i < 10; ++i)
        work();
    CHECK(::mallinfo2().uordblks < before + 64 * 1024);
}

TEST_CASE("frame_pool: a thread that ends leaves its blocks to others") {
    if (!recycles())
        return;
    std::set<void*> theirs;
    on_a_thread([&] {
        std::vector<void*> blocks = take_many(3000, rare);
        theirs.insert(blocks.begin(), blocks.end());
        give_all(blocks, rare);
    });
    // This thread hands out first what it has, and others may have left some too.
    std::vector<void*> blocks = take_many(2000, rare);
    auto known =
        std::count_if(blocks.begin(), blocks.end(), [&](void* b) { return theirs.contains(b); });
    CHECK(known > 500);
    CHECK(give_all(blocks, rare));
}

TEST_CASE("frame_pool: threads that come and go don't add up") {
    if (!recycles())
        return;
    auto one = [] { give_all(take_many(500, rare), rare); };
    for (int i = 0; i < 5; ++i)
        on_a_thread(one);
    std::size_t before = ::mallinfo2().uordblks;
    for (int i = 0; i < 100; ++i)
        on_a_thread(one);
    CHECK(::mallinfo2().uordblks < before + 256 * 1024);
}

TEST_CASE("frame_pool: blocks that another thread gives back come round again") {
    if (!recycles())
        return;
    // One thread only takes, the other only gives back.
    std::size_t before = 0;
    bool intact = true;
    for (int round = 0; round < 60; ++round) {
        std::vector<void*> blocks;
        on_a_thread([&] { blocks = take_many(700, rare); });
        on_a_thread([&] { intact = give_all(blocks, rare) && intact; });
        if (round == 5)
            before = ::mallinfo2().uordblks;
    }
    CHECK(intact);
    CHECK(::mallinfo2().uordblks < before + 256 * 1024);
}

TEST_CASE("frame_pool: threads that pass blocks round never share one") {
    unsigned seed = new_seed();
    constexpr unsigned threads = 3;
    constexpr unsigned slots = 64;
    std::atomic<void*> all[detail::frame_classes][slots] = {};
    std::atomic<unsigned> spoilt{0};
    auto pass_round = [&](unsigned who) {
        dice d(seed, who);
        for (int i = 0; i < 20'000; ++i) {
            std::size_t index = d.below(detail::frame_classes);
            std::size_t size = (index + 1) * detail::frame_step;
            void* other = all[index][d.below(slots)].exchange(take(size));
            if (other != nullptr && !give(other, size))
                ++spoilt;
        }
    };
    std::vector<std::thread> running;
    for (unsigned t = 0; t < threads; ++t)
        running.emplace_back(pass_round, t);
    for (auto& t : running)
        t.join();
    for (std::size_t index = 0; index < detail::frame_classes; ++index) {
        for (auto& slot : all[index]) {
            void* left = slot.load();
            if (left != nullptr && !give(left, (index + 1) * detail::frame_step))
                ++spoilt;
        }
    }
    CHECK(spoilt == 0);
}

TEST_CASE("frame_pool: blocks may be taken and given back while a thread is ending") {
    // An object of the thread that was made before the pool's guard, so it is destroyed after it.
    static std::atomic<int> right{0};
    struct late {
        std::vector<void*> blocks;
        late() = default;
        late(const late&) = delete;
        late& operator=(const late&) = delete;
        ~late() {
            bool intact = give_all(blocks, rare);
            std::vector<void*> more = take_many(300, rare);
            intact = give_all(more, rare) && intact;
            right += intact ? 1 : 0;
        }
    };
    right = 0;
    for (int i = 0; i < 3; ++i) {
        on_a_thread([] {
            thread_local late l;
            l.blocks.reserve(600);
            for (int n = 0; n < 600; ++n)
                l.blocks.push_back(take(rare));
        });
    }
    CHECK(right == 3);
}
