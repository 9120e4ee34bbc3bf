// SPDX-License-Identifier: MIT
#include "worker_voice.hpp"

#include <weft/ipc/codec.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/runtime/unhandled.hpp>

#include <atomic>
#include <cerrno>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>

namespace weft::detail {

namespace {

// A packet has to fit into the socket's buffer as a whole.
constexpr std::size_t longest_told = 32 * 1024;

std::atomic<int> voice_channel{-1};

// Packets are whole or not at all, so threads don't mix them.
void say_packet(const ipc::archive_writer& what) noexcept {
    auto bytes = what.bytes();
    while (::send(voice_channel.load(std::memory_order_relaxed), bytes.data(), bytes.size(),
                  MSG_NOSIGNAL) < 0 &&
           errno == EINTR) {
    }
}

std::string_view cut(std::string_view text) noexcept { return text.substr(0, longest_told); }

void say_stray_error(const unhandled_error& e) {
    ipc::archive_writer out;
    out.write_value(worker_voice::subject::stray_error);
    ipc::encode<std::string_view>(out, cut(e.where));
    ipc::encode<std::string_view>(out, e.spawned_at.line() == 0 ? std::string_view()
                                                                : cut(e.spawned_at.file_name()));
    out.write_value(static_cast<std::uint32_t>(e.spawned_at.line()));
    if (std::string_view(e.text).size() <= longest_told)
        ipc::encode_error(out, e.error);
    else
        ipc::encode_error(out,
                          std::make_exception_ptr(std::runtime_error(std::string(cut(e.text)))));
    say_packet(out);
}

void say_line(ipc::log_level level, std::string_view, std::string_view text) {
    ipc::archive_writer out;
    out.write_value(worker_voice::subject::log_line);
    out.write_value(level);
    ipc::encode<std::string_view>(out, cut(text));
    say_packet(out);
}

} // namespace

void worker_voice::start(int control) noexcept {
    voice_channel.store(control, std::memory_order_relaxed); // before there is another thread
    set_unhandled_error_hook(say_stray_error);
    ipc::logger& log = ipc::get_logger(); // a fork's may be the parent's
    log.set_level(ipc::log_level::nothing);
    log.set_to_stderr(false);
    log.set_sink(say_line);
}

void worker_voice::set_log_level(ipc::log_level least) noexcept {
    ipc::logger& log = ipc::get_logger();
    if (log.sink() == say_line) // else the program has one of its own here
        log.set_level(least);
}

void worker_voice::tell_tasks(std::uint64_t question, std::string_view tree) noexcept {
    try {
        ipc::archive_writer out;
        out.write_value(subject::tasks);
        out.write_value(question);
        ipc::encode<std::string_view>(out, cut(tree));
        say_packet(out);
    } catch (...) { // no memory: the question isn't answered in time
        return;
    }
}

told_tasks hear_worker(std::span<const std::byte> packet, int pid) {
    ipc::archive_reader in(packet);
    switch (in.read_value<worker_voice::subject>()) {
    case worker_voice::subject::stray_error: {
        auto where = ipc::decode<std::string>(in);
        const auto file = ipc::decode<std::string>(in);
        const auto line = in.read_value<std::uint32_t>();
        if (line != 0)
            where += fmt::format(" (started at {}:{})", file, line);
        where += fmt::format(" in the worker {}", pid);
        std::exception_ptr error = ipc::decode_error(in);
        report_unhandled(where.c_str(), std::source_location(), std::move(error));
        break;
    }
    case worker_voice::subject::log_line: {
        const auto level = in.read_value<ipc::log_level>();
        const auto text = ipc::decode<std::string>(in);
        ipc::get_logger().say_for(fmt::format("worker {}", pid), level, text);
        break;
    }
    case worker_voice::subject::tasks: {
        told_tasks told;
        told.question = in.read_value<std::uint64_t>();
        told.tree = ipc::decode<std::string>(in);
        return told;
    }
    default:
        throw ipc::codec_error("a worker said something that nobody understands");
    }
    return {};
}

} // namespace weft::detail
