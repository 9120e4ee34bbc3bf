// SPDX-License-Identifier: MIT
// Every test program: what a program of weft does before its own business, then Catch2.
#include "support/before_session.hpp"

#define CATCH_CONFIG_RUNNER
// Its handlers would stand between a crash and the sanitizers' report; the case is named by
// support/report.
#define CATCH_CONFIG_NO_POSIX_SIGNALS
#include <catch2/catch.hpp>

std::optional<int> (*weft::tests::before_session)(int, char**) = nullptr;

int main(int argc, char** argv) {
    if (weft::tests::before_session != nullptr) {
        if (auto status = weft::tests::before_session(argc, argv))
            return *status;
    }
    return Catch::Session().run(argc, argv);
}
