// SPDX-License-Identifier: MIT
#include "app.hpp"

#include "page.hpp"
#include "png.hpp"

#include <weft/executors/error.hpp>
#include <weft/ipc/error.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/sleep.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>
#include <utility>

#include <csignal>
#include <unistd.h>

namespace tiles {

using namespace std::chrono_literals;

/// What comes back from a worker.
struct picture {
    std::int32_t worker = 0; // its pid
    std::vector<std::byte> png;
};

/// Runs in a worker.
picture draw(std::stop_token stop, const tile_id& tile) {
    std::vector<std::uint8_t> pixels = render(tile, stop);
    if (stop.stop_requested()) // nobody will see it
        return {};
    return {.worker = getpid(), .png = png::encode(pixels, tile_size, tile_size)};
}

namespace {

/// More than one page in as many windows needs.
constexpr unsigned most_streams = 100;
/// A tile whose worker dies is drawn by another: after so many of them, the tile may be the reason.
constexpr unsigned retries = 5;

/// The page needs nothing from elsewhere, and is allowed nothing from elsewhere.
constexpr std::string_view page_fields =
    "Cache-Control: no-cache\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; style-src "
    "'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'\r\n";

weft::task<> say(http::exchange& x, int status, std::string_view fields = {}) {
    co_await x.respond({.status = status, .body = http::reason(status), .fields = fields});
}

std::optional<tile_id> tile_of(std::string_view path) noexcept {
    constexpr std::string_view before = "/tile/", after = ".png";
    if (!path.starts_with(before) || !path.ends_with(after) ||
        path.size() < before.size() + after.size())
        return {};
    return parse_tile(path.substr(before.size(), path.size() - before.size() - after.size()));
}

/// Browsers say where a request comes from; another site's page must not kill our workers.
bool from_elsewhere(const http::request& r) {
    const std::string* site = r.find("Sec-Fetch-Site");
    return site != nullptr && *site != "same-origin" && *site != "none";
}

/// Whether it is the pool that can't do it now. Everything else is the fault of the tile.
bool passes(const std::exception& e) {
    return dynamic_cast<const weft::broken_process_pool*>(&e) !=
               nullptr || // its workers keep dying
           dynamic_cast<const weft::ipc::pool_terminated*>(&e) != nullptr || // it ends
           dynamic_cast<const weft::state_error*>(&e) != nullptr ||          // it has ended
           dynamic_cast<const weft::limit_error*>(&e) != nullptr ||          // it has enough to do
           dynamic_cast<const std::system_error*>(&e) != nullptr; // no process is to be had
}

std::string_view name_of(weft::process_pool_statistics::state s) noexcept {
    using enum weft::process_pool_statistics::state;
    switch (s) {
    case starting:
        return "starting";
    case idle:
        return "idle";
    case running:
        return "busy";
    case ending:
        return "ending";
    }
    return "unknown";
}

std::string json(std::optional<statistics::milliseconds> t) {
    return t ? fmt::format("{:.2f}", t->count()) : "null";
}

} // namespace

weft::task<> app::answer(http::exchange& x) {
    const http::request& asked = x.asked();
    std::string_view path = asked.path();
    std::optional<tile_id> id = tile_of(path);
    std::string_view allowed = path == "/" || id   ? "GET, HEAD"
                               : path == "/events" ? "GET"
                               : path == "/kill"   ? "POST"
                                                   : "";
    if (allowed.empty()) {
        co_await say(x, 404);
    } else if (allowed.find(asked.method) == allowed.npos) {
        std::string fields = fmt::format("Allow: {}\r\n", allowed);
        co_await say(x, 405, fields);
    } else if (id) {
        co_await tile(x, *id);
    } else if (path == "/events") {
        co_await events(x);
    } else if (path == "/kill") {
        co_await kill(x);
    } else {
        co_await x.respond(
            {.type = "text/html; charset=utf-8", .body = page, .fields = page_fields});
    }
}

weft::task<> app::tile(http::exchange& x, tile_id id) {
    auto asked = weft::clock::now();
    std::uint64_t tag = next_tag_++;
    auto place = in_flight_.emplace(tag, id).first;
    struct remover { // on every way out
        explicit remover(app& a, std::map<std::uint64_t, tile_id>::iterator i) noexcept
            : owner(a), at(i) {}
        ~remover() { owner.in_flight_.erase(at); }
        app& owner;
        std::map<std::uint64_t, tile_id>::iterator at;
    } on_the_way_out(*this, place);

    std::optional<picture> drawn;
    bool later = false;
    try {
        drawn = co_await x.while_waited_for(
            pool_.call({.retry = retries, .stop_grace = 1s, .tag = tag}, weft::fn<&draw>, id));
    } catch (const std::exception& e) {
        if (!passes(e))
            throw;
        later = true;
    }
    if (later) {
        co_await say(x, 503, "Retry-After: 1\r\n");
    } else if (!drawn) {
        statistics_.given_up();
    } else {
        statistics_.drawn(asked, weft::clock::now());
        std::string fields =
            fmt::format("Cache-Control: max-age=3600\r\nX-Worker: {}\r\n", drawn->worker);
        std::string_view bytes(reinterpret_cast<const char*>(drawn->png.data()), drawn->png.size());
        co_await x.respond({.type = "image/png", .body = bytes, .fields = fields});
    }
}

weft::task<> app::events(http::exchange& x) {
    if (streams_ == most_streams) {
        co_await say(x, 503, "Retry-After: 10\r\n");
        co_return;
    }
    struct counter {
        explicit counter(unsigned& n) noexcept : count(n) { ++count; }
        ~counter() { --count; }
        unsigned& count;
    } counted(streams_);
    co_await x.start_stream({.type = "text/event-stream", .fields = "Cache-Control: no-store\r\n"});
    if (co_await x.while_waited_for(send_events(x)))
        co_await x.end_stream();
}

weft::task<bool> app::send_events(http::exchange& x) {
    while (!x.ending()) {
        std::string event = fmt::format("data: {}\n\n", state());
        co_await x.send(event);
        co_await weft::sleep_for(250ms);
    }
    co_return true;
}

weft::task<> app::kill(http::exchange& x) {
    const std::string& text = x.asked().body;
    int pid = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
    auto workers = pool_.statistics().workers;
    if (from_elsewhere(x.asked())) {
        co_await say(x, 403);
    } else if (error != std::errc() || end != text.data() + text.size()) {
        co_await say(x, 400);
    } else if (std::ranges::none_of(workers, [&](const auto& w) { return w.pid == pid; })) {
        co_await say(x, 404);
    } else {
        // The pid is that worker's until this process, on this loop, hears of its end.
        ::kill(pid, SIGKILL);
        co_await say(x, 202);
    }
}

std::string app::state() const {
    weft::process_pool_statistics pool = pool_.statistics();
    statistics::summary tiles = statistics_.at(weft::clock::now());
    std::string text;
    auto out = std::back_inserter(text);
    fmt::format_to(out, R"({{"drawn":{},"given_up":{},"queued":{},"replaced":{},)", tiles.drawn,
                   tiles.given_up, pool.queued, pool.respawned);
    fmt::format_to(out, R"("rate":{},"p50":{},"p99":{},"workers":[)", tiles.rate, json(tiles.p50),
                   json(tiles.p99));
    std::string_view comma;
    for (const auto& w : pool.workers) {
        std::string what;
        if (auto t = in_flight_.find(w.task_tag); t != in_flight_.end())
            what = fmt::format("{}/{}/{}", t->second.level, t->second.x, t->second.y);
        const statistics::milliseconds age = w.task_age;
        fmt::format_to(
            out, R"({}{{"pid":{},"state":"{}","tile":"{}","runs":"{}","ms":{:.0f},"done":{}}})",
            std::exchange(comma, ","), w.pid, name_of(w.is), what, w.function, age.count(),
            w.tasks_done);
    }
    text += "]}";
    return text;
}

} // namespace tiles
