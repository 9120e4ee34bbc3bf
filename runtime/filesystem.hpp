// SPDX-License-Identifier: MIT
// The file system: what is there, and making, renaming and removing it.
//
//     weft::task<> replace(std::string path, std::string_view text) {
//         co_await weft::write_file(path + ".new", weft::as_bytes(text));
//         co_await weft::rename_file(path + ".new", path);
//     }
//     weft::task<> list(std::string path) {
//         for (const weft::directory_entry& e : co_await weft::list_directory(path))
//             fmt::print("{}\n", e.name);
//     }
//
// Threads:      any number of operations at the same time.
// Cancellation: the kernel is asked, but what has begun may still happen.
// Errors:       std::system_error naming operation and path.
// Cost:         a hop to a thread of the kernel, about 3 us; list_directory and read_symlink take
//               one of a few helper threads.
// Source:       statx(2), renameat2(2), unlinkat(2), mkdirat(2); names after std::filesystem.
#pragma once
#include <weft/runtime/detail/request_operation.hpp>
#include <weft/runtime/file.hpp>
#include <weft/runtime/file_status.hpp>
#include <weft/runtime/task.hpp>

#include <string>
#include <vector>

namespace weft {

namespace detail {

// Requests that change the file system and give nothing.
class [[nodiscard]] path_op : public request_operation<path_op> {
public:
    enum class change : int { mkdir, unlink, rmdir, rename, rename_new, symlink, link };
    path_op(change c, std::string first, std::string second, unsigned mode = 0);
    void await_resume() const;
    [[nodiscard]] request fill() const noexcept;

private:
    static const operation_type kind;
    std::string first_;
    std::string second_;
    unsigned mode_;
    change change_;
};

} // namespace detail

/// Of what a path leads to, or with `follow` false of the link itself.
[[nodiscard]] inline detail::status_op file_status_of(std::string path, bool follow = true) {
    return {std::move(path), follow};
}
/// Whether a path leads to anything. Errors other than that it doesn't are thrown.
[[nodiscard]] task<bool> file_exists(std::string path);

/// The directory it is to be in must exist.
[[nodiscard]] inline detail::path_op create_directory(std::string path, unsigned mode = 0777) {
    return {detail::path_op::change::mkdir, std::move(path), {}, mode};
}
/// Removes anything but a directory; of a link the link.
[[nodiscard]] inline detail::path_op remove_file(std::string path) {
    return {detail::path_op::change::unlink, std::move(path), {}};
}
/// Removes an empty directory.
[[nodiscard]] inline detail::path_op remove_directory(std::string path) {
    return {detail::path_op::change::rmdir, std::move(path), {}};
}

enum class rename_mode : int {
    replace, // what has the new name goes away, in one step
    refuse,  // an error (EEXIST) if something has the new name
};
/// Renames a file or directory within a file system.
[[nodiscard]] inline detail::path_op rename_file(std::string from, std::string to,
                                                 rename_mode mode = rename_mode::replace) {
    auto change = mode == rename_mode::replace ? detail::path_op::change::rename
                                               : detail::path_op::change::rename_new;
    return {change, std::move(from), std::move(to)};
}
/// Makes a link at `link` that leads to `target`, which needn't exist.
[[nodiscard]] inline detail::path_op create_symlink(std::string target, std::string link) {
    return {detail::path_op::change::symlink, std::move(target), std::move(link)};
}
/// Gives a file a second name.
[[nodiscard]] inline detail::path_op create_hard_link(std::string file, std::string name) {
    return {detail::path_op::change::link, std::move(file), std::move(name)};
}
/// Where a link leads to.
[[nodiscard]] task<std::string> read_symlink(std::string path);

struct directory_entry {
    directory_entry() noexcept = default;
    directory_entry(std::string n, file_type t) noexcept : name(std::move(n)), type(t) {}
    std::string name;
    file_type type = file_type::unknown; // of the entry itself; unknown on some file systems
};
/// What is in a directory, without "." and "..", in no order.
[[nodiscard]] task<std::vector<directory_entry>> list_directory(std::string path);

} // namespace weft
