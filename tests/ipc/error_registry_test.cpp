// SPDX-License-Identifier: MIT
#include <weft/ipc/error_registry.hpp>

#include <catch2/catch.hpp>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <variant>

namespace {

using namespace weft;
using namespace weft::ipc;

struct own_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct unknown_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
class numbered_error : public std::exception {
public:
    explicit numbered_error(int n) : number(n) {}
    [[nodiscard]] const char* what() const noexcept override { return "numbered"; }
    int number;
};
struct stubborn_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct not_even_an_exception {
    int value;
};

} // namespace

template <>
struct weft::ipc::codec<numbered_error> {
    static void encode(archive_writer& out, const numbered_error& e) { ipc::encode(out, e.number); }
    static numbered_error decode(archive_reader& in) {
        return numbered_error(ipc::decode<int>(in));
    }
};
template <>
struct weft::ipc::codec<stubborn_error> {
    static void encode(archive_writer&, const stubborn_error&) { throw 1; }
    static stubborn_error decode(archive_reader&) { throw 2; }
};

namespace {

[[maybe_unused]] const bool known = register_error<own_error>() &&
                                    register_error<numbered_error>() &&
                                    register_error<stubborn_error>();

std::exception_ptr over_and_back(const std::exception_ptr& e, std::string_view trace = {}) {
    archive_writer out;
    encode_error(out, e, trace);
    archive_reader in(out.bytes());
    std::exception_ptr back = decode_error(in);
    in.finish();
    return back;
}

// Whether it arrives as exactly the same type with the same text.
template <class E>
bool arrives(const E& e) {
    try {
        std::rethrow_exception(over_and_back(std::make_exception_ptr(e)));
    } catch (const std::exception& back) {
        return typeid(back) == typeid(E) && std::string(back.what()) == e.what();
    }
}

} // namespace

TEST_CASE("error_registry: the standard library's errors arrive as what they were", "[CF-PPE-09]") {
    CHECK(arrives(std::runtime_error("a")));
    CHECK(arrives(std::logic_error("a")));
    CHECK(arrives(std::invalid_argument("a")));
    CHECK(arrives(std::domain_error("a")));
    CHECK(arrives(std::length_error("a")));
    CHECK(arrives(std::out_of_range("a")));
    CHECK(arrives(std::range_error("a")));
    CHECK(arrives(std::overflow_error("a")));
    CHECK(arrives(std::underflow_error("a")));
    CHECK(arrives(std::bad_alloc()));
    CHECK(arrives(std::bad_cast()));
    CHECK(arrives(std::bad_optional_access()));
    CHECK(arrives(std::bad_variant_access()));
    CHECK(arrives(std::bad_function_call()));
}

TEST_CASE("error_registry: what the kernel said arrives with its code and its text") {
    CHECK(arrives(std::system_error(ENOENT, std::system_category(), "open x")));
    CHECK(arrives(std::system_error(ENOENT, std::generic_category())));
    auto code = std::make_error_code(std::errc::io_error);
    CHECK(arrives(std::filesystem::filesystem_error("copy", "/a", "/b", code)));
    try {
        std::rethrow_exception(over_and_back(
            std::make_exception_ptr(std::filesystem::filesystem_error("copy", "/a", "/b", code))));
    } catch (const std::filesystem::filesystem_error& e) {
        CHECK(e.path2() == "/b");
        CHECK(e.code() == code);
    }
}

TEST_CASE("error_registry: weft's errors arrive as what they were") {
    CHECK(arrives(weft::error("a")));
    CHECK(arrives(state_error("a")));
    CHECK(arrives(timeout_error()));
    CHECK(arrives(eof_error("a")));
    CHECK(arrives(truncated_error("abc", 9)));
    CHECK(arrives(limit_error("a", 3)));
    CHECK(arrives(protocol_error("a")));
    CHECK(arrives(unavailable_error("a")));
    CHECK(arrives(interrupted_error(2)));
    CHECK(arrives(lookup_error("a")));
    CHECK(arrives(cancelled_error()));
    CHECK(arrives(codec_error("a")));
    CHECK(arrives(worker_lost(7, exit_status::by_signal(9))));
    CHECK(arrives(worker_lost(7, exit_status::by_exit(0))));
    CHECK(arrives(worker_lost(7, exit_status())));
    worker_lost::details d;
    d.out_of_memory = true;
    d.function = "area(double)";
    d.tag = 5;
    d.ran_for = std::chrono::seconds(1);
    d.last_words = "help\n";
    CHECK(arrives(worker_lost(7, exit_status::by_signal(9), d)));
    CHECK(arrives(pool_terminated()));
    CHECK(arrives(remote_error("type", "text", "trace")));
}

TEST_CASE("error_registry: a group arrives with all its errors") {
    exception_group group("a task group", {std::make_exception_ptr(own_error("one")),
                                           std::make_exception_ptr(std::bad_alloc())});
    CHECK(arrives(group));
    try {
        std::rethrow_exception(over_and_back(std::make_exception_ptr(group)));
    } catch (const exception_group& g) {
        CHECK(g.errors().size() == 2);
        CHECK(g.contains<own_error>());
        CHECK(g.contains<std::bad_alloc>());
    }
}

TEST_CASE("error_registry: registered types of the program arrive as themselves") {
    CHECK(arrives(own_error("mine")));
    try {
        std::rethrow_exception(over_and_back(std::make_exception_ptr(numbered_error(7))));
    } catch (const numbered_error& e) {
        CHECK(e.number == 7);
    }
}

TEST_CASE("error_registry: what isn't known arrives as remote_error") {
    auto check = [](const std::exception_ptr& e, const std::string& type, const std::string& text) {
        try {
            std::rethrow_exception(over_and_back(e, "#0 here\n"));
        } catch (const remote_error& remote) {
            CHECK(remote.type_name().find(type) != std::string::npos);
            CHECK(remote.text() == text);
            CHECK(remote.trace() == "#0 here\n");
        }
    };
    check(std::make_exception_ptr(unknown_error("boo")), "unknown_error", "boo");
    check(std::make_exception_ptr(not_even_an_exception{1}), "not_even_an_exception", "");
    check(std::make_exception_ptr(5), "int", "");
    check(std::make_exception_ptr(std::string("words")), "string", "words");
    // Its codec fails on the way out.
    check(std::make_exception_ptr(stubborn_error("no")), "stubborn_error", "no");
}

TEST_CASE("error_registry: a known error carries its trace inside, through any number of processes",
          "[CF-PPE-09]") {
    auto trace_in = [](const std::exception_ptr& e) {
        try {
            std::rethrow_exception(e);
        } catch (const std::out_of_range& outer) {
            try {
                std::rethrow_if_nested(outer);
            } catch (const remote_error& inner) {
                return inner.trace();
            }
        }
        return std::string("none");
    };
    auto once = over_and_back(std::make_exception_ptr(std::out_of_range("x")), "#0 deep\n");
    CHECK(trace_in(once) == "#0 deep\n");
    CHECK(trace_in(over_and_back(once)) == "#0 deep\n");
    CHECK(trace_in(over_and_back(std::make_exception_ptr(std::out_of_range("x")))) == "none");
}

namespace {
// An error with `depth` causes, of which the last is of a type that nobody else knows.
void throw_chain(unsigned depth, unsigned level = 0) {
    if (level == depth)
        throw unknown_error("at the bottom");
    try {
        throw_chain(depth, level + 1);
    } catch (...) {
        std::throw_with_nested(own_error("level " + std::to_string(level)));
    }
}
std::exception_ptr chain_of(unsigned depth) {
    try {
        throw_chain(depth);
    } catch (...) {
        return std::current_exception();
    }
    return nullptr;
}
// What each level says, from the outside in, and the trace at its end.
std::vector<std::string> told_by(std::exception_ptr e) {
    std::vector<std::string> all;
    while (e) {
        try {
            std::rethrow_exception(std::exchange(e, nullptr));
        } catch (const remote_error& r) {
            all.push_back("remote " + r.text() + ", trace " + r.trace());
            if (const auto* nested = dynamic_cast<const std::nested_exception*>(&r))
                e = nested->nested_ptr();
        } catch (const own_error& own) {
            all.emplace_back(own.what());
            if (const auto* nested = dynamic_cast<const std::nested_exception*>(&own))
                e = nested->nested_ptr();
        } catch (const unknown_error& u) {
            all.push_back(std::string("unknown ") + u.what());
        }
    }
    return all;
}
} // namespace

TEST_CASE("error_registry: what was nested inside of an error is nested inside of it again",
          "[CF-PPE-09][P5]") {
    const auto once = over_and_back(chain_of(2), "#0 deep\n");
    const std::vector<std::string> expected{"level 0", "level 1", "remote at the bottom, trace ",
                                            "remote level 0, trace #0 deep\n"};
    CHECK(told_by(once) == expected);
    CHECK(told_by(over_and_back(once)) == expected);
    CHECK(told_by(copy_error(once)) == expected);

    // Of a type that isn't known the name and the text come, and what is inside of it.
    std::exception_ptr outside;
    try {
        try {
            std::rethrow_exception(chain_of(1));
        } catch (...) {
            std::throw_with_nested(unknown_error("outside"));
        }
    } catch (...) {
        outside = over_and_back(std::current_exception(), "#0 here\n");
    }
    const std::vector<std::string> told = told_by(outside);
    REQUIRE(told.size() == 3);
    CHECK(told[0] == "remote outside, trace #0 here\n");
    CHECK(told[1] == "level 0");
    CHECK(told[2] == "remote at the bottom, trace ");

    // Not without end.
    CHECK(told_by(over_and_back(chain_of(1000), "#0 deep\n")).size() == 18);
}

TEST_CASE("error_registry: an error without a text is one all the same") {
    struct speechless : std::exception {
        const char* what() const noexcept override { return nullptr; }
    };
    try {
        std::rethrow_exception(over_and_back(std::make_exception_ptr(speechless())));
    } catch (const remote_error& e) {
        CHECK_THAT(e.type_name(), Catch::Contains("speechless"));
        CHECK(e.text().empty());
    }
}

TEST_CASE("error_registry: texts are cut at 64 KiB", "[P5]") {
    std::string longer(remote_error::longest_text + 9, 'x');
    try {
        std::rethrow_exception(over_and_back(std::make_exception_ptr(std::runtime_error(longer))));
    } catch (const std::runtime_error& e) {
        CHECK(std::string_view(e.what()).size() == remote_error::longest_text);
    }
}

namespace {
class tea_category : public std::error_category {
public:
    const char* name() const noexcept override { return "tea"; }
    std::string message(int n) const override { return n == 1 ? "too cold" : "too hot"; }
};
const tea_category tea;
} // namespace

TEST_CASE("error_registry: codes and exceptions are values that travel") {
    struct report {
        std::vector<std::error_code> codes;
        std::exception_ptr error, none;
    };
    report sent{{std::make_error_code(std::errc::no_link), std::error_code()},
                std::make_exception_ptr(std::out_of_range("far out")),
                nullptr};
    report got = decode<report>(encode(sent).bytes());
    CHECK(got.codes == sent.codes);
    CHECK(got.none == nullptr);
    CHECK_THROWS_AS(std::rethrow_exception(got.error), std::out_of_range);

    byte_buffer cold = encode(std::error_code(1, tea));
    CHECK_THROWS_AS(decode<std::error_code>(cold.bytes()), codec_error);
    CHECK(register_error_category(tea));
    CHECK(decode<std::error_code>(cold.bytes()).message() == "too cold");
}

TEST_CASE("error_registry: bytes that hold no error are codec_error", "[P5]") {
    archive_writer out;
    encode_error(out, std::make_exception_ptr(own_error("x")));
    archive_writer chain;
    encode_error(chain, chain_of(1));
    for (const archive_writer* whole : {&out, &chain}) {
        for (std::size_t n = 0; n != whole->size(); ++n) {
            archive_reader in(whole->bytes().first(n));
            CHECK_THROWS_AS(decode_error(in), codec_error);
        }
    }
}
