// SPDX-License-Identifier: MIT
// Makes small pictures of all JPEG and PNG files under a directory, and a page that shows them.
//
//     build/plain/examples/pictures/pictures ~/Pictures /tmp/sheet
//
// Then open /tmp/sheet/index.html. Worker processes decode, shrink, sharpen and encode. Files are
// from anywhere and codecs are large programs, so some pictures are broken, and some may crash the
// codec, or keep it busy for ever: that costs a worker, and the one picture, which the page shows
// as such. Prints each that failed, and at last how much faster all this is than in one process.
// The status is 1 if some failed.
#include "../command_line.hpp"
#include "../progress.hpp"
#include "../whole_file.hpp"
#include "picture.hpp"
#include "sheet.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/ipc/error.hpp>
#include <weft/ipc/error_registry.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <getopt.h>
#include <poll.h>
#include <sys/resource.h>

namespace {

namespace fs = std::filesystem;
using seconds = std::chrono::duration<double>;

constexpr std::string_view usage = R"(usage: pictures [OPTION...] DIRECTORY OUTPUT
  --workers N     processes that work                    (one for each processor)
  --size N        longer side of the small pictures, in pixels              (320)
  --patience S    how many seconds a picture may take                        (30)
  --no-compare    don't make some again to see how long one process takes
  --crash TEXT    pictures with this in their names crash the codec, and
  --hang TEXT     with this, keep it busy for ever: to see what becomes of it
  --help          says this
)";

struct options {
    unsigned workers = 0;
    unsigned size = 320;
    unsigned patience = 30;
    bool compare = true;
    std::string crash, hang;
    fs::path from, to;
};

// --- What workers do -----------------------------------------------------------------------------

enum class trouble : std::uint8_t { none, crash, hang };

struct order {
    std::string file;
    std::string thumbnail; // where to write it; nowhere if that is empty
    unsigned size = 0;
    trouble wanted = trouble::none;
};
struct made {
    unsigned width = 0, height = 0;
    double milliseconds = 0;
    std::string warning;
};

// So that it arrives as what it is, and not as an error of an unknown type.
[[maybe_unused]] const bool travels = weft::ipc::register_error<pictures::picture_error>();

/// Before a worker's first picture.
void prepare_worker() {
    rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
}

/// A picture that wants more memory is a broken one; and a codec that was taken over by one finds
/// little that it may do.
weft::worker_options surroundings() {
    weft::worker_options o;
#ifndef WEFT_SANITIZED
    o.limits.memory = std::uint64_t{3} << 30;
    o.system_calls = {.listed = weft::system_call_filter::list::denied,
                      .calls = weft::recommended_denials};
#endif
    return o;
}

std::vector<std::byte> read_file(const std::string& name) {
    std::ifstream f(name, std::ios::binary | std::ios::ate);
    if (!f)
        throw std::system_error(errno, std::generic_category(), "open");
    std::vector<std::byte> bytes(static_cast<std::size_t>(f.tellg()));
    f.seekg(0);
    if (!f.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
        throw std::system_error(errno, std::generic_category(), "read");
    return bytes;
}

made make_thumbnail(const order& o) {
    const auto begin = std::chrono::steady_clock::now();
    if (o.wanted == trouble::crash) {
        std::signal(SIGSEGV, SIG_DFL);
        std::raise(SIGSEGV);
    }
    while (o.wanted == trouble::hang)
        poll(nullptr, 0, 1000);
    pictures::picture p = pictures::decode(read_file(o.file), o.size);
    p = pictures::shrink(std::move(p), o.size);
    pictures::sharpen(p, 0.6F);
    const std::vector<std::byte> file = pictures::encode_jpeg(p, 85);
    if (!o.thumbnail.empty())
        write_whole_file(o.thumbnail, file);
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - begin;
    return {p.full_width, p.full_height, spent.count(), p.warning};
}

// --- What there is to do -------------------------------------------------------------------------

struct entry {
    fs::path file; // below the directory
    order what;
    made result;
    std::string failure;
};

bool is_picture(const fs::path& p) {
    std::string end = p.extension().string();
    std::ranges::transform(end, end.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    return end == ".jpg" || end == ".jpeg" || end == ".png";
}

void find_pictures(const options& o, const fs::path& directory, std::vector<entry>& all) {
    std::vector<fs::directory_entry> inside;
    std::error_code error;
    for (fs::directory_iterator i(directory, error); !error && i != fs::directory_iterator();
         i.increment(error))
        inside.push_back(*i);
    if (error)
        fmt::print(stderr, "pictures: {}: {}\n", directory.string(), error.message());
    std::ranges::sort(inside);
    for (const fs::directory_entry& e : inside) {
        if (e.is_directory(error) && !e.is_symlink(error)) {
            if (!fs::equivalent(e.path(), o.to, error))
                find_pictures(o, e.path(), all);
        } else if (is_picture(e.path()) && e.is_regular_file(error)) {
            const std::string name = e.path().filename().string();
            entry& n = all.emplace_back();
            n.file = e.path().lexically_relative(o.from);
            n.what.file = e.path().string();
            n.what.thumbnail = (o.to / fmt::format("{:05}.jpg", all.size())).string();
            n.what.size = o.size;
            if (!o.crash.empty() && name.find(o.crash) != std::string::npos)
                n.what.wanted = trouble::crash;
            else if (!o.hang.empty() && name.find(o.hang) != std::string::npos)
                n.what.wanted = trouble::hang;
        }
    }
}

struct job {
    weft::process_pool& pool;
    std::vector<entry>& entries;
    weft::duration patience;
    progress& shown;
    std::size_t next = 0;
    std::size_t failed = 0;
};

// One of these for each worker, so that the time of a picture doesn't run while it waits for one.
weft::task<> make_thumbnails(job& j) {
    while (j.next != j.entries.size()) {
        entry& e = j.entries[j.next++];
        try {
            e.result = co_await weft::with_timeout(j.patience,
                                                   j.pool.call(weft::fn<&make_thumbnail>, e.what));
        } catch (const weft::broken_executor&) {
            throw;
        } catch (const weft::timeout_error&) {
            e.failure = "took too long, and was given up";
        } catch (const weft::ipc::worker_lost& lost) {
            e.failure = fmt::format("crashed the codec: process {} {}{}", lost.pid(),
                                    lost.status().killed() ? "was " : "", lost.status().text());
        } catch (const std::exception& error) {
            e.failure = error.what();
        }
        if (!e.failure.empty()) {
            ++j.failed;
            j.shown.say(e.file.string() + ": " + e.failure);
        }
        j.shown.advance(1);
    }
}

weft::task<> make_all(job& j) {
    co_await weft::with_task_group([&j](weft::task_group& g) -> weft::task<> {
        for (std::size_t i = 0; i != j.pool.size(); ++i)
            g.spawn(make_thumbnails(j));
        co_return;
    });
}

/// Some of those that went well again, in this process and with the workers; nothing is written.
weft::task<std::string> compare(weft::process_pool& pool, const options& o,
                                const std::vector<entry>& entries) {
    constexpr double enough = 2000; // milliseconds
    double all = 0;
    for (const entry& e : entries)
        all += e.result.milliseconds;
    const auto step = static_cast<std::size_t>(std::max(1.0, all / enough));
    std::vector<entry> sample;
    for (std::size_t i = 0; i < entries.size(); i += step) {
        if (entries[i].failure.empty()) {
            sample.push_back(entries[i]);
            sample.back().what.thumbnail.clear();
        }
    }
    if (sample.empty())
        co_return "";

    auto begin = std::chrono::steady_clock::now();
    for (const entry& e : sample)
        static_cast<void>(make_thumbnail(e.what));
    const seconds one = std::chrono::steady_clock::now() - begin;

    begin = std::chrono::steady_clock::now();
    progress nothing("pictures", 0, false);
    job j{pool, sample, std::chrono::seconds(o.patience), nothing};
    co_await make_all(j);
    const seconds many = std::chrono::steady_clock::now() - begin;
    co_return fmt::format(
        "{} of them again: one process {:.2f} s, {} workers {:.2f} s: {:.2f} times "
        "as fast",
        sample.size(), one.count(), pool.size(), many.count(), one / many);
}

void write_sheet(const options& o, const std::vector<entry>& entries, const std::string& summary) {
    std::vector<pictures::sheet_entry> shown;
    const fs::path up = fs::absolute(o.from).lexically_normal().lexically_relative(
        fs::absolute(o.to).lexically_normal());
    for (const entry& e : entries) {
        pictures::sheet_entry& s = shown.emplace_back();
        s.name = e.file.string();
        s.link = (up / e.file).string();
        s.in_trouble = !e.failure.empty();
        if (s.in_trouble) {
            s.about = e.failure;
            continue;
        }
        s.thumbnail = fs::path(e.what.thumbnail).filename().string();
        s.about = fmt::format("{} x {}, {:.0f} ms{}{}", e.result.width, e.result.height,
                              e.result.milliseconds, e.result.warning.empty() ? "" : "; ",
                              e.result.warning);
    }
    const std::string page =
        pictures::sheet("Pictures of " + o.from.filename().string(), summary, shown);
    write_whole_file((o.to / "index.html").string(), std::as_bytes(std::span(page)));
}

weft::task<int> program(const options& o) {
    fs::create_directories(o.to);
    std::vector<entry> entries;
    find_pictures(o, o.from, entries);

    const auto begin = std::chrono::steady_clock::now();
    // A codec that hangs can't be asked to stop. And a directory may well have many bad pictures.
    weft::process_pool pool({.workers = o.workers,
                             .stop_grace = weft::duration::zero(),
                             .deaths_before_broken = 1'000'000,
                             .worker = surroundings()},
                            weft::fn<&prepare_worker>);
    std::size_t failed = 0;
    {
        progress bar("pictures", entries.size(), false);
        job j{pool, entries, std::chrono::seconds(o.patience), bar};
        co_await make_all(j);
        failed = j.failed;
    }
    const seconds spent = std::chrono::steady_clock::now() - begin;
    std::string summary = fmt::format("{} pictures in {:.2f} s with {} workers; {} failed",
                                      entries.size(), spent.count(), pool.size(), failed);
    fmt::print("{}\n", summary);
    if (o.compare) {
        const std::string faster = co_await compare(pool, o, entries);
        if (!faster.empty()) {
            fmt::print("{}\n", faster);
            summary += ". " + faster;
        }
    }
    co_await pool.shutdown();
    write_sheet(o, entries, summary);
    fmt::print("{}\n", (o.to / "index.html").string());
    co_return failed == 0 ? 0 : 1;
}

// --- Command line --------------------------------------------------------------------------------

/// Fills the options in. Otherwise the status to end with.
std::optional<int> parse(int argc, char** argv, options& o) {
    static const option known[] = {
        {"workers", required_argument, nullptr, 'w'},  {"size", required_argument, nullptr, 's'},
        {"patience", required_argument, nullptr, 'p'}, {"no-compare", no_argument, nullptr, 'n'},
        {"crash", required_argument, nullptr, 'c'},    {"hang", required_argument, nullptr, 'g'},
        {"help", no_argument, nullptr, 'h'},           {}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (c) {
        case 'w':
            good = read_number(optarg, o.workers, 1000);
            break;
        case 's':
            good = read_number(optarg, o.size, 4096);
            break;
        case 'p':
            good = read_number(optarg, o.patience, 86'400);
            break;
        case 'n':
            o.compare = false;
            break;
        case 'c':
            o.crash = optarg;
            break;
        case 'g':
            o.hang = optarg;
            break;
        case 'h':
            fmt::print("{}", usage);
            return 0;
        default:
            good = false;
        }
    }
    if (!good || argc - optind != 2) {
        fmt::print(stderr, "{}", usage);
        return 2;
    }
    // Workers needn't be where this process is.
    o.from = fs::absolute(argv[optind]).lexically_normal();
    o.to = fs::absolute(argv[optind + 1]).lexically_normal();
    if (!fs::is_directory(o.from)) {
        fmt::print(stderr, "pictures: {} is no directory\n", o.from.string());
        return 2;
    }
    return {};
}

} // namespace

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    try {
        options o;
        if (auto status = parse(argc, argv, o))
            return *status;
        return weft::run(program(o));
    } catch (const std::exception& e) {
        fmt::print(stderr, "pictures: {}\n", e.what());
        return 1;
    }
}
