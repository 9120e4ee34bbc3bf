// SPDX-License-Identifier: MIT
// Counts the words of files, and of all files in directories, in worker processes: each counts a
// few megabytes at a time, this process adds up.
//
//     build/plain/examples/word_count/word_count --top 5 /usr/share/doc
//
// Prints the most frequent words, how much there was and how long it took; and at last, for a part
// of the input, how much faster that was than it is in one process. On a terminal a bar shows how
// far it is. Files that can't be read are reported and left out; then the status is 1.
#include "../command_line.hpp"
#include "../progress.hpp"
#include "words.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>

#include <getopt.h>

namespace {

namespace fs = std::filesystem;
using seconds = std::chrono::duration<double>;

constexpr std::string_view usage = R"(usage: word_count [OPTION...] FILE|DIRECTORY...
  --workers N   processes that count                     (one for each processor)
  --top N       so many of the most frequent words are printed               (20)
  --part MB     how much is counted at a time                                 (8)
  --no-compare  don't count a part again to see how long one process takes
  --help        says this
)";

struct options {
    unsigned workers = 0;
    unsigned top = 20;
    unsigned part_mb = 8;
    bool compare = true;
    std::vector<std::string> paths;
};

// What a worker gets at a time: a part of a large file, or many small files.
using batch = std::vector<words::part>;

struct input {
    std::vector<words::part> parts;
    std::uint64_t bytes = 0;
    std::size_t files = 0;
    std::size_t left_out = 0;
};

double mb(std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

std::uint64_t size_of(const batch& b) {
    std::uint64_t n = 0;
    for (const words::part& p : b)
        n += p.end - p.begin;
    return n;
}

std::vector<batch> in_batches(const std::vector<words::part>& parts, std::uint64_t size) {
    constexpr std::size_t most_files = 500;
    std::vector<batch> all;
    for (const words::part& p : parts) {
        if (all.empty() || all.back().size() == most_files ||
            size_of(all.back()) + (p.end - p.begin) > size)
            all.emplace_back();
        all.back().push_back(p);
    }
    return all;
}

// --- What there is to count ----------------------------------------------------------------------

void leave_out(input& in, const std::string& path, const std::error_code& why) {
    fmt::print(stderr, "word_count: {}: {}\n", path, why.message());
    ++in.left_out;
}

void add_file(input& in, const std::string& path, std::uint64_t part_size) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(path, error);
    if (error) {
        leave_out(in, path, error);
        return;
    }
    ++in.files;
    in.bytes += size;
    for (std::uint64_t at = 0; at < size; at += part_size)
        in.parts.push_back({path, at, std::min(size, at + part_size)});
}

// Directories are gone through one by one, so that one that can't be read costs nothing but itself.
void add_path(input& in, const std::string& path, std::uint64_t part_size, bool named) {
    std::error_code error;
    const fs::file_status status =
        named ? fs::status(path, error) : fs::symlink_status(path, error);
    if (fs::is_regular_file(status)) {
        add_file(in, path, part_size);
    } else if (fs::is_directory(status)) {
        std::vector<std::string> inside;
        fs::directory_iterator each(path, error);
        for (; !error && each != fs::directory_iterator(); each.increment(error))
            inside.push_back(each->path().string());
        if (error)
            leave_out(in, path, error);
        std::ranges::sort(inside);
        for (const std::string& p : inside)
            add_path(in, p, part_size, false);
    } else if (error || named) { // links and devices within directories aren't meant
        leave_out(in, path, error ? error : std::make_error_code(std::errc::not_supported));
    }
}

// --- Counting ------------------------------------------------------------------------------------

struct job {
    weft::process_pool& pool;
    const std::vector<batch>& batches;
    progress& shown;
    std::size_t next = 0;
    words::table table;
    std::set<std::string> failed; // files
};

void leave_out(job& j, const std::string& file, const std::string& why) {
    if (j.failed.insert(file).second)
        j.shown.say(why);
}

// Several of these keep the workers busy. They run on one loop, so they share the job as it is.
weft::task<> count_batches(job& j) {
    while (j.next != j.batches.size()) {
        const batch& b = j.batches[j.next++];
        try {
            // To count twice does no harm, so it may be tried again if a worker is lost.
            words::counted c = co_await j.pool.call({.retry = 3}, weft::fn<&words::count>, b);
            j.table.add(c.words);
            for (const words::unread& u : c.failed)
                leave_out(j, u.file, u.why);
        } catch (const weft::broken_executor&) {
            throw;
        } catch (const std::exception& e) { // the worker was lost, again and again
            for (const words::part& p : b)
                leave_out(j, p.file, p.file + ": " + e.what());
        }
        j.shown.advance(size_of(b));
    }
}

weft::task<> count_all(job& j) {
    co_await weft::with_task_group([&j](weft::task_group& g) -> weft::task<> {
        // Two for each worker: when it is done with one, another lies there.
        for (std::size_t i = 0; i != 2 * std::size_t{j.pool.size()}; ++i)
            g.spawn(count_batches(j));
        co_return;
    });
}

// Some of it again in this process, and with the workers. Both find the files in the memory of the
// kernel by now.
weft::task<bool> compare(weft::process_pool& pool, const std::vector<batch>& batches) {
    constexpr std::uint64_t enough = 64'000'000;
    std::uint64_t all = 0;
    for (const batch& b : batches)
        all += size_of(b);
    std::vector<batch> sample;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < batches.size(); i += 1 + all / enough) {
        sample.push_back(batches[i]);
        bytes += size_of(batches[i]);
    }

    auto begin = std::chrono::steady_clock::now();
    words::table alone;
    for (const batch& b : sample)
        alone.add(words::count(b).words);
    const seconds one = std::chrono::steady_clock::now() - begin;

    begin = std::chrono::steady_clock::now();
    progress nothing("word_count", 0, true);
    job j{pool, sample, nothing, 0, {}, {}};
    co_await count_all(j);
    const seconds many = std::chrono::steady_clock::now() - begin;
    fmt::print("{:.1f} MB of it again: one process {:.2f} s, {} workers {:.2f} s: {:.2f} times as "
               "fast\n",
               mb(bytes), one.count(), pool.size(), many.count(), one / many);
    co_return alone == j.table;
}

weft::task<int> program(const options& o) {
    const std::uint64_t part_size = std::uint64_t{o.part_mb} * 1'000'000;
    input in;
    for (const std::string& path : o.paths)
        add_path(in, path, part_size, true);
    const std::vector<batch> batches = in_batches(in.parts, part_size);

    const auto begin = std::chrono::steady_clock::now();
    weft::process_pool pool({.workers = o.workers});
    progress bar("word_count", in.bytes, true);
    job j{pool, batches, bar, 0, {}, {}};
    co_await count_all(j);
    const seconds spent = std::chrono::steady_clock::now() - begin;

    for (const auto& [word, n] : j.table.top(o.top))
        fmt::print("{:>12}  {}\n", n, word);
    fmt::print("{:.1f} MB in {} files: {} words, {} different ones, in {:.2f} s with {} workers\n",
               mb(in.bytes), in.files, j.table.total(), j.table.size(), spent.count(), pool.size());
    in.left_out += j.failed.size();
    if (in.left_out != 0)
        fmt::print("left out: {}\n", in.left_out);
    std::fflush(stdout);
    int status = in.left_out == 0 ? 0 : 1;

    if (o.compare && in.bytes != 0) {
        const bool same = co_await compare(pool, batches);
        if (!same) {
            fmt::print("and another result: somebody writes to the files\n");
            status = 1;
        }
    }
    co_await pool.shutdown();
    co_return status;
}

// --- Command line --------------------------------------------------------------------------------

/// Fills the options in. Otherwise the status to end with.
std::optional<int> parse(int argc, char** argv, options& o) {
    static const option known[] = {
        {"workers", required_argument, nullptr, 'w'}, {"top", required_argument, nullptr, 't'},
        {"part", required_argument, nullptr, 'p'},    {"no-compare", no_argument, nullptr, 'n'},
        {"help", no_argument, nullptr, 'h'},          {}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (c) {
        case 'w':
            good = read_number(optarg, o.workers, 1000);
            break;
        case 't':
            good = read_number(optarg, o.top, 1'000'000);
            break;
        case 'p':
            good = read_number(optarg, o.part_mb, 256);
            break;
        case 'n':
            o.compare = false;
            break;
        case 'h':
            fmt::print("{}", usage);
            return 0;
        default:
            good = false;
        }
    }
    o.paths.assign(argv + optind, argv + argc);
    if (good && !o.paths.empty())
        return {};
    fmt::print(stderr, "{}", usage);
    return 2;
}

} // namespace

int main(int argc, char** argv) {
    if (auto status = weft::ipc::worker_entry(argc, argv))
        return *status;
    options o;
    if (auto status = parse(argc, argv, o))
        return *status;
    try {
        return weft::run(program(o));
    } catch (const std::exception& e) {
        fmt::print(stderr, "word_count: {}\n", e.what());
        return 1;
    }
}
