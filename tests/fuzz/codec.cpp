// SPDX-License-Identifier: MIT
// Input: which type, and a message. What is taken for a value of the type must travel as one.
#include "fuzz/targets.hpp"

#include <weft/ipc/codec.hpp>
#include <weft/ipc/error_registry.hpp>

#include <algorithm>
#include <filesystem>
#include <list>
#include <map>
#include <set>
#include <unordered_map>

namespace weft::fuzz {

namespace {

enum class color : std::uint8_t { red, green };
struct point {
    double x, y;
};
struct tree {
    int value = 0;
    std::vector<tree> children;
};
struct everything {
    std::string text;
    std::vector<point> points;
    std::optional<std::pair<color, bool>> choice;
    std::variant<std::monostate, int, std::string, std::vector<std::string>> any;
    std::map<std::string, std::vector<std::u16string>> notes;
    std::array<std::list<long double>, 2> lists;
    std::tuple<char, std::set<std::int64_t>, std::chrono::milliseconds> rest;
};

// Objects may have no single form in bytes (padding is read over, maps have any order); what was
// written once has.
template <class T>
void travels(bytes message) {
    try {
        T value = ipc::decode<T>(message);
        ipc::byte_buffer once = ipc::encode(value);
        must(once.size() <= message.size() + 8,
             "a value is longer than the message that it came in");
        T again = ipc::decode<T>(once.bytes());
        ipc::byte_buffer twice = ipc::encode(again);
        must(once.size() == twice.size(), "a value changes its length on the way");
        if constexpr (!requires { typename T::hasher; })
            must(std::ranges::equal(once.bytes(), twice.bytes()), "a value changes on the way");
    } catch (const ipc::codec_error&) {
    }
}

void error_travels(bytes message) {
    try {
        ipc::archive_reader in(message);
        std::exception_ptr e = ipc::decode_error(in);
        in.finish();
        must(e != nullptr, "no error came");
        ipc::archive_writer out;
        ipc::encode_error(out, e);
        ipc::archive_reader back(out.bytes());
        must(ipc::decode_error(back) != nullptr, "no error came back");
        back.finish();
    } catch (const ipc::codec_error&) {
    }
}

} // namespace

void codec(bytes input) {
    source in(input);
    unsigned which = in.byte();
    // A copy that begins where any object may, as messages do.
    ipc::byte_buffer copy;
    bytes rest = in.rest();
    std::ranges::copy(rest, copy.extend(rest.size()));
    bytes message = copy.bytes();
    switch (which % 8) {
    case 0:
        return travels<everything>(message);
    case 1:
        return travels<tree>(message);
    case 2:
        return travels<std::vector<std::vector<std::uint16_t>>>(message);
    case 3:
        return travels<std::unordered_map<std::string, std::vector<bool>>>(message);
    case 4:
        return travels<std::vector<std::monostate>>(message);
    case 5:
        return travels<std::pair<std::filesystem::path, std::chrono::system_clock::time_point>>(
            message);
    case 6:
        return travels<std::set<std::vector<std::string>>>(message);
    default:
        return error_travels(message);
    }
}

} // namespace weft::fuzz
