// SPDX-License-Identifier: MIT
// What exit_program.cpp, which lies beside the tests' program, writes until it ends.
#pragma once
#include <cstdio>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace weft::tests {

inline std::string exit_output(const std::string& mode) {
    char self[4096];
    auto n = ::readlink("/proc/self/exe", self, sizeof self);
    std::string path(self, n > 0 ? static_cast<std::size_t>(n) : 0);
    path = path.substr(0, path.rfind('/')) + "/executors/exit_program " + mode;
    std::FILE* output = ::popen(path.c_str(), "r");
    if (output == nullptr)
        throw std::runtime_error("popen");
    std::string text;
    for (int c; (c = std::fgetc(output)) != EOF;)
        text += static_cast<char>(c);
    if (::pclose(output) != 0)
        text += "failed\n";
    return text;
}

} // namespace weft::tests
