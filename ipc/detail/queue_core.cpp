// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/queue_core.hpp>

#include <weft/ipc/detail/process_mark.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/queue_error.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <sys/mman.h>
#include <type_traits>
#include <unistd.h>

namespace weft::ipc::detail {

namespace {

using weft::detail::futex_wake;
using weft::detail::futex_word;
using weft::detail::std_atomics;

constexpr std::uint64_t queue_magic = 0x3165756575716677; // "wfqueue1"
constexpr std::size_t granule = record_ring<>::granule;
constexpr std::size_t most_bytes = std::size_t{1} << 31;
constexpr std::size_t most_items = (std::size_t{1} << 31) - 1;

static_assert(std::is_standard_layout_v<queue_page> && sizeof(queue_page) <= 4096);
static_assert(std::is_same_v<decltype(doorbell<>::word), futex_word>);

std::size_t page_bytes() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::size_t ring_bytes(std::size_t wanted) {
    if (wanted > most_bytes)
        throw std::invalid_argument("the memory of a queue between processes is at most 2 GiB");
    return std::bit_ceil(std::max(wanted, page_bytes()));
}

constexpr auto wake_word = [](futex_word& word, unsigned n) noexcept {
    return futex_wake(word, static_cast<int>(n));
};

// The bytes of all pieces from `skipped` on.
void copy_pieces(std::span<const std::span<const std::byte>> pieces, std::size_t skipped,
                 std::byte* to, std::size_t n) noexcept {
    for (std::span<const std::byte> piece : pieces) {
        if (skipped >= piece.size()) {
            skipped -= piece.size();
            continue;
        }
        std::size_t here = std::min(piece.size() - skipped, n);
        std::memcpy(to, piece.data() + skipped, here);
        skipped = 0;
        to += here;
        n -= here;
        if (n == 0)
            return;
    }
}

// How much of an item is put next. Parts are so small that one can be put while another is got.
std::size_t next_record(const record_ring<>& ring, const put_attempt& a) noexcept {
    return a.size <= ring.largest() ? a.size
                                    : std::min<std::size_t>(a.size - a.done, ring.largest() / 4);
}

} // namespace

// --- The memory ----------------------------------------------------------------------------------

queue_core::mirror::mirror(int fd, std::size_t offset, std::size_t size) : mirror(size) {
    void* at =
        ::mmap(nullptr, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        throw_errno(errno, "map the records of a queue");
    begin_ = static_cast<std::byte*>(at);
    for (std::byte* half : {begin_, begin_ + size})
        if (::mmap(half, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                   static_cast<off_t>(offset)) == MAP_FAILED)
            throw_errno(errno, "map the records of a queue");
}

queue_core::mirror::~mirror() {
    if (begin_ != nullptr)
        ::munmap(begin_, 2 * size_);
}

shared_memory queue_core::make(std::size_t capacity, const queue_options& options,
                               std::uint64_t type) {
    if (capacity > most_items)
        throw std::invalid_argument("the capacity of a queue is at most 2147483647");
    const std::size_t records = ring_bytes(options.bytes);
    shared_memory m = shared_memory::create_nameless(page_bytes() + records);
    // It is of zeros, as the atomics are to begin with.
    auto* p = reinterpret_cast<queue_page*>(m.bytes().data());
    p->magic = queue_magic;
    p->type = type;
    p->granules = static_cast<std::uint32_t>(records / granule);
    p->capacity = static_cast<std::uint32_t>(capacity);
    p->lane = options.one_to_one ? 1 : 0;
    return m;
}

auto queue_core::check(const shared_memory& m, std::uint64_t type) -> shape {
    if (m.size() <= page_bytes())
        throw protocol_error("the memory holds no queue");
    const std::size_t records = m.size() - page_bytes();
    queue_page* p = reinterpret_cast<queue_page*>(m.bytes().data());
    // Read once: somebody may write there.
    const std::uint64_t magic = p->magic, its_type = p->type;
    const std::uint32_t granules = p->granules, capacity = p->capacity, lane = p->lane;
    if (magic != queue_magic)
        throw protocol_error("the memory holds no queue");
    if (its_type != type)
        throw protocol_error("the queue in this memory is one of other items");
    if (!std::has_single_bit(records) || records > most_bytes || records % page_bytes() != 0 ||
        granules != records / granule || capacity > most_items || lane > 1)
        throw protocol_error("the queue in this memory is damaged");
    return {granules, capacity, lane == 1};
}

queue_core::queue_core(shared_memory m, std::uint64_t type) : queue_core(m, check(m, type)) {}

queue_core::queue_core(shared_memory& m, const shape& s)
    : memory_(std::move(m)), page_(reinterpret_cast<queue_page*>(memory_.bytes().data())),
      records_(memory_.fd(), page_bytes(), std::size_t{s.granules} * granule),
      ring_(page_->ring, mirrored_bytes(records_.begin(), s.granules), s.granules, s.capacity,
            s.lane) {}

// --- Patience ------------------------------------------------------------------------------------

// Who is at work at an end is done with it soon, unless it was suspended in the middle of that, or
// copies a large item, or is dead.
template <class Try>
ring_outcome queue_core::patiently(Try once) {
    constexpr unsigned most_rounds = 72; // of which the last eight sleep
    for (unsigned round = 0;; ++round) {
        ring_outcome how = once();
        if (how != ring_outcome::busy)
            return how;
        if (round >= most_rounds && !bury_the_dead())
            return how;
        std_atomics::pause(std::min(round, most_rounds));
    }
}

void queue_core::ring_everybody() noexcept {
    for (doorbell<>* bell :
         {&page_->items, &page_->room, &page_->all_done, &page_->back_free, &page_->front_free})
        bell->ring_all(wake_word);
}

bool queue_core::bury_the_dead() noexcept {
    bool any = false;
    for (process_mark who : ring_.holders())
        if (who != 0 && is_gone(who))
            any = ring_.bury(who) || any;
    if (any)
        ring_everybody();
    return any;
}

// --- Putting and getting -------------------------------------------------------------------------

ring_outcome queue_core::put(put_attempt& a) noexcept {
    const process_mark who = this_process();
    const bool whole = a.size <= ring_.largest();
    while (true) {
        const std::size_t n = next_record(ring_, a);
        const record_kind kind = whole                  ? record_kind::whole
                                 : a.done == 0          ? record_kind::first
                                 : a.done + n == a.size ? record_kind::last
                                                        : record_kind::more;
        ring_outcome how = patiently([&] {
            return ring_.put(who, kind, static_cast<std::uint32_t>(n),
                             [&](std::byte* to) { copy_pieces(a.pieces, a.done, to, n); });
        });
        if (how != ring_outcome::done)
            return how;
        // Only one can go on with parts, and the kernel doesn't know which of those who sleep.
        if (kind != record_kind::whole && kind != record_kind::first)
            page_->items.ring_all(wake_word);
        ring_after_put();
        a.done += n;
        if (a.done == a.size)
            return how;
    }
}

bool queue_core::has_no_room_for(const put_attempt& a) const noexcept {
    return ring_.looks_full(static_cast<std::uint32_t>(next_record(ring_, a)));
}

bool queue_core::try_put(std::span<const std::span<const std::byte>> pieces) {
    put_attempt a(pieces);
    if (a.size > ring_.largest())
        return false;
    ring_outcome how = put(a);
    check_outcome(how);
    return how == ring_outcome::done;
}

void queue_core::break_off(put_attempt& a) noexcept {
    if (!a.began() || a.done == a.size)
        return;
    a.done = 0;
    ring_.break_off();
    page_->items.ring_all(wake_word);
    page_->back_free.ring_all(wake_word);
}

ring_outcome queue_core::get(item_taker& t) {
    const process_mark who = this_process();
    while (true) {
        record_kind got = record_kind::whole;
        ring_outcome how = ring_outcome::empty;
        try {
            how = patiently([&] {
                return ring_.get(who, t.began,
                                 [&](record_kind kind, const std::byte* from, std::uint32_t size) {
                                     got = kind;
                                     if (kind == record_kind::whole) {
                                         t.take({from, size});
                                         return true;
                                     }
                                     if (!t.may_wait)
                                         return false;
                                     std::memcpy(t.parts.extend(size), from, size);
                                     return true;
                                 });
            });
        } catch (...) {
            if (t.began)
                ring_.drop_rest();
            t.began = false;
            ring_after_get();
            throw;
        }
        ring_after_get();
        switch (how) {
        case ring_outcome::done:
            if (got == record_kind::whole)
                return how;
            t.began = got != record_kind::last;
            if (!t.began) {
                t.take(t.parts.bytes());
                return how;
            }
            break;
        case ring_outcome::broken_off:
            t.began = false;
            t.parts.shrink(0);
            break;
        default:
            return how;
        }
    }
}

void queue_core::ring_for_item() noexcept { page_->items.ring_one(wake_word); }

void queue_core::ring_all(doorbell<>& bell) noexcept { bell.ring_all(wake_word); }

void queue_core::pass_on_item() noexcept {
    if (!ring_.looks_empty())
        page_->items.ring_one(wake_word);
}

void queue_core::note_done() {
    switch (ring_.note_done()) {
    case record_ring<>::done_outcome::some_left:
        return;
    case record_ring<>::done_outcome::all_done:
        page_->all_done.ring_all(wake_word);
        return;
    case record_ring<>::done_outcome::too_often:
        throw std::invalid_argument("task_done was called more often than there were items");
    }
}

void queue_core::shut_down(bool immediate) noexcept {
    while (patiently([&] { return ring_.shut_down(this_process(), immediate); }) ==
           ring_outcome::busy) {
    }
    ring_everybody();
}

void queue_core::close() noexcept {
    if (!closed_.exchange(true, std::memory_order_relaxed))
        ring_everybody(); // who waits in this process looks, and so do others, in vain
}

void queue_core::refuse_closed() {
    throw state_error("this process has closed its end of the queue");
}

std::size_t queue_core::size() const noexcept {
    std::uint32_t n = ring_.size();
    return ring_.capacity() != 0 ? std::min(n, ring_.capacity()) : n;
}

void check_outcome(ring_outcome how) {
    switch (how) {
    case ring_outcome::shut_down:
        throw queue_shut_down();
    case ring_outcome::damaged:
        throw protocol_error("the memory of a queue between processes is damaged");
    default:
        return;
    }
}

void throw_negative_wait() {
    throw std::invalid_argument("a queue can't be waited for in the past");
}

void throw_none_wanted() { throw std::invalid_argument("get_some: at most no item"); }

// --- The operations ------------------------------------------------------------------------------

namespace {

constexpr weft::detail::operation_type put_kind{shared_wait::cancel_wait, "ipc::queue: put"};
constexpr weft::detail::operation_type get_kind{shared_wait::cancel_wait, "ipc::queue: get"};
constexpr weft::detail::operation_type join_kind{shared_wait::cancel_wait, "ipc::queue: join"};

bool somebody_is_gone(const record_ring<>& ring) noexcept {
    for (process_mark who : ring.holders())
        if (who != 0 && is_gone(who))
            return true;
    return false;
}

// Looks out, unless this loop has something else to do.
template <class There>
bool looks_out(lookout& habit, There there) noexcept {
    const loop* l = this_loop_or_null();
    return l != nullptr && !l->has_news() && habit.look(there, [l] { return l->has_news(); });
}

// Tries until it needn't be tried again (true), or one may sleep at `at`. `bell_for` names the bell
// for what a try gave, or null. `announced`: one has just tried, and it is this bell.
template <class Try, class BellFor>
bool try_or_announce(sleeping_place& at, Try once, BellFor bell_for,
                     doorbell<>* announced = nullptr) noexcept {
    std::uint32_t value = announced != nullptr ? announced->announce() : 0;
    while (true) {
        doorbell<>* bell = bell_for(once());
        if (bell == nullptr)
            return true;
        if (bell == announced) {
            at.word = &bell->word;
            at.value = value;
            return false;
        }
        announced = bell;
        value = bell->announce();
    }
}

} // namespace

queue_put_op::queue_put_op(queue_core& q, limit l) noexcept : shared_wait(put_kind, l), to_(&q) {}

bool queue_put_op::pass_now(std::span<const std::span<const std::byte>> pieces) {
    to_->check_open();
    attempt_ = put_attempt(pieces);
    turn_over_ = to_->put_turn_is_over() && !time_limit().only_try();
    if (turn_over_)
        return false;
    // Without waiting nothing can be put in parts.
    if (time_limit().only_try() && attempt_.size > to_->ring().largest())
        return true;
    how_ = to_->put(attempt_);
    if (how_ == ring_outcome::full && !time_limit().only_try() &&
        looks_out(to_->for_room, [this] { return !to_->has_no_room_for(attempt_); }))
        how_ = to_->put(attempt_);
    return time_limit().only_try() || how_ == ring_outcome::done ||
           how_ == ring_outcome::shut_down || how_ == ring_outcome::damaged;
}

bool queue_put_op::advance(sleeping_place& at) noexcept {
    if (suspicious())
        to_->bury_the_dead();
    queue_page& p = to_->page();
    auto once = [this] { return how_ = to_->put(attempt_); };
    auto bell_for = [this, &p](ring_outcome how) -> doorbell<>* {
        if (to_->is_closed())
            return nullptr;
        switch (how) {
        case ring_outcome::full:
            return &p.room;
        case ring_outcome::busy:
        case ring_outcome::engaged:
            return &p.back_free;
        default:
            return nullptr;
        }
    };
    return try_or_announce(at, once, bell_for);
}

bool queue_put_op::must_look() noexcept {
    return to_->is_closed() || to_->is_shut_down() || !to_->has_no_room_for(attempt_) ||
           somebody_is_gone(to_->ring());
}

auto queue_put_op::leave(bool, bool) noexcept -> leaving {
    to_->break_off(attempt_);
    if (how_ == ring_outcome::done)
        how_ = ring_outcome::full;
    return leaving::at_once;
}

void queue_put_op::check_end() const {
    if (how_ == ring_outcome::done) [[likely]]
        return;
    to_->check_open();
    check_outcome(how_);
    throw queue_full();
}

queue_get_op::queue_get_op(queue_core& q, limit l) noexcept : shared_wait(get_kind, l), from_(&q) {}

ring_outcome queue_get_op::try_once() noexcept {
    try {
        return how_ = from_->get(*this);
    } catch (...) {
        failure_ = std::current_exception();
        return how_ = ring_outcome::done;
    }
}

bool queue_get_op::comes_soon() noexcept {
    if (looked_out_)
        return false;
    looked_out_ = true;
    return looks_out(from_->for_items, [this] { return !from_->ring().looks_empty(); });
}

bool queue_get_op::pass_now() {
    from_->check_open();
    may_wait = !time_limit().only_try();
    turn_over_ = may_wait && from_->get_turn_is_over();
    if (turn_over_)
        return false;
    try_once();
    if (how_ == ring_outcome::empty && may_wait && comes_soon())
        try_once();
    return !may_wait || how_ == ring_outcome::done || how_ == ring_outcome::shut_down ||
           how_ == ring_outcome::damaged;
}

bool queue_get_op::advance(sleeping_place& at) noexcept {
    if (suspicious())
        from_->bury_the_dead();
    queue_page& p = from_->page();
    auto bell_for = [this, &p](ring_outcome how) -> doorbell<>* {
        if (from_->is_closed() && !began)
            return nullptr;
        switch (how) {
        case ring_outcome::empty:
            return &p.items;
        case ring_outcome::busy:
        case ring_outcome::engaged:
            return &p.front_free;
        default:
            return nullptr;
        }
    };
    if (slept())
        p.items.arrive();
    const bool has_just_tried = looked_out_ && !slept() && how_ == ring_outcome::empty;
    bool over = try_or_announce(
        at, [this] { return try_once(); }, bell_for, has_just_tried ? &p.items : nullptr);
    if (over && slept())
        from_->pass_on_item();
    return over;
}

bool queue_get_op::must_look() noexcept {
    return from_->is_closed() || from_->is_shut_down() || !from_->ring().looks_empty() ||
           somebody_is_gone(from_->ring());
}

auto queue_get_op::leave(bool, bool used_wake_up) noexcept -> leaving {
    if (began)
        return leaving::not_now;
    if (used_wake_up) {
        from_->page().items.arrive();
        from_->pass_on_item();
    }
    return leaving::at_once;
}

void queue_get_op::check_end() {
    if (how_ == ring_outcome::done) [[likely]] {
        if (failure_) [[unlikely]]
            std::rethrow_exception(std::move(failure_));
        return;
    }
    from_->check_open();
    check_outcome(how_);
    throw queue_empty();
}

queue_join_op::queue_join_op(queue_core& q, limit l) noexcept
    : shared_wait(join_kind, l), at_(&q) {}

bool queue_join_op::await_ready() {
    at_->check_open();
    return at_->unfinished() == 0 || time_limit().only_try();
}

bool queue_join_op::advance(sleeping_place& at) noexcept {
    auto once = [this] {
        return at_->unfinished() == 0 || at_->is_closed() ? ring_outcome::done : ring_outcome::full;
    };
    return try_or_announce(at, once, [this](ring_outcome how) -> doorbell<>* {
        return how == ring_outcome::done ? nullptr : &at_->page().all_done;
    });
}

bool queue_join_op::must_look() noexcept { return at_->is_closed() || at_->unfinished() == 0; }

auto queue_join_op::leave(bool, bool) noexcept -> leaving { return leaving::at_once; }

bool queue_join_op::await_resume() const {
    if (at_->unfinished() == 0)
        return true;
    at_->check_open();
    return false;
}

} // namespace weft::ipc::detail
