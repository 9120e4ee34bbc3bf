// SPDX-License-Identifier: MIT
#include <weft/ipc/synchronized.hpp>

#include <limits>
#include <stdexcept>

namespace weft::ipc::detail {

namespace {
std::size_t with_lock(std::size_t values) {
    if (values == 0)
        throw std::invalid_argument("a shared array of nothing");
    if (values > std::numeric_limits<std::size_t>::max() - synchronized_memory::room_for_lock)
        throw std::bad_alloc();
    return values + synchronized_memory::room_for_lock;
}
} // namespace

synchronized_memory::synchronized_memory(std::size_t n, std::size_t size)
    : memory_(shared_memory::create_nameless(with_lock(shared_size(n, size)))) {
    ::new (static_cast<void*>(memory_.bytes().data())) recursive_mutex;
}

synchronized_memory::synchronized_memory(shared_memory m, std::size_t size)
    : memory_(std::move(m)) {
    if (memory_.size() < with_lock(size))
        shared_too_small(memory_.size(), with_lock(size));
}

const shared_memory& synchronized_memory::whole() const {
    if (lock_ != nullptr)
        throw codec_error("a synchronized value whose lock lies elsewhere isn't handed over whole: "
                          "pass its memory and that of the lock");
    return memory_;
}

} // namespace weft::ipc::detail
