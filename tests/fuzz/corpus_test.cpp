// SPDX-License-Identifier: MIT
// Each target on what was found interesting so far, and on random changes of it.
#include "fuzz/targets.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

namespace {

namespace fs = std::filesystem;
using weft::fuzz::target;

std::vector<std::byte> content_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(in), {});
    auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
}

std::vector<fs::path> files_of(const target& t) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(fs::path(WEFT_FUZZ_CORPUS) / t.name))
        files.push_back(entry.path());
    std::ranges::sort(files);
    return files;
}

// One change of the kinds that a fuzzer makes.
void change(std::vector<std::byte>& b, std::mt19937& random) {
    auto below = [&](std::size_t n) { return static_cast<std::ptrdiff_t>(random() % n); };
    auto any = [&] { return static_cast<std::byte>(random()); };
    if (b.empty() || random() % 8 == 0) {
        b.insert(b.begin() + below(b.size() + 1), any());
        return;
    }
    auto where = b.begin() + below(b.size());
    switch (random() % 5) {
    case 0:
        *where = any();
        break;
    case 1:
        *where ^= static_cast<std::byte>(1u << random() % 8);
        break;
    case 2: // numbers at the edge
        std::fill(where, b.begin() + std::min<std::ptrdiff_t>(where - b.begin() + 8, std::ssize(b)),
                  random() % 2 == 0 ? std::byte{0xff} : std::byte{0});
        break;
    case 3:
        b.erase(where, b.begin() + std::min<std::ptrdiff_t>(where - b.begin() + 1 + below(4),
                                                            std::ssize(b)));
        break;
    default: {
        std::vector<std::byte> piece(where, b.end());
        piece.resize(std::min<std::size_t>(piece.size(), 1 + random() % 16));
        b.insert(b.begin() + below(b.size() + 1), piece.begin(), piece.end());
        break;
    }
    }
}

// Throws what the target does.
void try_all(const target& t, unsigned seed, int changed_ones) {
    std::vector<std::vector<std::byte>> inputs;
    for (const fs::path& file : files_of(t)) {
        INFO(file);
        inputs.push_back(content_of(file));
        t.run(inputs.back());
    }
    REQUIRE(inputs.size() >= 5);
    std::mt19937 random(seed);
    for (int i = 0; i != changed_ones; ++i) {
        std::vector<std::byte> input = inputs[random() % inputs.size()];
        for (unsigned n = 1 + static_cast<unsigned>(random() % 4); n != 0; --n)
            change(input, random);
        INFO("changed input " << i);
        t.run(input);
    }
}

} // namespace

TEST_CASE("fuzz: readers of what strangers wrote keep their rules on the corpus and near it",
          "[P5][P14][P21]") {
    const unsigned seed = std::random_device()();
    for (const target& t : weft::fuzz::targets) {
        CAPTURE(t.name, seed);
        CHECK_NOTHROW(try_all(t, seed, 2000));
    }
}
