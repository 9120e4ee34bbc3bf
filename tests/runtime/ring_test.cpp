// SPDX-License-Identifier: MIT
#include <weft/runtime/impl/ring.hpp>

#include "support/fake_kernel.hpp"
#include "support/io.hpp"
#include "sync/patience.hpp"

#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>

#include <catch2/catch.hpp>

#include <cstring>
#include <thread>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {

constexpr unsigned sq_entries = 8;

void put(io_uring_sqe* sqe, std::uint64_t user_data, std::uint8_t opcode = IORING_OP_NOP,
         int fd = -1) {
    REQUIRE(sqe != nullptr);
    std::memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->fd = fd;
    sqe->user_data = user_data;
}

// The user data of what has completed.
std::vector<std::uint64_t> reaped(detail::ring& r, unsigned most = ~0u) {
    std::vector<std::uint64_t> all;
    r.reap([&](const io_uring_cqe& c) { all.push_back(c.user_data); }, most);
    return all;
}

std::vector<std::uint64_t> from_to(std::uint64_t first, std::uint64_t last) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t i = first; i <= last; ++i)
        all.push_back(i);
    return all;
}

std::string refusal(fake_kernel& k) {
    try {
        detail::ring r(k.table(), sq_entries, kernel_feature::all);
    } catch (const unavailable_error& e) {
        return std::string("unavailable: ") + e.what();
    } catch (const std::system_error& e) {
        CHECK(e.code().value() == k.setup_error);
        return e.what();
    }
    return "none";
}

// A deadline that never comes.
constexpr std::int64_t for_ever = INT64_MAX;

} // namespace

TEST_CASE("ring: what is submitted arrives in order, many times round the queues") {
    fake_kernel k;
    detail::ring r(k.table(), sq_entries, kernel_feature::all);
    std::uint64_t next = 1;
    for (int round = 0; round < 20; ++round) {
        std::uint64_t first = next;
        for (unsigned i = 0; i < 5; ++i)
            put(r.get_sqe(), next++);
        CHECK(r.pending_submissions() == 5);
        CHECK(r.enter(false, 0) == 5);
        CHECK(r.pending_submissions() == 0);
        CHECK(reaped(r) == from_to(first, next - 1));
    }
    CHECK(k.count().taken == 100);
    CHECK(k.count().mistakes == 0);
}

TEST_CASE("ring: a full submission queue gives no entry and loses none") {
    fake_kernel k;
    detail::ring r(k.table(), sq_entries, kernel_feature::all);
    for (unsigned i = 1; i <= sq_entries; ++i)
        put(r.get_sqe(), i);
    CHECK(r.get_sqe() == nullptr);
    k.take_nothing(2);
    CHECK(r.enter(false, 0) == -EAGAIN);
    CHECK(r.get_sqe() == nullptr);
    CHECK(r.enter(true, for_ever) == -EAGAIN); // and doesn't wait for what it hasn't got
    CHECK(reaped(r).empty());
    CHECK(r.pending_submissions() == sq_entries);
    CHECK(r.enter(false, 0) == static_cast<int>(sq_entries));
    put(r.get_sqe(), sq_entries + 1);
    CHECK(r.enter(false, 0) == 1);
    CHECK(reaped(r) == from_to(1, sq_entries + 1));
}

TEST_CASE("ring: a kernel that takes a part is given the rest the next time") {
    fake_kernel k;
    detail::ring r(k.table(), sq_entries, kernel_feature::all);
    k.take_at_most(3);
    for (unsigned i = 1; i <= sq_entries; ++i)
        put(r.get_sqe(), i);
    CHECK(r.enter(true, for_ever) == 3);
    CHECK(r.pending_submissions() == sq_entries - 3);
    // What was taken has made room, also in the middle of the rest.
    for (unsigned i = 1; i <= 3; ++i)
        put(r.get_sqe(), sq_entries + i);
    CHECK(r.get_sqe() == nullptr);
    CHECK(r.enter(true, for_ever) == 3);
    CHECK(r.enter(true, for_ever) == 3);
    CHECK(r.enter(true, for_ever) == 2);
    CHECK(reaped(r) == from_to(1, sq_entries + 3));
}

TEST_CASE("ring: an enter may look without submitting") {
    fake_kernel k;
    detail::ring r(k.table(), sq_entries, kernel_feature::all);
    put(r.get_sqe(), 1);
    CHECK(r.enter(false, 0, false) == 0);
    CHECK(r.pending_submissions() == 1);
    CHECK(k.count().taken == 0);
    CHECK(r.enter(false, 0) == 1);
    CHECK(reaped(r) == from_to(1, 1));
}

TEST_CASE("ring: completions that overflow come in order when there is room") {
    auto features = GENERATE(kernel_feature::all, kernel_feature::none);
    fake_kernel k;
    k.completion_entries = 4;
    detail::ring r(k.table(), sq_entries, features);
    for (unsigned i = 1; i <= sq_entries; ++i)
        put(r.get_sqe(), i);
    CHECK_FALSE(r.kernel_has_work());
    CHECK(r.enter(false, 0) == static_cast<int>(sq_entries));
    CHECK(k.count().overflows == 4);
    CHECK(r.kernel_has_work());
    CHECK(reaped(r, 2) == from_to(1, 2)); // a part is enough for the kernel to go on
    CHECK(r.enter(false, 0) == 0);
    CHECK(r.kernel_has_work());
    CHECK(reaped(r) == from_to(3, 6));
    CHECK(r.enter(true, for_ever) == 0);
    CHECK_FALSE(r.kernel_has_work());
    CHECK(reaped(r) == from_to(7, 8));
}

TEST_CASE("ring: an overflow ends a request that would give more") {
    fake_kernel k;
    k.completion_entries = 2;
    detail::ring r(k.table(), sq_entries, kernel_feature::none);
    put(r.get_sqe(), 7, IORING_OP_ACCEPT, 20);
    CHECK(r.enter(false, 0) == 1);
    fake_kernel::request accept = k.held_on(20);
    CHECK(k.complete(accept, 1, true));
    CHECK(k.complete(accept, 2, true));
    CHECK_FALSE(k.complete(accept, 3, true));
    CHECK_FALSE(k.holds(accept));
    std::vector<bool> more;
    auto look = [&](const io_uring_cqe& c) { more.push_back((c.flags & IORING_CQE_F_MORE) != 0); };
    r.reap(look, ~0u);
    CHECK(r.enter(false, 0) == 0);
    r.reap(look, ~0u);
    CHECK(more == std::vector<bool>{true, true, false});
}

TEST_CASE("ring: the kernel says when it has completions that nobody sees yet") {
    fake_kernel k;
    detail::ring deferring(k.table(), sq_entries, kernel_feature::all);
    put(deferring.get_sqe(), 1, IORING_OP_RECV, 30);
    CHECK(deferring.enter(false, 0) == 1);
    k.complete(k.held_on(30), 5);
    CHECK(reaped(deferring).empty());
    CHECK(deferring.kernel_has_work());
    CHECK(deferring.enter(false, 0, false) == 0);
    CHECK_FALSE(deferring.kernel_has_work());
    CHECK(reaped(deferring) == from_to(1, 1));

    fake_kernel plain;
    detail::ring at_once(plain.table(), sq_entries, ~kernel_feature::defer_taskrun);
    put(at_once.get_sqe(), 1, IORING_OP_RECV, 30);
    CHECK(at_once.enter(false, 0) == 1);
    plain.complete(plain.held_on(30), 5);
    CHECK(reaped(at_once) == from_to(1, 1));
}

TEST_CASE("ring: nobody hears of a success that was to be kept quiet, but of a failure") {
    fake_kernel k;
    detail::ring r(k.table(), sq_entries, kernel_feature::all);
    for (int fd : {40, 41}) {
        io_uring_sqe* sqe = r.get_sqe();
        put(sqe, static_cast<std::uint64_t>(fd), IORING_OP_SEND, fd);
        sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    }
    CHECK(r.enter(false, 0) == 2);
    k.complete(k.held_on(40), 10);
    k.complete(k.held_on(41), -EPIPE);
    CHECK(r.enter(false, 0) == 0);
    CHECK(reaped(r) == from_to(41, 41));
    CHECK(k.count().skipped == 1);
}

TEST_CASE("ring: a wait ends with a completion, a deadline, a wake-up or a signal") {
    for (kernel_feature features : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(features));
        fake_kernel k;
        if (!contains(features, kernel_feature::absolute_timeout))
            k.ring_features = 0;
        detail::ring r(k.table(), sq_entries, features);
        std::int64_t start = k.now_ns();
        CHECK(r.enter(true, start + 2'345'678'901) == -ETIME);
        CHECK(k.now_ns() == start + 2'345'678'901);
        CHECK(r.enter(true, start) == -ETIME); // gone: it only looks
        CHECK(k.now_ns() == start + 2'345'678'901);

        k.fail_waits(EINTR);
        CHECK(r.enter(true, for_ever) == -EINTR);
        CHECK_FALSE(k.waited_until().has_value());

        put(r.get_sqe(), 1, IORING_OP_RECV, 50);
        k.when_idle = [&] {
            k.complete(k.held_on(50), 0);
            return true;
        };
        CHECK(r.enter(true, for_ever) == 1);
        k.when_idle = nullptr;
        CHECK(reaped(r) == from_to(1, 1));

        int wake_fd = k.table().make_wake_fd(k.table().state);
        io_uring_sqe* poll = r.get_sqe();
        put(poll, 2, IORING_OP_POLL_ADD, wake_fd);
        poll->len = IORING_POLL_ADD_MULTI;
        CHECK(r.enter(false, 0) == 1);
        std::thread other([&] {
            until_here([&] { return k.waiting(); });
            k.table().wake(k.table().state, wake_fd);
        });
        CHECK(r.enter(true, for_ever) == 0);
        other.join();
        CHECK(reaped(r) == from_to(2, 2));
        k.table().close(k.table().state, wake_fd);
        CHECK(k.count().mistakes == 0);
    }
}

TEST_CASE("ring: what the kernel lacks is found out") {
    constexpr unsigned defer = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    constexpr unsigned no_sq_array = 1u << 16;
    struct kind {
        const char* name;
        unsigned setup_flags;
        unsigned ring_features;
        bool registers;
        kernel_feature found;
        std::size_t attempts;
    };
    const auto always = kernel_feature::multishot_accept | kernel_feature::multishot_receive |
                        kernel_feature::buffer_ring;
    const kind kinds[] = {
        {"everything", ~0u, ~0u, true,
         always | kernel_feature::defer_taskrun | kernel_feature::no_sq_array |
             kernel_feature::absolute_timeout | kernel_feature::no_iowait |
             kernel_feature::registered_ring,
         1},
        {"no flag of 6.6", ~no_sq_array, ~0u, true,
         always | kernel_feature::defer_taskrun | kernel_feature::absolute_timeout |
             kernel_feature::no_iowait | kernel_feature::registered_ring,
         2},
        {"6.1", ~no_sq_array, 0xfff, true,
         always | kernel_feature::defer_taskrun | kernel_feature::registered_ring, 2},
        {"no deferred work", ~(defer | no_sq_array), 0xfff, true,
         always | kernel_feature::registered_ring, 3},
        {"no flag at all", IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL,
         0xfff, false, always, 4},
        {"the timeout of 6.12 only", ~no_sq_array, 0xfff | 1u << 15, true,
         always | kernel_feature::defer_taskrun | kernel_feature::absolute_timeout |
             kernel_feature::registered_ring,
         2},
    };
    for (const kind& its : kinds) {
        CAPTURE(its.name);
        fake_kernel k;
        k.setup_flags = its.setup_flags;
        k.ring_features = its.ring_features;
        k.registers_rings = its.registers;
        {
            detail::ring r(k.table(), sq_entries, kernel_feature::all);
            CHECK(r.features() == its.found);
            CHECK(k.setups_tried.size() == its.attempts);
            // Whatever was found, it works.
            put(r.get_sqe(), 1);
            CHECK(r.enter(true, k.now_ns() + 1000) == 1);
            CHECK(reaped(r) == from_to(1, 1));
            CHECK(r.enter(true, k.now_ns() + 1000) == -ETIME);
        }
        CHECK(k.count().mistakes == 0);
        CHECK(k.count().rings_open == 0);
    }
}

TEST_CASE("ring: what is masked isn't used, though the kernel has it") {
    for (kernel_feature allowed : feature_sets()) {
        CAPTURE(static_cast<std::uint32_t>(allowed));
        fake_kernel k;
        {
            detail::ring r(k.table(), sq_entries, allowed);
            const auto known = static_cast<kernel_feature>(
                static_cast<std::uint32_t>(kernel_feature::no_sq_array) * 2 - 1);
            CHECK(r.features() == (allowed & known));
            CHECK(k.setups_tried.size() == 1);
            bool deferring = (k.setups_tried.front() & IORING_SETUP_DEFER_TASKRUN) != 0;
            CHECK(deferring == contains(allowed, kernel_feature::defer_taskrun));
            bool registered = !k.registrations.empty();
            CHECK(registered == contains(allowed, kernel_feature::registered_ring));
            put(r.get_sqe(), 1);
            CHECK(r.enter(true, for_ever) == 1);
            CHECK(reaped(r) == from_to(1, 1));
        }
        CHECK(k.count().mistakes == 0);
    }
}

TEST_CASE("ring: a kernel that refuses is an error that says why", "[P22]") {
    fake_kernel k;
    k.setup_error = ENOSYS;
    CHECK_THAT(refusal(k), Contains("unavailable: ") && Contains("ENOSYS") && Contains("seccomp"));
    k.setup_error = EPERM;
    CHECK_THAT(refusal(k), Contains("unavailable: ") && Contains("EPERM") &&
                               Contains("kernel.io_uring_disabled") && Contains("seccomp"));
    CHECK(k.setups_tried.size() == 2); // no use in asking for less
    k.setup_error = EINVAL;
    CHECK_THAT(refusal(k), Contains("unavailable: ") && Contains("Linux 6.1"));
    CHECK(k.setups_tried.size() == 6);
    k.setup_error = ENOMEM;
    CHECK_THAT(refusal(k), Contains("8 entries") && Contains("locked memory") &&
                               Contains("ulimit -l") && !Contains("unavailable"));
    k.setup_error = EMFILE;
    CHECK_THAT(refusal(k), Contains("io_uring_setup") && Contains("8 entries"));
    CHECK(k.count().rings == 0);
}

TEST_CASE("ring: a runtime that gets no ring, or no wake-up descriptor, leaves nothing behind",
          "[P22]") {
    fake_kernel k;
    runtime_options on{.kernel = &k.table()};
    k.setup_error = EPERM;
    CHECK_THROWS_AS(runtime(on), unavailable_error);
    k.setup_error = 0;
    k.wake_fd_error = EMFILE;
    CHECK_THROWS_WITH(runtime(on), Contains("eventfd"));
    CHECK(k.count().rings == 1);
    CHECK(k.count().rings_open == 0);
    k.wake_fd_error = 0;
    auto works = []() -> task<int> {
        co_await sleep_for(1h);
        co_return 5;
    };
    CHECK(runtime(on).run(works()) == 5);
    CHECK(k.count().rings_open == 0);
    CHECK(k.count().wake_fds == 0);
    CHECK(k.count().mistakes == 0);
}
