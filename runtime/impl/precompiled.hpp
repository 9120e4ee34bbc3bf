// SPDX-License-Identifier: MIT
// Compiled once for all files of the library: most of what they include is the standard library,
// and parsing it takes g++ half of its time. Each file still includes what it uses, for other
// compilers do without this. The compiler sees it as a main file, hence no #pragma once.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
