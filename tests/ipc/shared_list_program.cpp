// SPDX-License-Identifier: MIT
// The other end of python_shared_memory.py.
//
//   shared_list_program show NAME      prints the items of the list of that name, one a line
//   shared_list_program change NAME    puts others into their places
//   shared_list_program make           makes a list, prints its name, waits for its input to end
//   shared_list_program add NAME       adds 1 to each byte of shared memory of that name
#include <weft/ipc/shareable_list.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace weft;
using ipc::shareable_list;
using item = shareable_list::item;

std::vector<std::byte> bytes_of(std::string_view text) {
    std::vector<std::byte> b;
    for (char c : text)
        b.push_back(static_cast<std::byte>(c));
    return b;
}

void show(const item& i) {
    if (auto* b = std::get_if<bool>(&i))
        std::printf("bool %d\n", *b ? 1 : 0);
    else if (auto* n = std::get_if<std::int64_t>(&i))
        std::printf("int %lld\n", static_cast<long long>(*n));
    else if (auto* d = std::get_if<double>(&i))
        std::printf("float %a\n", *d);
    else if (auto* s = std::get_if<std::string>(&i))
        std::printf("str %s\n", s->c_str());
    else if (auto* raw = std::get_if<std::vector<std::byte>>(&i)) {
        std::printf("bytes ");
        for (std::byte x : *raw)
            std::printf("%02x", static_cast<unsigned>(x));
        std::printf("\n");
    } else {
        std::printf("None\n");
    }
}

void make() {
    const std::vector<item> items{std::int64_t{-7},  std::string("text \xc3\xa9"),
                                  std::monostate(),  true,
                                  bytes_of("bytes"), 0.5};
    shareable_list l = shareable_list::create(items);
    std::printf("%s\n", l.memory().name().c_str());
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    for (const item& i : l.items())
        show(i);
    l.memory().unlink();
}

void change(shareable_list l) {
    const std::vector<item> others{false, std::monostate(),      std::string("12345678"),
                                   2.25,  std::int64_t{1} << 40, bytes_of("xyz")};
    for (std::size_t i = 0; i != others.size(); ++i)
        l.set(static_cast<std::ptrdiff_t>(i), others[i]);
}

void add(const ipc::shared_memory& m) {
    for (std::byte& b : m.bytes())
        b = static_cast<std::byte>(static_cast<unsigned>(b) + 1);
}

} // namespace

int main(int argc, char** argv) {
    try {
        std::string_view what = argc > 1 ? argv[1] : "";
        std::string_view name = argc > 2 ? argv[2] : "";
        if (what == "make")
            make();
        else if (what == "change")
            change(shareable_list::open(name));
        else if (what == "add")
            add(ipc::shared_memory::open(name));
        else
            for (const item& i : shareable_list::open(name).items())
                show(i);
        return 0;
    } catch (const std::exception& e) {
        std::printf("%s\n", e.what());
        return 1;
    }
}
