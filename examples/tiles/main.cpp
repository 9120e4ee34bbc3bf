// SPDX-License-Identifier: MIT
// A page on which one pans and zooms the Mandelbrot set; its tiles are computed by a pool of worker
// processes, which the page shows at work. One loop serves all connections.
//
//     build/plain/examples/tiles/tiles --port 8080        then open http://127.0.0.1:8080/
//
// Prints where it listens. SIGINT or SIGTERM ends it: what runs is finished, for a few seconds at
// most.
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
#include <string_view>
#include <variant>

#include <getopt.h>

namespace {

using namespace std::chrono_literals;

struct options {
    weft::socket_address address;
    unsigned workers = 0; // as many as there are processors
    http::server_options server;
};

constexpr std::string_view usage = R"(usage: tiles [OPTION...]
  --port N             listen there; 0 takes any free port                        (8080)
  --bind ADDRESS       an IP address of this machine                         (127.0.0.1)
  --workers N          processes that draw                      (one for each processor)
  --max-connections N  beyond that, clients are told to come again later          (1000)
  --patience SECONDS   how long slow clients, and requests that run at the end, are
                       waited for                               (5 to 60, as it may be)
  --help               says this
)";

/// Whether the text is a number in a range; then `n` is that.
template <class N>
bool read(std::string_view text, N& n, N least, N most) {
    N value{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
        return false;
    n = value;
    return true;
}

/// What the command line asks for; if it isn't to serve, the status to end with.
std::variant<options, int> parse(int argc, char** argv) {
    static const option known[] = {{"port", required_argument, nullptr, 'p'},
                                   {"bind", required_argument, nullptr, 'b'},
                                   {"workers", required_argument, nullptr, 'w'},
                                   {"max-connections", required_argument, nullptr, 'c'},
                                   {"patience", required_argument, nullptr, 't'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {}};
    options o;
    std::uint16_t port = 8080;
    std::string_view host = "127.0.0.1";
    unsigned patience = 0;
    for (int c; (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        bool good = true;
        switch (c) {
        case 'p':
            good = read<std::uint16_t>(optarg, port, 0, 65535);
            break;
        case 'b':
            host = optarg;
            good = weft::socket_address::try_ip(host, port).has_value();
            break;
        case 'w':
            good = read(optarg, o.workers, 1U, 1000U);
            break;
        case 'c':
            good = read(optarg, o.server.max_connections, 1U, 1'000'000U);
            break;
        case 't':
            good = read(optarg, patience, 1U, 86'400U);
            break;
        case 'h':
            fmt::print("{}", usage);
            return 0;
        default:
            fmt::print(stderr, "{}", usage);
            return 2;
        }
        if (!good) {
            fmt::print(stderr, "tiles: {} isn't possible here\n{}", optarg, usage);
            return 2;
        }
    }
    if (optind != argc) {
        fmt::print(stderr, "tiles: {}?\n{}", argv[optind], usage);
        return 2;
    }
    o.address = *weft::socket_address::try_ip(host, port);
    if (patience != 0) {
        http::server_options& s = o.server;
        s.idle = s.head = s.body = s.write = s.drain = std::chrono::seconds(patience);
    }
    return o;
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
    std::variant<options, int> asked = parse(argc, argv);
    if (int* status = std::get_if<int>(&asked))
        return *status;
    try {
        weft::run(serve(std::get<options>(asked)));
    } catch (const std::exception& e) {
        fmt::print(stderr, "tiles: {}\n", e.what());
        return 1;
    }
    return 0;
}
