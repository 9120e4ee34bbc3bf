// SPDX-License-Identifier: MIT
// Input: what is to be set in which place, and a piece of shared memory that somebody else wrote.
#include "fuzz/targets.hpp"

#include <weft/ipc/error.hpp>
#include <weft/ipc/shareable_list.hpp>

#include <algorithm>

namespace weft::fuzz {

namespace {

ipc::shareable_list::item item_of(source& in) {
    switch (in.byte() % 6) {
    case 0:
        return std::monostate();
    case 1:
        return in.byte() % 2 == 0;
    case 2:
        return static_cast<std::int64_t>(in.byte()) - 128;
    case 3:
        return static_cast<double>(in.byte()) / 4;
    case 4:
        return std::string(1 + in.byte() % 20, 'x');
    default:
        return std::vector<std::byte>(1 + in.byte() % 20, std::byte{7});
    }
}

} // namespace

void shareable_list(bytes input) {
    source in(input);
    auto place = static_cast<std::ptrdiff_t>(in.byte()) - 128;
    ipc::shareable_list::item wanted = item_of(in);
    bytes content = in.rest();
    if (content.empty())
        return;
    ipc::shared_memory memory = ipc::shared_memory::create_nameless(content.size());
    std::ranges::copy(content, memory.bytes().begin());
    try {
        ipc::shareable_list list(std::move(memory));
        auto count = static_cast<std::ptrdiff_t>(list.size());
        for (std::ptrdiff_t i = -count; i != count; ++i) {
            try {
                auto item = list.get(i);
                must(list.count(item) >= 1 || item != item, "an item that is there isn't counted");
            } catch (const ipc::codec_error&) { // this one is none; others may be
            }
        }
        std::string before = list.format();
        try {
            list.set(place, wanted);
            must(place >= -count && place < count, "an item in no place");
            must(list.get(place) == wanted, "an item isn't what it was set to");
            must(static_cast<std::ptrdiff_t>(list.size()) == count, "set changes the length");
        } catch (const std::invalid_argument&) { // it doesn't fit: all is as it was
            must(list.format() == before, "what doesn't fit changes something");
        } catch (const std::out_of_range&) {
            must(place < -count || place >= count, "a place that is there isn't found");
        }
        static_cast<void>(list.items());
    } catch (const ipc::codec_error&) {
    }
}

} // namespace weft::fuzz
