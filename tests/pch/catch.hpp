// SPDX-License-Identifier: MIT
// Compiled once for each test program: Catch2 costs 1.3 s, a small test file without it 0.4 s. The
// compiler sees it as a main file, hence no #pragma once.
#include <catch2/catch.hpp>
