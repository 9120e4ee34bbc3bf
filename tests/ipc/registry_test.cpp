// SPDX-License-Identifier: MIT
#include <weft/ipc/registry.hpp>

#include "registry_twin.hpp"

#include <weft/runtime/error.hpp>

#include <catch2/catch.hpp>

#include <numeric>

namespace {

using namespace weft;
using namespace weft::ipc;

int add(int a, int b) { return a + b; }
int add_noexcept(int a, int b) noexcept { return a + b; }
std::string join(std::string_view a, const std::string& b, const char* c) {
    return std::string(a) + b + c;
}
void nothing() {}
double sum(std::stop_token stop, std::span<const double> values) {
    return stop.stop_requested() ? -1 : std::accumulate(values.begin(), values.end(), 0.0);
}
const std::string& longer(const std::string& a, const std::string& b) {
    return a.size() < b.size() ? b : a;
}
std::vector<int> grown(std::vector<int> v) {
    v.push_back(1);
    return v;
}
struct account {
    int balance;
    [[nodiscard]] int after(int amount) const { return balance + amount; }
};

// What a pool does with a call, in one process.
template <class F, class... A>
auto call(F, const A&... arguments) {
    const function_entry& entry = function_of<F, A...>();
    entry.check();
    archive_writer out;
    ipc::detail::call_of<F, A...>::send_arguments(out, arguments...);
    archive_reader in(out.bytes());
    archive_writer answer;
    find_function(entry.id(), entry.signature()).invoke(in, answer, std::stop_token());
    using R = remote_result_t<F, A...>;
    if constexpr (std::is_void_v<R>)
        return answer.size();
    else
        return decode<R>(answer.bytes());
}

// Two functions of the same name, in different source files: twin.cpp has the other one.
int twin() { return 1; }

} // namespace

TEST_CASE("registry: functions are called by id with the arguments that travelled", "[G-13]") {
    CHECK(call(fn<&add>, 2, 3) == 5);
    CHECK(call(fn<&add_noexcept>, 2, 3) == 5);
    CHECK(call(fn<&join>, "a", "b", "c") == "abc");
    CHECK(call(fn<&join>, std::string("a"), std::string_view("b"), "c") == "abc");
    CHECK(call(fn<&nothing>) == 0);
    CHECK(call(fn<&sum>, std::vector<double>{1, 2, 3}) == 6);
    CHECK(call(fn<&longer>, "tea", "coffee") == "coffee");
    CHECK(call(fn<&grown>, std::vector<int>{5}) == std::vector<int>{5, 1});
    CHECK(call(fn<&account::after>, account{10}, 5) == 15);
    // An argument is converted to what the function takes before it travels.
    CHECK(call(fn<&add>, short{2}, 'a') == 2 + 'a');
}

TEST_CASE("registry: lambdas without captures and stateless callables count as functions",
          "[G-13]") {
    CHECK(call([](int n, const std::string& s) { return s + std::to_string(n); }, 4, "x") == "x4");
    CHECK(call([](auto x) { return x * 2; }, 1.5) == 3.0);
    CHECK(call([](auto x) { return x * 2; }, 2) == 4);
    CHECK(call(std::plus<>(), 4, 5) == 9);
    CHECK(call(std::plus<std::string>(), "a", "b") == "ab");
}

TEST_CASE("registry: a stop token is no argument that travels") {
    CHECK(function_of<function_constant<&sum>>().takes_stop());
    CHECK_FALSE(function_of<function_constant<&add>>().takes_stop());
    auto lambda = [](std::stop_token, int n) { return n; };
    CHECK(function_of<decltype(lambda), int>().takes_stop());
    CHECK(call(lambda, 3) == 3);
}

TEST_CASE("registry: ids depend on the function, signatures on what it takes", "[G-13]") {
    auto& a = function_of<function_constant<&add>>();
    auto& b = function_of<function_constant<&add_noexcept>>();
    CHECK(a.id() != b.id());
    CHECK(a.signature() == b.signature());
    CHECK(a.signature() != function_of<function_constant<&join>>().signature());
    CHECK(&find_function(a.id(), a.signature()) == &a);
}

TEST_CASE("registry: an unknown function or another signature is refused") {
    auto& a = function_of<function_constant<&add>>();
    auto& j = function_of<function_constant<&join>>();
    CHECK_THROWS_WITH(find_function(a.id(), j.signature()),
                      Catch::Contains("add") && Catch::Contains("signature"));
    CHECK_THROWS_AS(find_function(a.id() + 1, a.signature()), state_error);
}

TEST_CASE("registry: two functions of one name are refused, whoever of them is asked for") {
    CHECK_THROWS_WITH(call(fn<&twin>), Catch::Contains("twin") && Catch::Contains("rename"));
    auto [id, signature] = weft::tests::id_of_the_other_twin();
    auto& mine = function_of<function_constant<&twin>>();
    REQUIRE(id == mine.id());
    REQUIRE(signature == mine.signature());
    CHECK_THROWS_AS(find_function(id, signature), state_error);
    CHECK_THROWS_AS(mine.check(), state_error);
}

TEST_CASE("registry: arguments that don't fit are codec_error, and the function isn't called") {
    auto& a = function_of<function_constant<&add>>();
    archive_writer answer;
    archive_writer one;
    encode(one, 1);
    archive_reader too_few(one.bytes());
    CHECK_THROWS_AS(a.invoke(too_few, answer, {}), codec_error);
    archive_writer three;
    encode(three, std::tuple(1, 2, 3));
    archive_reader too_many(three.bytes());
    CHECK_THROWS_AS(a.invoke(too_many, answer, {}), codec_error);
    // A text that isn't there is no empty one.
    const char* none = nullptr;
    CHECK_THROWS_AS(call(fn<&join>, "a", "b", none), codec_error);
    CHECK_THROWS_AS(call(fn<&join>, none, "b", "c"), codec_error);
    CHECK_THROWS_AS(call(fn<&join>, "a", none, "c"), codec_error);
}
