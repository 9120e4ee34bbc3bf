// SPDX-License-Identifier: MIT
// Serves the files of a directory over HTTP: GET and HEAD, one request for each connection.
//
//     build/plain/examples/file_server [DIRECTORY [PORT]]         . and 7002 if none are given
//
// Prints where it serves what, and a line for each request. Nothing outside of the directory is
// served, whatever the path says and wherever links in it lead: the kernel sees to that
// (RESOLVE_BENEATH). Files go to the socket without passing through this program. SIGINT or SIGTERM
// ends it.
#include <weft/runtime/buffered_stream.hpp>
#include <weft/runtime/file.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/tcp.hpp>
#include <weft/runtime/timeout.hpp>

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

/// Opens a regular file under a directory, or gives nothing.
std::optional<weft::file> open_beneath(int directory, const std::string& path) {
    // O_NONBLOCK: a FIFO must not keep us waiting.
    open_how how{.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                 .mode = 0,
                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    if (fd < 0)
        return {};
    weft::file file(weft::descriptor(static_cast<int>(fd)));
    struct stat status{};
    if (fstat(file.fd(), &status) != 0)
        return {};
    if (S_ISDIR(status.st_mode))
        return open_beneath(file.fd(), "index.html");
    if (!S_ISREG(status.st_mode))
        return {};
    return file;
}

/// "/a%20b?c" to "a b". Nothing if it can't be a path.
std::optional<std::string> path_of(std::string_view target) {
    if (!target.starts_with('/'))
        return {};
    std::string path;
    target = target.substr(0, target.find('?'));
    for (std::size_t i = target.find_first_not_of('/'); i < target.size(); ++i) {
        unsigned char byte = static_cast<unsigned char>(target[i]);
        if (byte == '%') {
            const char* digits = target.data() + i + 1;
            if (target.size() - i < 3 ||
                std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2)
                return {};
            i += 2;
        }
        if (byte == '\0')
            return {};
        path += static_cast<char>(byte);
    }
    return path.empty() ? "." : path;
}

weft::task<> answer(weft::tcp_stream& client, int directory) {
    weft::buffered_reader in(client, {.limit = 16 * 1024});
    std::string head = co_await weft::with_timeout(10s, in.read_until("\r\n\r\n"));
    std::string_view line(head.data(), head.find("\r\n"));
    std::string_view method = line.substr(0, line.find(' '));
    std::string_view rest = line.substr(std::min(method.size() + 1, line.size()));
    std::string_view target = rest.substr(0, rest.find(' '));

    std::string_view status = "200 OK";
    std::optional<weft::file> file;
    std::optional<std::string> path = path_of(target);
    if (rest.size() == target.size() || !rest.substr(target.size() + 1).starts_with("HTTP/1.") ||
        !path)
        status = "400 Bad Request";
    else if (method != "GET" && method != "HEAD")
        status = "405 Method Not Allowed";
    else if (file = open_beneath(directory, *path); !file)
        status = "404 Not Found";
    std::uint64_t size = status.size();
    if (file)
        size = co_await file->size();
    fmt::print("{} {}\n", status.substr(0, 3), path.value_or("?"));
    std::fflush(stdout);

    // Without a type: browsers find it out.
    std::string answer =
        fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", status,
                    size, file || method == "HEAD" ? "" : status);
    co_await client.write_all(weft::as_bytes(answer));
    if (file && method == "GET")
        co_await weft::copy(*file, client);
}

weft::task<> serve_one(weft::tcp_stream client, int directory) {
    try {
        client.set_user_timeout(30s); // who takes nothing for so long is given up
        co_await answer(client, directory);
    } catch (const std::exception& e) { // too slow, too long, gone: no answer for this one
        fmt::print(stderr, "{}\n", e.what());
    }
}

weft::task<> accept_all(weft::tcp_listener& listener, weft::task_group& group, int directory) {
    while (true)
        group.spawn(serve_one(co_await listener.accept(), directory));
}

weft::task<> serve(const char* path, weft::socket_address address) {
    weft::signal_set stop(SIGINT, SIGTERM);
    weft::descriptor directory(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        weft::throw_errno(errno, "open", path);
    weft::tcp_listener listener = weft::listen_tcp(address);
    fmt::print("{} is at http://{}/\n", path, listener.local_address().to_string());
    std::fflush(stdout);
    co_await weft::with_task_group([&](weft::task_group& group) -> weft::task<> {
        group.spawn(accept_all(listener, group, directory.get()));
        co_await stop.next();
        group.cancel();
    });
}

} // namespace

int main(int argc, char** argv) {
    try {
        auto address =
            weft::socket_address::parse(fmt::format("127.0.0.1:{}", argc > 2 ? argv[2] : "7002"));
        weft::run(serve(argc > 1 ? argv[1] : ".", address));
    } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
        return 1;
    }
}
