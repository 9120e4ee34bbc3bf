// SPDX-License-Identifier: MIT
// Compiled once for each test program: what nearly every test includes, and each of them says so
// itself. Catch2 alone costs 1.3 s. The compiler sees it as a main file, hence no #pragma once.
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/sleep.hpp>
#include <weft/runtime/spawn.hpp>
#include <weft/runtime/task.hpp>
#include <weft/runtime/timeout.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
