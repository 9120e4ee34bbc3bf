// SPDX-License-Identifier: MIT
#include <weft/ipc/codec.hpp>

namespace weft::ipc::detail {

void bad_value(const char* what) { throw codec_error(what); }

} // namespace weft::ipc::detail
