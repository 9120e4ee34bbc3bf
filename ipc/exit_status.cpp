// SPDX-License-Identifier: MIT
#include <weft/ipc/exit_status.hpp>

#include <cstring>

namespace weft::ipc {

std::string exit_status::text() const {
    switch (kind_) {
    case kind::exited:
        return "exited with code " + std::to_string(value_);
    case kind::killed: {
        std::string s = "killed by signal " + std::to_string(value_);
        if (const char* name = ::sigabbrev_np(value_))
            s.append(" (SIG").append(name).append(")");
        return core_dumped_ ? s + ", core dumped" : s;
    }
    case kind::unknown:
        break;
    }
    return "ended, and somebody else took its status";
}

} // namespace weft::ipc
