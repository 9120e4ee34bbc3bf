// SPDX-License-Identifier: MIT
#include <weft/ipc/secret_bytes.hpp>

#include <weft/runtime/buffer.hpp>
#include <weft/runtime/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <sys/random.h>

namespace weft::ipc {

secret_bytes::secret_bytes(std::size_t n) : size_(n) {
    if (n == 0)
        return;
    void* pages = ::mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        throw_errno(errno, "map pages", "for secret bytes");
    data_ = static_cast<std::byte*>(pages);
    if (::madvise(pages, n, MADV_DONTDUMP) != 0 || ::madvise(pages, n, MADV_WIPEONFORK) != 0) {
        int e = errno;
        ::munmap(pages, n);
        throw_errno(e, "keep pages to this process", "for secret bytes");
    }
}

secret_bytes::secret_bytes(std::span<const std::byte> bytes) : secret_bytes(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), data_);
}

secret_bytes::secret_bytes(std::string_view text) : secret_bytes(as_bytes(text)) {}

secret_bytes secret_bytes::random(std::size_t n) {
    secret_bytes s(n);
    for (std::size_t have = 0; have != n;) {
        ssize_t got = ::getrandom(s.data_ + have, n - have, 0);
        if (got < 0 && errno != EINTR)
            throw_errno(errno, "get random bytes");
        have += got < 0 ? 0 : static_cast<std::size_t>(got);
    }
    return s;
}

secret_bytes::~secret_bytes() {
    if (data_ == nullptr)
        return;
    ::explicit_bzero(data_, size_);
    ::munmap(data_, size_);
}

} // namespace weft::ipc
