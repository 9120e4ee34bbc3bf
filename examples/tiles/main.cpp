// SPDX-License-Identifier: MIT
// A page on which one pans and zooms the Mandelbrot set; its tiles are computed by a pool of worker processes, which the
// page shows at work. One loop serves all connections.
//
//     build/plain/examples/tiles/tiles --port 8080        then open http://127.0.0.1:8080/
//
// Prints where it listens. SIGINT or SIGTERM ends it: what runs is finished, for a few seconds at most.
#include "app.hpp"
#include "server.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/tcp.hpp>

#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string_view>

#include <getopt.h>

namespace {

using namespace std::chrono_literals;

struct options {
    weft::socket_address address = weft::socket_address::ipv4_loopback(8080);
    unsigned workers = 0; // as many as there are processors
    http::server_options server;
};

constexpr std::string_view usage = R"(usage: tiles [OPTION...]
  --port N             listen there; 0 takes any free port                        (8080)
  --bind ADDRESS       an IP address of this machine                         (127.0.0.1)
  --workers N          processes that draw                      (one for each processor)
  --max-connections N  beyond that, clients are told to come again later          (1000)
  --patience SECONDS   how long slow clients are waited for     (10 to 60, as it may be)
  --help               says this
)";

/// A number in a range; nothing if the text is something else.
template <class N>
std::optional<N> number(std::string_view text, N least, N most) {
    N n{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size() || n < least || n > most)
        return {};
    return n;
}

/// What the command line asks for, or the status to end with.
struct parsed {
    std::optional<options> asked = {};
    int status = 2;
};

parsed parse(int argc, char** argv) {
    static const option known[] = {{"port", required_argument, nullptr, 'p'},
                                   {"bind", required_argument, nullptr, 'b'},
                                   {"workers", required_argument, nullptr, 'w'},
                                   {"max-connections", required_argument, nullptr, 'c'},
                                   {"patience", required_argument, nullptr, 't'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {}};
    options o;
    for (int c; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        bool good = true;
        auto set = [&](auto& to, auto value) {
            good = value.has_value();
            if (good)
                to = *value;
        };
        switch (c) {
        case 'p':
            if (auto port = number<std::uint16_t>(optarg, 0, 65535))
                o.address = o.address.with_port(*port);
            else
                good = false;
            break;
        case 'b': set(o.address, weft::socket_address::try_ip(optarg, o.address.port())); break;
        case 'w': set(o.workers, number<unsigned>(optarg, 1, 1000)); break;
        case 'c': set(o.server.max_connections, number<unsigned>(optarg, 1, 1'000'000)); break;
        case 't':
            if (auto seconds = number<unsigned>(optarg, 1, 86'400))
                o.server.idle = o.server.head = o.server.body = o.server.write = std::chrono::seconds(*seconds);
            else
                good = false;
            break;
        case 'h': fmt::print("{}", usage); return {.status = 0};
        default: fmt::print(stderr, "{}", usage); return {};
        }
        if (!good) {
            fmt::print(stderr, "tiles: {} isn't possible here\n{}", optarg, usage);
            return {};
        }
    }
    if (optind != argc) {
        fmt::print(stderr, "tiles: {}?\n{}", argv[optind], usage);
        return {};
    }
    return {.asked = o, .status = 0};
}

weft::task<> first_signal(weft::signal_set& signals) { co_await signals.next(); }

weft::task<> serve(options o) {
    weft::signal_set signals(SIGINT, SIGTERM);
    weft::tcp_listener listener = weft::listen_tcp(o.address);
    weft::process_pool pool({.workers = o.workers});
    tiles::app app(pool);
    fmt::print("tiles are at http://{}/\n", listener.local_address().to_string());
    std::fflush(stdout);

    http::server server(
        std::move(listener), [&](http::exchange& x) { return app.answer(x); }, o.server);
    co_await server.run(first_signal(signals));
    co_await pool.shutdown_for(2s);
}

} // namespace

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    parsed command = parse(argc, argv);
    if (!command.asked)
        return command.status;
    try {
        weft::run(serve(*command.asked));
    } catch (const std::exception& e) {
        fmt::print(stderr, "tiles: {}\n", e.what());
        return 1;
    }
    return 0;
}
