// SPDX-License-Identifier: MIT
// The other end of python_connection.py.
//
//   connection_program serve ADDRESS KEY MD5   prints the address, sends back what comes, until its
//                                              input ends; "refused" for whoever isn't let in
//   connection_program call ADDRESS KEY MD5    sends messages of many sizes and expects them back
//   connection_program values ADDRESS KEY MD5  as serve, but reads each message as a plain value of
//                                              Python and sends that back; "refused" for others
//   connection_program ask ADDRESS KEY MD5     as call, with plain values
//
// KEY is a text, or - for none; MD5 is "md5" if that may be used. What went wrong is printed.
#include <weft/ipc/listener.hpp>
#include <weft/ipc/python_value.hpp>
#include <weft/runtime/buffer.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;

struct how {
    socket_address at;
    std::optional<ipc::secret_bytes> key;
    bool md5;

    [[nodiscard]] const ipc::secret_bytes* key_or_null() const { return key ? &*key : nullptr; }
};

void say(std::string_view text) {
    std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
}

task<> send_back(ipc::connection c) {
    try {
        while (true) {
            ipc::byte_buffer m = co_await c.receive_bytes();
            co_await c.send_bytes(m.bytes());
        }
    } catch (const eof_error&) { // it has had enough
        co_return;
    }
}

task<> send_back_values(ipc::connection c) {
    try {
        while (true) {
            ipc::python_value answer("refused");
            try {
                answer = co_await ipc::receive_python(c);
            } catch (const ipc::codec_error&) { // as is said
            }
            co_await ipc::send_python(c, answer);
        }
    } catch (const eof_error&) {
        co_return;
    }
}

task<> accept_all(ipc::listener& l, task<> (*answer)(ipc::connection)) {
    co_await with_task_group([&](task_group& g) -> task<> {
        while (true) {
            try {
                g.spawn(answer(co_await l.accept()));
            } catch (const ipc::authentication_error&) {
                say("refused");
            }
        }
    });
}

task<> serve(const how& h, task<> (*answer)(ipc::connection)) {
    ipc::listener l = ipc::listen(
        h.at, {.key = h.key_or_null(), .allow_legacy_md5 = h.md5, .unauthenticated = true});
    say(l.address().to_string());
    co_await with_task_group([&](task_group& g) -> task<> {
        g.spawn(accept_all(l, answer));
        co_await readable(0);
        g.cancel();
    });
    co_await l.close();
}

task<> call(const how& h) {
    ipc::connection c =
        co_await ipc::connect(h.at, {.key = h.key_or_null(), .allow_legacy_md5 = h.md5});
    for (std::size_t size : {0u, 1u, 100u, 16'384u, 16'385u, 3'000'000u}) {
        std::string text(size, static_cast<char>('a' + size % 7));
        co_await c.send_bytes(as_bytes(text));
        ipc::byte_buffer back = co_await c.receive_bytes();
        if (as_text(back.bytes()) != text)
            say("another message came back");
    }
    say("sent all");
}

task<> ask(const how& h) {
    using value = ipc::python_value;
    std::vector<value> all{value(),
                           true,
                           1,
                           -70'000,
                           std::int64_t{1} << 40,
                           0.5,
                           "text \xc3\xa9",
                           value::bytes(as_bytes("bytes"))};
    std::vector<value> inner{all[2], all[6]};
    all.push_back(value::list(inner));
    all.push_back(value::tuple(inner));
    all.push_back(value::set({value(7)}));
    all.push_back(value::dict({{value("key"), value::tuple({})}}));
    all.push_back(value::list(all));
    ipc::connection c =
        co_await ipc::connect(h.at, {.key = h.key_or_null(), .allow_legacy_md5 = h.md5});
    for (const value& v : all) {
        co_await ipc::send_python(c, v);
        value back = co_await ipc::receive_python(c);
        if (!(back == v))
            say("another value came back");
    }
    say("sent all");
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 5)
        return 2;
    try {
        std::string_view role = argv[1];
        std::string_view key = argv[3];
        how h{socket_address::parse(argv[2]), std::nullopt, std::string_view(argv[4]) == "md5"};
        if (key != "-")
            h.key.emplace(key);
        task<> work = role == "serve"    ? serve(h, send_back)
                      : role == "values" ? serve(h, send_back_values)
                      : role == "call"   ? call(h)
                                         : ask(h);
        run(as_task(with_timeout(60s, std::move(work))));
        return 0;
    } catch (const ipc::authentication_error&) {
        say("authentication_error");
    } catch (const std::exception& e) {
        say(e.what());
    }
    return 1;
}
