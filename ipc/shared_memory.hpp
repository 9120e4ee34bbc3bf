// SPDX-License-Identifier: MIT
// Memory that several processes see: under a name, as Python's SharedMemory, or without one, handed
// over as a descriptor.
//
//     weft::task<> share(weft::ipc::connection& worker) {
//         auto m = weft::ipc::shared_memory::create_nameless(4096);
//         m.bytes()[0] = std::byte{7};
//         const int descriptors[] = {m.fd()};
//         co_await worker.send_descriptors(descriptors);
//     }
//     weft::task<std::byte> take(weft::ipc::connection& parent) {
//         auto d = co_await parent.receive_descriptors();
//         auto m = weft::ipc::shared_memory::adopt(std::move(d.at(0)));
//         co_return m.bytes()[0];
//     }
//     std::size_t look_at_python_s(const std::string& name) {
//         return weft::ipc::shared_memory::open(name).size();
//     }
//
// Memory without a name goes away with the last process that has it, whatever ends that process,
// and nobody can make it smaller. A name stays until somebody calls unlink(), or until the program
// is gone if it is tracked. Who writes when is for those who share it to agree upon.
//
// Only those that this process made can be tracked. Python's tracker is of another mind: it also
// takes away what a Python program has merely opened, when that program ends. There,
// SharedMemory(name, track=False) prevents it since 3.13, resource_tracker.unregister before.
//
// Threads:      as a value's; the bytes are as any memory's. Processes: each has a mapping of its
//               own, at an address of its own. The death of one leaves the bytes as they are.
// Cancellation: none; nothing here waits.
// Errors:       std::system_error naming operation and name: EEXIST, ENOENT, EINVAL for a name with
//               a slash in it, ENOSPC if the machine doesn't have that much memory: it is taken at
//               once, so that no access fails later. (A control group with less ends processes.)
//               EFBIG beyond the limit of a file's size. std::invalid_argument for a size of 0.
//               protocol_error for a descriptor of memory that its owner could make smaller.
// Cost:         five system calls; its pages.
// Source:       multiprocessing.shared_memory; shm_open(3), memfd_create(2).
#pragma once
#include <weft/runtime/descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weft::ipc {

template <class T>
struct codec;

struct shared_memory_options {
    /// The name is taken away when this process and all of its family are gone, however they ended:
    /// at most two seconds later. A helper process sees to that, which is started when it is first
    /// needed.
    bool track = false;
};

class shared_memory {
public:
    /// None.
    shared_memory() noexcept = default;
    /// Makes a block of zeros that only this user may open, under a name that is new.
    [[nodiscard]] static shared_memory create(std::size_t size,
                                              const shared_memory_options& options = {});
    /// Under this name, which must be free. It has no slash; the kernel's has one in front.
    [[nodiscard]] static shared_memory create(std::size_t size, std::string_view name,
                                              const shared_memory_options& options = {});
    /// What somebody else has made, in its whole size. It must not be made smaller meanwhile.
    [[nodiscard]] static shared_memory open(std::string_view name);
    /// Makes a block of zeros that others get by its descriptor alone.
    [[nodiscard]] static shared_memory create_nameless(std::size_t size);
    /// What create_nameless made, in another process.
    [[nodiscard]] static shared_memory adopt(descriptor d);

    shared_memory(shared_memory&& other) noexcept { swap(other); }
    shared_memory& operator=(shared_memory&& other) noexcept {
        shared_memory(std::move(other)).swap(*this);
        return *this;
    }
    /// Closes it; a name stays.
    ~shared_memory() { close(); }
    void swap(shared_memory& other) noexcept;

    /// Empty if it is closed. Precondition for whoever keeps it: the block isn't closed meanwhile.
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Without the slash in front; empty if it has none.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Whether the name goes with this process and its family.
    [[nodiscard]] bool tracked() const noexcept { return tracked_; }
    /// To hand over.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Ends this process's use of it. Does nothing if it is closed.
    void close() noexcept;
    /// Takes the name away; whoever has the block keeps it. Also after close(), but only once.
    void unlink();

private:
    friend struct codec<shared_memory>;
    shared_memory(descriptor d, std::string name);
    [[nodiscard]] static std::optional<shared_memory> create_tracked(std::size_t size,
                                                                     std::string_view name);
    void track();

    descriptor fd_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::string name_;
    std::uint64_t device_ = 0, inode_ = 0; // of a tracked one
    bool tracked_ = false;
};

namespace detail {
/// Memory for adopt(), in a process that may make no system call but those for it: the caller has
/// seen to it that there is that much, and that a file may be so long.
[[nodiscard]] descriptor make_nameless(std::size_t size);
} // namespace detail

} // namespace weft::ipc
