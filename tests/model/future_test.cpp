// SPDX-License-Identifier: MIT
// How futures end: with a result or by a cancel, while others begin and give up to wait for that.
#include "model/strands.hpp"
#include "model/weaken.hpp"

#include <weft/executors/detail/future_core.hpp>

#include <catch2/catch.hpp>

namespace weft::model {

template <>
class plain<weft::detail::end_listeners> {
    using listeners = weft::detail::end_listeners;
    using listener = weft::detail::end_listener;

public:
    explicit plain(const site& at = site::current()) noexcept { writes(this, at); }
    plain(const plain&) = delete;
    plain& operator=(const plain&) = delete;
    ~plain() { writes(this); }

    void push(listener& l) noexcept {
        writes(this);
        list_.push(l);
    }
    void remove(listener& l) noexcept {
        writes(this);
        list_.remove(l);
    }
    listeners take() noexcept {
        writes(this);
        return list_.take();
    }

private:
    listeners list_;
};

namespace {

using core = weft::detail::future_core<atomics>;
using weft::detail::future_phase;

class wait_op : public weft::detail::line_op<wait_op> {
public:
    static constexpr const char* name = "future";
    explicit wait_op(core& c) noexcept : line_op(weft::detail::line_kind<wait_op>), of_(c) {}
    bool pass_now() noexcept { return of_.ended(); }
    bool line_up() noexcept { return of_.enter(*this); }
    bool leave() noexcept { return of_.leave(*this); }
    void await_resume() const noexcept {}

private:
    core& of_;
};

struct told_once : weft::detail::end_listener {
    told_once() noexcept : end_listener(type) {}
    static void told(end_listener& l, bool failed) noexcept {
        auto& self = static_cast<told_once&>(l);
        ++self.times;
        self.failed = failed;
    }
    static constexpr weft::detail::end_listener_type type{told, nullptr};
    unsigned times = 0;
    bool failed = false;
};

// A future of a number.
struct number {
    core c;
    plain<int> value{0};

    /// Gives whether the caller's was the result.
    bool set(int n) {
        if (!open(c.claim()))
            return false;
        value = n;
        c.finish(false);
        return true;
    }
    bool work(int n) {
        if (c.start() != future_phase::pending)
            return false;
        value = n;
        c.finish(true);
        return true;
    }
    bool cancel() { return c.cancel() == future_phase::pending; }
    weft::task<> wait() { co_await wait_op(c); }
    /// What is there after the end, 0 for a cancelled one.
    int result() {
        check(c.ended(), "it has ended");
        return c.phase() == future_phase::finished ? static_cast<int>(value) : 0;
    }
    static bool open(future_phase p) {
        return p == future_phase::pending || p == future_phase::running;
    }
};

void is_waited_for() {
    number f;
    threads([&] { check(f.work(1), "it begins"); },
            [&] {
                home().run([&] { return f.wait(); });
                check(f.result() == 1, "the result is there");
            });
}

void is_looked_at() {
    number f;
    threads([&] { f.work(1); },
            [&] {
                if (f.c.ended())
                    check(f.result() == 1, "the result is there");
            });
}

void is_cancelled_or_done() {
    number f;
    bool worked = false;
    bool cancelled = false;
    threads([&] { worked = f.work(1); }, [&] { cancelled = f.cancel(); },
            [&] { home().run([&] { return f.wait(); }); });
    check(worked != cancelled, "one of them ends it");
    check(f.result() == (worked ? 1 : 0), "with what it gave");
}

void is_given_two_results() {
    number f;
    bool one = false;
    bool two = false;
    threads([&] { one = f.set(1); }, [&] { two = f.set(2); });
    check(one != two, "one of them gives it");
    check(f.result() == (one ? 1 : 2), "which stays");
}

/// The first one's came to nothing; what it wrote on the way is seen by the second.
void is_given_a_result_after_all() {
    number f;
    bool one = false;
    threads(
        [&] {
            future_phase before = f.c.claim();
            if (!number::open(before))
                return;
            f.value = 7;
            f.c.unclaim(before);
        },
        [&] { one = f.set(1); });
    if (one)
        check(f.result() == 1, "the second one's");
    else
        check(!f.c.ended(), "it is open");
}

void wait_is_stopped() {
    number f;
    bool ended = false;
    threads([&] { f.work(1); }, [&] { ended = home().run([&] { return f.wait(); }, stop::maybe); });
    check(!ended || f.result() == 1, "who comes to the end sees it");
}

void is_listened_to() {
    number f;
    told_once l;
    bool late = false;
    threads([&] { f.work(1); },
            [&] {
                late = !f.c.listen(l);
                if (late)
                    check(f.result() == 1, "who is late sees the result");
            });
    check(l.times == (late ? 0u : 1u), "it is told, or knows");
    check(late || l.failed, "how it ended");
}

void stops_listening() {
    number f;
    told_once l;
    bool gone = false;
    check(f.c.listen(l), "it is pending");
    threads([&] { f.cancel(); }, [&] { gone = f.c.stop_listening(l); });
    check(l.times == (gone ? 0u : 1u), "it is told, or it has left");
}

void is_given_up() {
    number f;
    f.c.start();
    threads([&] { f.c.give_up(); },
            [&] {
                home().run([&] { return f.wait(); });
                check(f.result() == 0, "no result");
            });
}

held_models all() {
    return all_hold({
        {"it is looked at", is_looked_at},
        {"it is waited for", is_waited_for},
        {"it is given two results", is_given_two_results},
        {"it is given a result after all", is_given_a_result_after_all},
        {"it is listened to", is_listened_to},
        {"one stops listening", stops_listening},
        {"a wait is stopped", wait_is_stopped},
        {"it is given up", is_given_up},
        {"it is cancelled or done", is_cancelled_or_done, {.stale_reads = 1, .spurious = 0}},
    });
}

} // namespace

TEST_CASE("future: it ends once, and everybody is told, in any order of events",
          "[P1][P3][CF-FUT-01]") {
    held_models piece = all();
    CHECK(piece.not_missed() == std::vector<std::string>{});
}

} // namespace weft::model
