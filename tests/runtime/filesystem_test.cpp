// SPDX-License-Identifier: MIT
#include <weft/runtime/filesystem.hpp>

#include "support/audit.hpp"
#include "support/io.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <sys/stat.h>

using namespace weft;
using namespace weft::tests;
using Catch::Matchers::Contains;

namespace {

const resident_thread helpers{"weft-helper"};

template <class A>
task<std::error_code> error_of(A what, std::string text) {
    try {
        co_await std::move(what);
    } catch (const std::system_error& e) {
        CHECK_THAT(e.what(), Contains(text));
        co_return e.code();
    }
    co_return std::error_code();
}

} // namespace

TEST_CASE("filesystem: directories are made, listed and removed") {
    temp_dir dir;
    auto directories = [&]() -> task<> {
        std::string d = dir.path("d");
        co_await create_directory(d, 0750);
        file_status s = co_await file_status_of(d);
        CHECK(s.type == file_type::directory);
        CHECK((s.permissions & ~0750u) == 0);
        auto e = co_await error_of(create_directory(d), "create directory " + d);
        CHECK(e == std::errc::file_exists);
        co_await write_file(d + "/f", {});
        co_await create_symlink("f", d + "/l");
        co_await create_directory(d + "/sub");
        auto entries = co_await list_directory(d);
        std::sort(entries.begin(), entries.end(),
                  [](const auto& a, const auto& b) { return a.name < b.name; });
        REQUIRE(entries.size() == 3);
        CHECK(entries[0].name == "f");
        CHECK(entries[0].type == file_type::regular);
        CHECK(entries[1].name == "l");
        CHECK(entries[1].type == file_type::symlink);
        CHECK(entries[2].name == "sub");
        CHECK(entries[2].type == file_type::directory);
        e = co_await error_of(remove_directory(d), "remove directory " + d);
        CHECK(e == std::errc::directory_not_empty);
        e = co_await error_of(remove_file(d + "/sub"), "remove " + d + "/sub");
        CHECK(e == std::errc::is_a_directory);
        co_await remove_file(d + "/f");
        co_await remove_file(d + "/l");
        co_await remove_directory(d + "/sub");
        co_await remove_directory(d);
        bool there = co_await file_exists(d);
        CHECK_FALSE(there);
        e = co_await error_of(list_directory(d), "list directory " + d);
        CHECK(e == std::errc::no_such_file_or_directory);
    };
    run_within(10s, directories());
}

TEST_CASE("filesystem: renaming replaces in one step, or refuses to") {
    temp_dir dir;
    auto rename = [&]() -> task<> {
        std::string a = dir.path("a");
        std::string b = dir.path("b");
        co_await write_file(a, as_bytes("a"));
        co_await write_file(b, as_bytes("b"));
        auto e =
            co_await error_of(rename_file(a, b, rename_mode::refuse), "rename " + a + " -> " + b);
        CHECK(e == std::errc::file_exists);
        co_await rename_file(a, b);
        std::string contents = co_await read_file(b);
        CHECK(contents == "a");
        bool there = co_await file_exists(a);
        CHECK_FALSE(there);
        co_await rename_file(b, a, rename_mode::refuse);
        there = co_await file_exists(a);
        CHECK(there);
    };
    run_within(10s, rename());
}

TEST_CASE("filesystem: links are followed unless one asks for the link") {
    temp_dir dir;
    auto links = [&]() -> task<> {
        std::string f = dir.path("f");
        std::string l = dir.path("l");
        co_await write_file(f, as_bytes("contents"));
        co_await create_symlink(f, l);
        file_status s = co_await file_status_of(l);
        CHECK(s.type == file_type::regular);
        CHECK(s.size == 8);
        s = co_await file_status_of(l, false);
        CHECK(s.type == file_type::symlink);
        std::string target = co_await read_symlink(l);
        CHECK(target == f);
        co_await create_hard_link(f, dir.path("h"));
        s = co_await file_status_of(f);
        CHECK(s.links == 2);
        co_await remove_file(f);
        bool there = co_await file_exists(l); // leads nowhere
        CHECK_FALSE(there);
        auto e = co_await error_of(read_symlink(f), "read link " + f);
        CHECK(e == std::errc::no_such_file_or_directory);
        e = co_await error_of(file_status_of(f), "stat " + f);
        CHECK(e == std::errc::no_such_file_or_directory);
    };
    run_within(10s, links());
}

TEST_CASE("filesystem: a path with a null character is refused instead of cut") {
    std::string odd("/tmp\0/x", 7);
    CHECK_THROWS_AS(create_directory(odd), std::system_error);
    CHECK_THROWS_AS(remove_file(odd), std::system_error);
    CHECK_THROWS_AS(rename_file("/tmp", odd), std::system_error);
    CHECK_THROWS_AS(run_within(10s, list_directory(odd)), std::system_error);
    CHECK_THROWS_AS(run_within(10s, file_exists(odd)), std::system_error);
}
