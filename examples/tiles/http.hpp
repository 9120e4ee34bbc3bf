// SPDX-License-Identifier: MIT
// HTTP/1.1 as bytes: makes requests out of what a peer sends, and the head of what is answered.
//
//     http::request_parser parser;
//     parser.feed("GET /tile?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
//     if (parser.where() == http::phase::complete)
//         fmt::print("{} {}\n", parser.current().method, parser.current().path());
//
// No I/O happens here; server.hpp does that. The grammar is http_parser's, the limits and their
// answers are ours.
//
// Threads:      one at a time.
// Cancellation: none: nothing here waits.
// Errors:       what a peer does wrong is a phase and a status code, never an exception.
// Cost:         a request reuses the strings of the one before it. Memory follows bytes received,
//               up to the limits.
// Source:       RFC 9110 and RFC 9112; libhttp-parser.
#pragma once
#include <http_parser.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace http {

struct limits {
    std::size_t target = 8 * 1024;
    std::size_t head = 16 * 1024; // target, names and values together
    std::size_t fields = 100;
    std::size_t body = 64 * 1024;
};

struct field {
    std::string name;
    std::string value;
};

struct request {
    std::string_view method; // text that lives for ever
    std::string target;
    std::vector<field> fields;
    std::string body;
    int minor_version = 1;
    bool keep_alive = true;

    /// The target without its query (and without scheme and host, if a proxy's form was sent).
    [[nodiscard]] std::string_view path() const noexcept;
    [[nodiscard]] std::string_view query() const noexcept;
    /// The value of the first field of that name, in whatever case; null if there is none.
    [[nodiscard]] const std::string* find(std::string_view name) const noexcept;
};

enum class phase {
    idle,     // no byte of a request yet
    head,     // in the request line or the header fields
    body,     // the head is complete, the body is not
    complete, // current() is a request; next() goes on to the one after it
    failed,   // failure() says what to answer; nothing can be read from this peer any more
};

class request_parser {
public:
    explicit request_parser(const limits& l = {}) noexcept;
    request_parser(const request_parser&) = delete; // http_parser knows our address
    request_parser& operator=(const request_parser&) = delete;

    /// Takes bytes up to the end of the current request. Gives how many it used; the others belong
    /// to the next request.
    std::size_t feed(std::string_view bytes);
    /// Forgets the complete request.
    void next() noexcept;

    [[nodiscard]] phase where() const noexcept { return phase_; }
    [[nodiscard]] const request& current() const noexcept { return request_; }
    /// The status that answers a failed request.
    [[nodiscard]] int failure() const noexcept { return failure_; }
    /// The peer sends the body only after a "100 Continue", and nothing of it has come.
    [[nodiscard]] bool expects_continue() const noexcept {
        return expects_continue_ && phase_ == phase::body && request_.body.empty();
    }

private:
    static const http_parser_settings settings;
    static request_parser& self(http_parser* p) noexcept {
        return *static_cast<request_parser*>(p->data);
    }
    int fail(int status) noexcept;
    int grow_head(std::string& text, std::string_view more);
    int on_url(std::string_view more);
    int on_name(std::string_view more);
    int on_value(std::string_view more);
    int on_head_complete();
    int on_body(std::string_view more);
    int on_complete();

    limits limits_;
    http_parser parser_{};
    request request_;
    phase phase_ = phase::idle;
    int failure_ = 0;
    std::size_t head_bytes_ = 0; // of what limits::head counts
    std::size_t wire_bytes_ = 0; // everything, framing included
    bool in_value_ = false;      // the last piece was one of a value: a name starts a new field
    bool expects_continue_ = false;
};

/// What is answered. Owns nothing, so that it can be written as `{.status = 404, .body = text}` in
/// an await.
struct response {
    int status = 200;
    std::string_view type = "text/plain; charset=utf-8";
    std::string_view body = {};
    std::string_view fields = {}; // further header lines, each with its line end
};

enum class framing { length, chunked, until_close };

/// Status line and header fields, with the empty line that ends them.
[[nodiscard]] std::string head(const response& r, framing f, bool keep_alive);
/// "Not Found" for 404.
[[nodiscard]] std::string_view reason(int status) noexcept;

} // namespace http
