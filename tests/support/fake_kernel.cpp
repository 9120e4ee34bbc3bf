// SPDX-License-Identifier: MIT
#include "support/fake_kernel.hpp"

#include "sync/patience.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <liburing.h>
#include <unistd.h>

namespace weft::tests {
namespace {

// Numbers that no real descriptor has.
constexpr int ring_descriptor = 1'000'000;
constexpr int wake_descriptor = 1'000'001;
constexpr unsigned registered_index = 5;

// Newer than liburing 2.3's headers.
constexpr unsigned setup_no_sqarray = 1u << 16;
constexpr unsigned enter_abs_timer = 1u << 5;
constexpr unsigned enter_no_iowait = 1u << 7;
constexpr unsigned feature_min_timeout = 1u << 15;
constexpr unsigned feature_no_iowait = 1u << 17;

constexpr std::int64_t for_ever = INT64_MAX;

bool is_to_be_skipped(const detail::request& sqe, std::int32_t result) {
    return (sqe.flags & IOSQE_CQE_SKIP_SUCCESS) != 0 && result >= 0;
}

} // namespace

struct fake_kernel::ring_memory {
    ring_memory(unsigned submissions, unsigned completions, unsigned f)
        : sqes(submissions), array(submissions), cqes(completions), flags(f) {}
    [[nodiscard]] unsigned sq_mask() const { return static_cast<unsigned>(sqes.size()) - 1; }
    [[nodiscard]] unsigned cq_mask() const { return static_cast<unsigned>(cqes.size()) - 1; }
    [[nodiscard]] unsigned completed() const {
        return cq_tail - io_uring_smp_load_acquire(&cq_head);
    }
    void put(const completion& c) {
        io_uring_cqe& at = cqes[cq_tail & cq_mask()];
        at.user_data = c.user_data;
        at.res = c.result;
        at.flags = c.flags;
        io_uring_smp_store_release(&cq_tail, cq_tail + 1);
    }
    void raise(unsigned flag, bool up) {
        unsigned now = up ? sq_flags | flag : sq_flags & ~flag;
        io_uring_smp_store_release(&sq_flags, now);
    }

    std::vector<io_uring_sqe> sqes;
    std::vector<unsigned> array;
    std::vector<io_uring_cqe> cqes;
    unsigned flags;
    unsigned sq_head = 0, sq_tail = 0, sq_flags = 0, sq_dropped = 0;
    unsigned cq_head = 0, cq_tail = 0, cq_flags = 0, cq_overflow = 0;
    unsigned masks[2] = {sq_mask(), cq_mask()};
    unsigned sizes[2] = {sq_mask() + 1, cq_mask() + 1};
};

struct fake_kernel::behind {
    static fake_kernel& of(void* state) { return *static_cast<fake_kernel*>(state); }
    static int setup(void* state, unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
        return of(state).setup(entries, ring, params);
    }
    static void teardown(void* state, ::io_uring* ring) { of(state).teardown(ring); }
    static int enter(void* state, int fd, unsigned to_submit, unsigned wait_for, unsigned flags,
                     const void* arg, std::size_t arg_size) {
        return of(state).enter(fd, to_submit, wait_for, flags, arg, arg_size);
    }
    static int register_ring(void* state, int, unsigned opcode, void* arg, unsigned count) {
        return of(state).register_ring(opcode, arg, count);
    }
    static std::int64_t now(void* state) { return of(state).now_ns(); }
    static int make_wake_fd(void* state) {
        fake_kernel& k = of(state);
        std::lock_guard lock(k.mutex_);
        if (k.wake_fd_error != 0)
            return -k.wake_fd_error;
        ++k.counts_.wake_fds;
        return wake_descriptor;
    }
    static void wake(void* state, int fd) {
        fake_kernel& k = of(state);
        std::lock_guard lock(k.mutex_);
        if (fd != wake_descriptor)
            ++k.counts_.mistakes;
        ++k.counts_.wakes;
        k.was_woken_ = true;
        k.answer_wake_locked();
        k.changed_.notify_all();
    }
    static void close(void* state, int fd) {
        fake_kernel& k = of(state);
        std::lock_guard lock(k.mutex_);
        if (fd == wake_descriptor)
            --k.counts_.wake_fds;
        else if (fd == ring_descriptor)
            ++k.counts_.abandoned;
        else
            ++k.counts_.mistakes;
    }
    static void park(void* state, std::uint32_t* word, std::uint32_t expected,
                     std::int64_t deadline) {
        of(state).park(word, expected, deadline);
    }
    static void unpark(void* state, std::uint32_t*) {
        fake_kernel& k = of(state);
        std::lock_guard lock(k.mutex_);
        ++k.counts_.unparks;
        k.changed_.notify_all();
    }
    static int random(void*, void* bytes, std::size_t count) {
        std::memset(bytes, 7, count);
        return static_cast<int>(count);
    }
};

fake_kernel::fake_kernel()
    : table_{.name = "fake",
             .state = this,
             .setup = behind::setup,
             .teardown = behind::teardown,
             .enter = behind::enter,
             .register_ring = behind::register_ring,
             .now = behind::now,
             .make_wake_fd = behind::make_wake_fd,
             .wake = behind::wake,
             .close = behind::close,
             .park = behind::park,
             .unpark = behind::unpark,
             .random = behind::random} {}

fake_kernel::~fake_kernel() = default;

// --- How it behaves ------------------------------------------------------------------------------

void fake_kernel::take_nothing(unsigned enters, int error) {
    std::lock_guard lock(mutex_);
    nothing_ = enters;
    nothing_error_ = error;
}

void fake_kernel::take_at_most(unsigned requests) {
    std::lock_guard lock(mutex_);
    at_most_ = requests;
}

void fake_kernel::fail_enters(int error, unsigned enters) {
    std::lock_guard lock(mutex_);
    failing_ = enters;
    failing_error_ = error;
}

void fake_kernel::fail_waits(int error, unsigned waits) {
    std::lock_guard lock(mutex_);
    failing_waits_ = waits;
    failing_waits_error_ = error;
}

void fake_kernel::sleep_deeply(bool deeply) {
    std::lock_guard lock(mutex_);
    deeply_ = deeply;
    changed_.notify_all();
}

void fake_kernel::pass_time(bool by_itself) {
    std::lock_guard lock(mutex_);
    time_passes_ = by_itself;
    changed_.notify_all();
}

void fake_kernel::advance(std::chrono::nanoseconds d) {
    std::lock_guard lock(mutex_);
    now_ += d.count();
    changed_.notify_all();
}

void fake_kernel::wake_for_nothing() {
    std::lock_guard lock(mutex_);
    was_woken_ = true;
    answer_wake_locked();
    changed_.notify_all();
}

// --- What it holds -------------------------------------------------------------------------------

std::vector<fake_kernel::request> fake_kernel::held() const {
    std::lock_guard lock(mutex_);
    return held_;
}

fake_kernel::request fake_kernel::held_on(int fd) const {
    std::lock_guard lock(mutex_);
    auto at =
        std::find_if(held_.begin(), held_.end(), [fd](const request& r) { return r.sqe.fd == fd; });
    if (at == held_.end())
        throw std::logic_error("the kernel holds no request for this descriptor");
    return *at;
}

bool fake_kernel::holds(const request& r) const {
    std::lock_guard lock(mutex_);
    return std::any_of(held_.begin(), held_.end(),
                       [&r](const request& h) { return h.number == r.number; });
}

task<> fake_kernel::until_held(std::size_t count) const {
    return until([this, count] { return held().size() == count; });
}

std::vector<fake_kernel::request>::iterator fake_kernel::find_locked(std::uint64_t number) {
    auto at = std::find_if(held_.begin(), held_.end(),
                           [number](const request& r) { return r.number == number; });
    if (at == held_.end())
        throw std::logic_error("the kernel doesn't hold this request any more");
    return at;
}

bool fake_kernel::complete_locked(std::uint64_t number, std::int32_t result, std::uint32_t flags) {
    auto at = find_locked(number);
    // A completion that doesn't fit in the queue ends a request that would give more of them.
    if (!fits_locked())
        flags &= ~std::uint32_t{IORING_CQE_F_MORE};
    bool goes_on = (flags & IORING_CQE_F_MORE) != 0;
    detail::request sqe = at->sqe;
    if (!goes_on)
        held_.erase(at);
    finish_locked(sqe, result, flags);
    return goes_on;
}

void fake_kernel::finish_locked(const detail::request& sqe, std::int32_t result,
                                std::uint32_t flags) {
    if (is_to_be_skipped(sqe, result))
        ++counts_.skipped;
    else
        post_locked({sqe.user_data, result, flags});
}

bool fake_kernel::complete(const request& r, std::int32_t result, bool more) {
    std::lock_guard lock(mutex_);
    return complete_locked(r.number, result, more ? IORING_CQE_F_MORE : 0);
}

bool fake_kernel::receive(const request& r, std::string_view bytes, bool more) {
    std::lock_guard lock(mutex_);
    auto at = find_locked(r.number);
    std::uint32_t flags = more ? IORING_CQE_F_MORE : 0;
    if ((at->sqe.flags & IOSQE_BUFFER_SELECT) == 0) {
        std::size_t n = std::min<std::size_t>(bytes.size(), at->sqe.length);
        std::memcpy(reinterpret_cast<void*>(at->sqe.address), bytes.data(), n);
        complete_locked(r.number, static_cast<std::int32_t>(n), flags);
        return true;
    }
    auto lent = take_buffer_locked();
    if (!lent) {
        complete_locked(r.number, -ENOBUFS, 0);
        return false;
    }
    std::size_t n = std::min<std::size_t>(bytes.size(), lent->size);
    if (n != 0)
        std::memcpy(reinterpret_cast<void*>(lent->address), bytes.data(), n);
    flags |= IORING_CQE_F_BUFFER | std::uint32_t{lent->id} << IORING_CQE_BUFFER_SHIFT;
    complete_locked(r.number, static_cast<std::int32_t>(n), flags);
    return true;
}

std::optional<fake_kernel::buffer> fake_kernel::take_buffer_locked() {
    if (buffers_ == nullptr || buffer_head_ == io_uring_smp_load_acquire(&buffers_->tail))
        return std::nullopt;
    // The array begins where the ring does; its tail lies in what the first entry leaves unused.
    auto* entries = reinterpret_cast<io_uring_buf*>(buffers_);
    const io_uring_buf& next = entries[buffer_head_++ & (buffer_count_ - 1)];
    return buffer{next.addr, next.len, next.bid};
}

std::size_t fake_kernel::buffers_left() const {
    std::lock_guard lock(mutex_);
    if (buffers_ == nullptr)
        return 0;
    return static_cast<std::uint16_t>(io_uring_smp_load_acquire(&buffers_->tail) - buffer_head_);
}

fake_kernel::counts fake_kernel::count() const {
    std::lock_guard lock(mutex_);
    return counts_;
}

bool fake_kernel::waiting() const {
    std::lock_guard lock(mutex_);
    return waiting_;
}

std::int64_t fake_kernel::now_ns() const {
    std::lock_guard lock(mutex_);
    return now_;
}

std::optional<std::int64_t> fake_kernel::waited_until() const {
    std::lock_guard lock(mutex_);
    return waited_until_;
}

// --- Completions ---------------------------------------------------------------------------------

// With deferred task work nothing appears in the queue before the loop asks for it.
void fake_kernel::post_locked(const completion& c) {
    if ((ring_->flags & IORING_SETUP_DEFER_TASKRUN) != 0) {
        deferred_.push_back(c);
        ring_->raise(IORING_SQ_TASKRUN, true);
    } else {
        place_locked(c);
    }
    changed_.notify_all();
}

bool fake_kernel::fits_locked() const {
    return overflowed_.empty() && ring_->completed() + deferred_.size() < ring_->cqes.size();
}

void fake_kernel::place_locked(const completion& c) {
    if (!overflowed_.empty() || ring_->completed() == ring_->cqes.size()) {
        overflowed_.push_back(c);
        ++counts_.overflows;
        ring_->raise(IORING_SQ_CQ_OVERFLOW, true);
        return;
    }
    ring_->put(c);
}

// What waited inside of the kernel goes to the queue, as far as there is room.
void fake_kernel::flush_locked() {
    while (!overflowed_.empty() && ring_->completed() < ring_->cqes.size()) {
        ring_->put(overflowed_.front());
        overflowed_.pop_front();
    }
    for (; !deferred_.empty(); deferred_.pop_front())
        place_locked(deferred_.front());
    ring_->raise(IORING_SQ_TASKRUN, false);
    ring_->raise(IORING_SQ_CQ_OVERFLOW, !overflowed_.empty());
}

// Each wake-up is an edge, and so is arming the poll of a descriptor that was ever written to,
// because nobody reads it.
void fake_kernel::answer_wake_locked() {
    if (!wake_poll_)
        return;
    detail::request sqe = wake_poll_->sqe;
    bool goes_on = fits_locked();
    if (!goes_on)
        wake_poll_.reset();
    finish_locked(sqe, 1, goes_on ? IORING_CQE_F_MORE : 0);
}

// --- Submissions ---------------------------------------------------------------------------------

void fake_kernel::take(const detail::request& sqe, std::unique_lock<std::mutex>& lock) {
    request r;
    r.number = ++counts_.taken;
    r.sqe = sqe;
    switch (sqe.opcode) {
    case IORING_OP_NOP:
        finish_locked(sqe, 0, 0);
        return;
    case IORING_OP_CLOSE:
        finish_locked(sqe, ::close(sqe.fd) < 0 ? -errno : 0, 0);
        return;
    case IORING_OP_ASYNC_CANCEL:
        cancel(r, lock);
        return;
    default:
        break;
    }
    if (sqe.opcode == IORING_OP_POLL_ADD && sqe.fd == wake_descriptor) {
        ++counts_.wake_polls;
        wake_poll_ = r;
        if (was_woken_)
            answer_wake_locked();
        return;
    }
    held_.push_back(r);
    if (on_request) {
        lock.unlock();
        on_request(r);
        lock.lock();
    }
}

void fake_kernel::cancel(const request& by, std::unique_lock<std::mutex>& lock) {
    bool any = (by.sqe.operation_flags & IORING_ASYNC_CANCEL_ANY) != 0;
    std::vector<request> targets;
    for (const request& r : held_) {
        if (any || r.sqe.user_data == by.sqe.address)
            targets.push_back(r);
        if (!any && !targets.empty())
            break;
    }
    int found = 0;
    bool runs_on = false;
    if (wake_poll_ && (any || wake_poll_->sqe.user_data == by.sqe.address)) {
        finish_locked(wake_poll_->sqe, -ECANCELED, 0);
        wake_poll_.reset();
        ++found;
    }
    for (const request& r : targets) {
        bool done = false;
        if (on_cancel) {
            lock.unlock();
            done = on_cancel(r);
            lock.lock();
        }
        bool still_held = std::any_of(held_.begin(), held_.end(),
                                      [&r](const request& h) { return h.number == r.number; });
        if (!done && still_held)
            complete_locked(r.number, -ECANCELED, 0);
        runs_on = runs_on || (done && still_held);
        ++found;
    }
    int result = any ? found : 0;
    if (found == 0)
        result = -ENOENT;
    else if (runs_on)
        result = -EALREADY;
    finish_locked(by.sqe, result, 0);
}

// --- The calls of the table ----------------------------------------------------------------------

int fake_kernel::setup(unsigned entries, ::io_uring* ring, ::io_uring_params* params) {
    std::lock_guard lock(mutex_);
    setups_tried.push_back(params->flags);
    if (setup_error != 0)
        return -setup_error;
    if ((params->flags & ~setup_flags) != 0)
        return -EINVAL;
    if (ring_)
        return -EMFILE;
    unsigned submissions = std::bit_ceil(entries);
    bool told = (params->flags & IORING_SETUP_CQSIZE) != 0;
    unsigned completions = std::bit_ceil(told ? params->cq_entries : 2 * submissions);
    if (completion_entries != 0)
        completions = completion_entries;
    ring_ = std::make_unique<ring_memory>(submissions, completions, params->flags);
    ++counts_.rings;
    ++counts_.rings_open;
    params->features = ring_features;
    params->sq_entries = submissions;
    params->cq_entries = completions;
    ring_memory& m = *ring_;
    *ring = {};
    ring->sq.khead = &m.sq_head;
    ring->sq.ktail = &m.sq_tail;
    ring->sq.kring_mask = &m.masks[0];
    ring->sq.kring_entries = &m.sizes[0];
    ring->sq.kflags = &m.sq_flags;
    ring->sq.kdropped = &m.sq_dropped;
    ring->sq.array = (params->flags & setup_no_sqarray) != 0 ? nullptr : m.array.data();
    ring->sq.sqes = m.sqes.data();
    ring->sq.ring_mask = m.masks[0];
    ring->sq.ring_entries = m.sizes[0];
    ring->cq.khead = &m.cq_head;
    ring->cq.ktail = &m.cq_tail;
    ring->cq.kring_mask = &m.masks[1];
    ring->cq.kring_entries = &m.sizes[1];
    ring->cq.kflags = &m.cq_flags;
    ring->cq.koverflow = &m.cq_overflow;
    ring->cq.cqes = m.cqes.data();
    ring->cq.ring_mask = m.masks[1];
    ring->cq.ring_entries = m.sizes[1];
    ring->ring_fd = ring->enter_ring_fd = ring_descriptor;
    ring->flags = params->flags;
    ring->features = params->features;
    return 0;
}

void fake_kernel::teardown(::io_uring* ring) {
    std::lock_guard lock(mutex_);
    if (ring->ring_fd != ring_descriptor || !ring_ || ring_registered_)
        ++counts_.mistakes;
    counts_.left_over += static_cast<unsigned>(held_.size());
    --counts_.rings_open;
    held_.clear();
    wake_poll_.reset();
    deferred_.clear();
    overflowed_.clear();
    ring_.reset();
    buffers_ = nullptr;
    was_woken_ = false;
}

int fake_kernel::enter(int fd, unsigned to_submit, unsigned wait_for, unsigned flags,
                       const void* arg, std::size_t arg_size) {
    std::unique_lock lock(mutex_);
    ++counts_.enters;
    bool registered = (flags & IORING_ENTER_REGISTERED_RING) != 0;
    unsigned known = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | IORING_ENTER_REGISTERED_RING;
    if ((ring_features & feature_min_timeout) != 0)
        known |= enter_abs_timer;
    if ((ring_features & feature_no_iowait) != 0)
        known |= enter_no_iowait;
    const bool extended = (flags & IORING_ENTER_EXT_ARG) != 0;
    const bool is_ours = registered ? ring_registered_ && fd == static_cast<int>(registered_index)
                                    : fd == ring_descriptor;
    if (!ring_ || !is_ours || (flags & ~known) != 0 ||
        (extended && arg_size != sizeof(io_uring_getevents_arg))) {
        ++counts_.mistakes;
        return -EINVAL;
    }
    if (failing_ != 0) {
        --failing_;
        flush_locked();
        return -failing_error_;
    }
    unsigned taken = 0;
    if (to_submit != 0) {
        if (nothing_ != 0) {
            nothing_ -= nothing_ == ~0u ? 0 : 1;
            return -nothing_error_;
        }
        unsigned there = io_uring_smp_load_acquire(&ring_->sq_tail) - ring_->sq_head;
        unsigned may = std::min({to_submit, there, at_most_});
        for (; taken < may; ++taken) {
            unsigned at = ring_->sq_head & ring_->sq_mask();
            if ((ring_->flags & setup_no_sqarray) == 0)
                at = ring_->array[at];
            detail::request sqe;
            std::memcpy(static_cast<void*>(&sqe), &ring_->sqes[at], sizeof sqe);
            io_uring_smp_store_release(&ring_->sq_head, ring_->sq_head + 1);
            take(sqe, lock);
        }
        if (taken < to_submit) // then the real one neither waits nor looks
            return taken == 0 ? -EAGAIN : static_cast<int>(taken);
    }
    int result = 0;
    if ((flags & IORING_ENTER_GETEVENTS) != 0) {
        flush_locked();
        if (wait_for != 0 && ring_->completed() < wait_for)
            result = wait(flags, arg, lock);
    }
    return taken != 0 ? static_cast<int>(taken) : result;
}

int fake_kernel::wait(unsigned flags, const void* arg, std::unique_lock<std::mutex>& lock) {
    std::int64_t deadline = for_ever;
    if (arg != nullptr) {
        auto times = static_cast<const io_uring_getevents_arg*>(arg)->ts;
        if (times != 0) {
            const auto& t = *reinterpret_cast<const __kernel_timespec*>(times);
            deadline = t.tv_sec * 1'000'000'000 + t.tv_nsec;
            if ((flags & enter_abs_timer) == 0)
                deadline += now_;
        }
    }
    waited_until_.reset();
    if (deadline != for_ever)
        waited_until_ = deadline;
    ++counts_.waits;
    if (failing_waits_ != 0) {
        --failing_waits_;
        return -failing_waits_error_;
    }
    waiting_ = true;
    int result = sleep(deadline, lock, [this] {
        flush_locked();
        return ring_->completed() != 0;
    });
    waiting_ = false;
    return result;
}

int fake_kernel::sleep(std::int64_t deadline, std::unique_lock<std::mutex>& lock,
                       const std::function<bool()>& over) {
    while (true) {
        if (!deeply_) {
            if (over())
                return 0;
            if (when_idle) {
                lock.unlock();
                bool did_something = when_idle();
                lock.lock();
                if (did_something)
                    continue;
            }
            if (deadline != for_ever && time_passes_)
                now_ = std::max(now_, deadline);
            if (now_ >= deadline)
                return -ETIME;
        }
        if (changed_.wait_for(lock, patience) == std::cv_status::timeout)
            stuck_locked();
    }
}

// A loop can't be told that its test has failed, and would sleep for ever.
void fake_kernel::stuck_locked() const {
    std::fprintf(stderr, "the loop sleeps, and nobody wakes it. The kernel holds %zu requests:\n",
                 held_.size());
    for (const request& r : held_)
        std::fprintf(stderr, "  %llu: opcode %u on descriptor %d\n",
                     static_cast<unsigned long long>(r.number), unsigned{r.sqe.opcode}, r.sqe.fd);
    std::abort();
}

int fake_kernel::register_ring(unsigned opcode, void* arg, unsigned count) {
    std::lock_guard lock(mutex_);
    registrations.push_back(opcode);
    switch (opcode) {
    case IORING_REGISTER_RING_FDS: {
        auto& update = *static_cast<io_uring_rsrc_update*>(arg);
        if (!registers_rings || update.data != ring_descriptor)
            return -EINVAL;
        update.offset = registered_index;
        ring_registered_ = true;
        return static_cast<int>(count);
    }
    case IORING_UNREGISTER_RING_FDS:
        if (static_cast<io_uring_rsrc_update*>(arg)->offset != registered_index)
            ++counts_.mistakes;
        ring_registered_ = false;
        return static_cast<int>(count);
    case IORING_REGISTER_PBUF_RING: {
        auto& its = *static_cast<io_uring_buf_reg*>(arg);
        if (!registers_buffers)
            return -EINVAL;
        buffers_ = reinterpret_cast<io_uring_buf_ring*>(its.ring_addr);
        buffer_count_ = its.ring_entries;
        buffer_head_ = 0;
        return 0;
    }
    case IORING_UNREGISTER_PBUF_RING:
        buffers_ = nullptr;
        return 0;
    default:
        ++counts_.mistakes;
        return -EINVAL;
    }
}

void fake_kernel::park(std::uint32_t* word, std::uint32_t expected, std::int64_t deadline) {
    std::unique_lock lock(mutex_);
    waited_until_.reset();
    if (deadline != for_ever)
        waited_until_ = deadline;
    ++counts_.waits;
    waiting_ = true;
    sleep(deadline, lock,
          [word, expected] { return std::atomic_ref<std::uint32_t>(*word).load() != expected; });
    waiting_ = false;
}

// --- The real one, counted -----------------------------------------------------------------------

counting_kernel::counting_kernel() : table_(real_kernel()) {
    table_.state = this; // which the real functions don't look at
    table_.enter = [](void* state, int fd, unsigned to_submit, unsigned wait_for, unsigned flags,
                      const void* arg, std::size_t arg_size) {
        static_cast<counting_kernel*>(state)->enters.fetch_add(1);
        return real_kernel().enter(nullptr, fd, to_submit, wait_for, flags, arg, arg_size);
    };
    table_.wake = [](void* state, int fd) {
        static_cast<counting_kernel*>(state)->wakes.fetch_add(1);
        real_kernel().wake(nullptr, fd);
    };
    table_.unpark = [](void* state, std::uint32_t* word) {
        static_cast<counting_kernel*>(state)->unparks.fetch_add(1);
        real_kernel().unpark(nullptr, word);
    };
}

} // namespace weft::tests
