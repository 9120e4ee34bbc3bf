// SPDX-License-Identifier: MIT
#include <weft/executors/detail/worker_end.hpp>

#include <weft/ipc/detail/one_line.hpp>

namespace weft::detail {

std::string worker_end::text() const {
    std::string s = status.text();
    if (out_of_memory)
        s += " because memory ran out";
    if (std::string last = ipc::detail::one_line(last_words, 256); !last.empty())
        s.append("; it last wrote: ").append(last);
    return s;
}

} // namespace weft::detail
