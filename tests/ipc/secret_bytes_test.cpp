// SPDX-License-Identifier: MIT
#include <weft/ipc/secret_bytes.hpp>

#include <weft/ipc/codec.hpp>
#include <weft/runtime/buffer.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>

namespace {

using namespace weft;
using namespace weft::ipc;

// What the kernel says of the mapping that holds `at`: "... dd wf ..."
std::string flags_of(const void* at) {
    std::ifstream maps("/proc/self/smaps");
    std::string line;
    bool here = false;
    while (std::getline(maps, line)) {
        unsigned long first = 0;
        unsigned long last = 0;
        char dash = 0;
        std::istringstream range(line);
        if (range >> std::hex >> first >> dash >> last && dash == '-')
            here = first <= reinterpret_cast<unsigned long>(at) &&
                   reinterpret_cast<unsigned long>(at) < last;
        else if (here && line.starts_with("VmFlags:"))
            return line;
    }
    return {};
}

} // namespace

TEST_CASE("secret_bytes: can't be copied, sent or printed by accident") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<secret_bytes>);
    STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<secret_bytes>);
    STATIC_REQUIRE_FALSE(codable<secret_bytes>);
    secret_bytes a("abc");
    secret_bytes b = a.clone();
    CHECK(as_text(b.bytes()) == "abc");
    CHECK(b.bytes().data() != a.bytes().data());
    secret_bytes c = std::move(a);
    CHECK(as_text(c.bytes()) == "abc");
    c = secret_bytes();
    CHECK(c.size() == 0);
}

TEST_CASE("secret_bytes: random ones have 32 bytes and are others each time") {
    secret_bytes a = secret_bytes::random();
    secret_bytes b = secret_bytes::random();
    CHECK(a.size() == 32);
    CHECK_FALSE(std::ranges::equal(a.bytes(), b.bytes()));
    CHECK(secret_bytes::random(5000).size() == 5000);
}

TEST_CASE("secret_bytes: core dumps leave them out, and a forked child finds them wiped") {
    secret_bytes key("abc");
    std::string flags = flags_of(key.bytes().data());
    CHECK_THAT(flags, Catch::Contains(" dd "));
    CHECK_THAT(flags, Catch::Contains(" wf "));
    pid_t child = ::fork();
    if (child == 0)
        ::_exit(key.bytes()[0] == std::byte{} ? 7 : 1);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
}
