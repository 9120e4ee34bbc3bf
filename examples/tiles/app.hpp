// SPDX-License-Identifier: MIT
// What the tiles server answers: the page, tiles drawn by worker processes, the pool's state.
//
// Threads:      one loop's.
// Cancellation: a tile whose client hangs up is stopped in its worker.
// Errors:       those of the pool become statuses: 503 if it can't draw now, 500 for what should
//               not happen.
// Cost:         a tile is one task of the pool; an event stream looks at it four times a second.
// Source:       server-sent events are the WHATWG's.
#pragma once
#include "mandelbrot.hpp"
#include "server.hpp"
#include "statistics.hpp"

#include <weft/executors/process_pool.hpp>

#include <cstdint>
#include <map>
#include <string>

namespace tiles {

class app {
public:
    explicit app(weft::process_pool& pool) noexcept : pool_(pool) {}

    /// The server's handler.
    weft::task<> answer(http::exchange& x);

private:
    weft::task<> tile(http::exchange& x, tile_id id);
    weft::task<> events(http::exchange& x);
    weft::task<bool> send_events(http::exchange& x);
    weft::task<> kill(http::exchange& x);
    /// The pool and what became of the tiles, as JSON.
    [[nodiscard]] std::string state() const;

    weft::process_pool& pool_;
    statistics statistics_;
    std::map<std::uint64_t, tile_id> in_flight_; // by the tag under which the pool knows them
    std::uint64_t next_tag_ = 1;
    unsigned streams_ = 0;
};

} // namespace tiles
