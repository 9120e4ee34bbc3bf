// SPDX-License-Identifier: MIT
// A chat server with rooms and nicknames for the users of one machine: on a Unix socket.
//
//     build/plain/examples/chat [PATH]              ./chat.socket if none is given
//     nc -U chat.socket                             in as many other terminals as you like
//
// A line is said to everybody in the room. /nick NAME, /join ROOM, /who and /quit do what they say.
// Who reads too slowly doesn't hold the others up: he misses lines, and is told how many. Prints
// where it listens; SIGINT or SIGTERM ends it. A line has 1000 bytes at most.
#include <weft/runtime/buffered_stream.hpp>
#include <weft/runtime/filesystem.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/unix_socket.hpp>
#include <weft/runtime/when_any.hpp>
#include <weft/sync/queue.hpp>

#include <fmt/format.h>

#include <list>
#include <memory>

namespace {

using line = std::shared_ptr<const std::string>; // one text, however many get it

struct member {
    explicit member(weft::unix_stream s) : stream(std::move(s)) {}
    weft::unix_stream stream;
    unsigned missed = 0; // lines for which the outbox had no room
    std::string name;
    std::string room = "lobby";
    weft::queue<line> outbox{100};
};

class chat {
public:
    weft::task<> welcome(weft::unix_stream stream) {
        auto me = members_.emplace(members_.end(), std::move(stream));
        me->name = fmt::format("guest{}", ++guests_);
        leaver leaves(*this, me);
        tell(*me, fmt::format("* you are {} in {}", me->name, me->room));
        say(*me, fmt::format("* {} comes in", me->name));
        // Whichever ends first ends the other; it doesn't matter how, by /quit or by an error.
        [[maybe_unused]] auto end = co_await weft::when_any(listen(*me), talk(*me));
    }

private:
    struct leaver { // on every way out, also when the server ends
        leaver(chat& c, std::list<member>::iterator m) noexcept : from(c), who(m) {}
        ~leaver() {
            from.say(*who, fmt::format("* {} leaves", who->name));
            from.members_.erase(who);
        }
        chat& from;
        std::list<member>::iterator who;
    };

    static void tell(member& to, line what) { to.missed += !to.outbox.try_put(std::move(what)); }
    static void tell(member& to, std::string_view what) {
        tell(to, std::make_shared<const std::string>(fmt::format("{}\n", what)));
    }
    /// To everybody else in the room. Never waits.
    void say(const member& who, std::string_view what) {
        auto text = std::make_shared<const std::string>(fmt::format("{}\n", what));
        for (member& m : members_)
            if (&m != &who && m.room == who.room)
                tell(m, text);
    }

    weft::task<> talk(member& me) {
        while (true) {
            line next = co_await me.outbox.get();
            co_await me.stream.write_all(weft::as_bytes(*next));
            if (me.missed != 0 && me.outbox.empty())
                tell(me, fmt::format("* you have missed {} lines", std::exchange(me.missed, 0)));
        }
    }

    weft::task<> listen(member& me) {
        weft::buffered_reader in(me.stream, {.limit = 1000});
        for (std::string text; !(text = co_await in.read_line()).empty();) {
            std::erase_if(text, [](unsigned char c) { return c < 32 || c == 127; }); // also the end
            if (text == "/quit")
                co_return;
            answer(me, text);
        }
    }

    void answer(member& me, std::string_view text) {
        std::string_view argument = text.substr(std::min(text.find(' '), text.size() - 1) + 1);
        if (text.starts_with("/nick ")) {
            for (const member& m : members_)
                if (m.name == argument || argument.empty())
                    return tell(me, "* that name can't be had");
            say(me, fmt::format("* {} is now {}", me.name, argument));
            me.name = argument;
            tell(me, fmt::format("* you are {}", me.name));
        } else if (text.starts_with("/join ")) {
            say(me, fmt::format("* {} leaves", me.name));
            me.room = argument;
            say(me, fmt::format("* {} comes in", me.name));
            tell(me, fmt::format("* you are in {}", me.room));
        } else if (text == "/who") {
            for (const member& m : members_)
                tell(me, fmt::format("* {} is in {}", m.name, m.room));
        } else if (text.starts_with('/')) {
            tell(me, "* /nick NAME, /join ROOM, /who, /quit");
        } else if (!text.empty()) {
            say(me, fmt::format("{}: {}", me.name, text));
        }
    }

    std::list<member> members_;
    unsigned guests_ = 0;
};

weft::task<> accept_all(weft::unix_listener& listener, weft::task_group& group, chat& room) {
    while (true)
        group.spawn(room.welcome(co_await listener.accept()));
}

weft::task<> serve(std::string path) {
    weft::signal_set stop(SIGINT, SIGTERM);
    weft::unix_listener listener = weft::listen_unix(weft::socket_address::unix_path(path));
    fmt::print("chatting on {}\n", path);
    std::fflush(stdout);
    chat rooms;
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        group.spawn(accept_all(listener, group, rooms));
        co_await stop.next();
        group.cancel();
    });
    co_await weft::remove_file(path);
}

} // namespace

int main(int argc, char** argv) {
    try {
        weft::run(serve(argc > 1 ? argv[1] : "chat.socket"));
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
