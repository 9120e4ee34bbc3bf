// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/type_name.hpp>

#include <cstdlib>
#include <cxxabi.h>
#include <memory>

namespace weft::ipc::detail {

std::string readable_type_name(const char* name) {
    struct release {
        void operator()(char* p) const noexcept { std::free(p); }
    };
    int status = 0;
    std::unique_ptr<char, release> readable(abi::__cxa_demangle(name, nullptr, nullptr, &status));
    return status == 0 && readable ? readable.get() : name;
}

} // namespace weft::ipc::detail
