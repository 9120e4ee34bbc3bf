// SPDX-License-Identifier: MIT
// The entry that libFuzzer calls; WEFT_FUZZ_TARGET is the name of one function of targets.hpp.
#include "fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size);

int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    weft::fuzz::WEFT_FUZZ_TARGET({reinterpret_cast<const std::byte*>(data), size});
    return 0;
}
