// SPDX-License-Identifier: MIT
// Input: a pickle, or not. What is taken for a value must be the same after another journey.
#include "fuzz/targets.hpp"

#include <weft/ipc/error.hpp>
#include <weft/ipc/python_value.hpp>

namespace weft::fuzz {

namespace {

bool same(const ipc::python_value& a, const ipc::python_value& b) {
    using kind = ipc::python_value::kind;
    if (a.type() == kind::real && b.type() == kind::real)
        return a == b || (a.as_real() != a.as_real() && b.as_real() != b.as_real());
    if (a.type() != b.type())
        return false;
    auto equal_items = [](const auto& x, const auto& y) {
        for (std::size_t i = 0; i != x.size(); ++i)
            if (!same(x[i], y[i]))
                return false;
        return true;
    };
    switch (a.type()) {
    case kind::list:
    case kind::tuple:
    case kind::set:
        return a.items().size() == b.items().size() && equal_items(a.items(), b.items());
    case kind::dict:
        if (a.pairs().size() != b.pairs().size())
            return false;
        for (std::size_t i = 0; i != a.pairs().size(); ++i)
            if (!same(a.pairs()[i].first, b.pairs()[i].first) ||
                !same(a.pairs()[i].second, b.pairs()[i].second))
                return false;
        return true;
    default:
        return a == b;
    }
}

} // namespace

void pickle(bytes input) {
    try {
        ipc::python_value value = ipc::unpickle(input);
        ipc::byte_buffer written = ipc::pickle(value);
        // What parts shared is written out each time, so the allowance is for what there is.
        ipc::python_value back = ipc::unpickle(written.bytes(), {.growth = 64});
        must(same(value, back), "a value changes on the way");
    } catch (const ipc::codec_error&) {
    }
}

} // namespace weft::fuzz
