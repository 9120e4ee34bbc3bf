// SPDX-License-Identifier: MIT
// Draws graphs with Graphviz, which can be used by one thread of a process at a time: its parser,
// its messages and its layouts keep their state in global variables, and now and then a graph makes
// it crash. Each worker process has a Graphviz of its own.
//
//     build/plain/examples/graphs/graphs --out /tmp/drawn *.dot
//     ninja -C build/plain -t graph tests/sync_tests >sync.dot         is such a file
//
// Writes an SVG file for each; prints what couldn't be drawn and why, and at last how much faster
// it is than in one process. A graph that takes too long, or crashes Graphviz twice, costs nothing
// but itself. The status is 1 if something couldn't be drawn.
#include "../command_line.hpp"
#include "../progress.hpp"
#include "../whole_file.hpp"

#include <weft/executors/process_pool.hpp>
#include <weft/ipc/error.hpp>
#include <weft/ipc/worker_entry.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/task_group.hpp>
#include <weft/runtime/timeout.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include <getopt.h>
#include <graphviz/gvc.h>
#include <sys/resource.h>

namespace {

namespace fs = std::filesystem;
using seconds = std::chrono::duration<double>;

constexpr std::string_view usage = R"(usage: graphs [OPTION...] --out DIRECTORY FILE|DIRECTORY...
  --out DIRECTORY  where the drawings go
  --engine NAME    dot, neato, fdp, sfdp, twopi or circo                      (dot)
  --workers N      processes that draw                   (one for each processor)
  --patience S     how many seconds a graph may take                           (60)
  --no-compare     don't draw some again to see how long one process takes
  --help           says this
)";

struct options {
    unsigned workers = 0;
    unsigned patience = 60;
    bool compare = true;
    std::string engine = "dot";
    fs::path out;
    std::vector<std::string> paths;
};

// --- What workers do: the library, as its documentation says -------------------------------------

struct order {
    std::string file;
    std::string drawing; // where to write it; nowhere if that is empty
    std::string engine;
};
struct drawn {
    int nodes = 0, edges = 0;
    double milliseconds = 0;
};

// One for each process, with the plugins that it loads when they are first needed.
GVC_t* graphviz = nullptr;
// What the library would print.
std::string messages;

void start_graphviz() {
    rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    graphviz = gvContext();
    agseterrf([](char* text) {
        messages += text;
        return 0;
    });
}

[[noreturn]] void fail(const char* otherwise) {
    while (!messages.empty() && messages.back() == '\n')
        messages.pop_back();
    throw std::runtime_error(messages.empty() ? otherwise : messages);
}

drawn draw(const order& o) {
    const auto begin = std::chrono::steady_clock::now();
    std::ifstream file(o.file, std::ios::binary);
    if (!file)
        throw std::system_error(errno, std::generic_category(), "open");
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());

    messages.clear();
    const std::unique_ptr<Agraph_t, int (*)(Agraph_t*)> graph(agmemread(text.c_str()), agclose);
    if (!graph)
        fail("there is no graph in it");
    if (gvLayout(graphviz, graph.get(), o.engine.c_str()) != 0)
        fail("it can't be laid out");
    char* svg = nullptr;
    unsigned length = 0;
    const int rendered = gvRenderData(graphviz, graph.get(), "svg", &svg, &length);
    gvFreeLayout(graphviz, graph.get());
    const std::unique_ptr<char, void (*)(char*)> owned(svg, gvFreeRenderData);
    if (rendered != 0)
        fail("it can't be drawn");
    if (!o.drawing.empty())
        write_whole_file(o.drawing, std::as_bytes(std::span(svg, length)));
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - begin;
    return {agnnodes(graph.get()), agnedges(graph.get()), spent.count()};
}

// --- What there is to do -------------------------------------------------------------------------

struct entry {
    order what;
    drawn result;
    bool failed = false;
};

void add(const options& o, std::vector<entry>& all, const fs::path& file) {
    entry& e = all.emplace_back();
    e.what = {fs::absolute(file).string(),
              (o.out / fmt::format("{:04}-{}.svg", all.size(), file.stem().string())).string(),
              o.engine};
}

std::vector<entry> find_graphs(const options& o) {
    std::vector<entry> all;
    for (const fs::path p : o.paths) {
        std::error_code error;
        if (!fs::is_directory(p, error)) {
            add(o, all, p);
            continue;
        }
        std::vector<fs::path> inside;
        for (fs::directory_iterator i(p, error); !error && i != fs::directory_iterator();
             i.increment(error))
            if (i->path().extension() == ".dot" || i->path().extension() == ".gv")
                inside.push_back(i->path());
        if (error)
            fmt::print(stderr, "graphs: {}: {}\n", p.string(), error.message());
        std::ranges::sort(inside);
        for (const fs::path& file : inside)
            add(o, all, file);
    }
    return all;
}

struct job {
    weft::process_pool& pool;
    std::vector<entry>& entries;
    weft::duration patience;
    progress& shown;
    std::size_t next = 0;
    std::size_t failed = 0;
};

// One of these for each worker, so that the time of a graph doesn't run while it waits for one.
weft::task<> draw_graphs(job& j) {
    while (j.next != j.entries.size()) {
        entry& e = j.entries[j.next++];
        std::string trouble;
        try {
            // To draw twice does no harm, so it may be tried again when a worker is lost.
            e.result = co_await weft::with_timeout(
                j.patience, j.pool.call({.retry = 1}, weft::fn<&draw>, e.what));
        } catch (const weft::broken_executor&) {
            throw;
        } catch (const weft::timeout_error&) {
            trouble = "took too long, and was given up";
        } catch (const weft::ipc::worker_lost& lost) {
            trouble = fmt::format("crashed Graphviz, twice: process {} {}{}", lost.pid(),
                                  lost.status().killed() ? "was " : "", lost.status().text());
        } catch (const std::exception& error) {
            trouble = error.what();
        }
        if (!trouble.empty()) {
            e.failed = true;
            ++j.failed;
            j.shown.say(e.what.file + ": " + trouble);
        }
        j.shown.advance(1);
    }
}

weft::task<> draw_all(job& j) {
    co_await weft::with_task_group([&j](weft::task_group& g) -> weft::task<> {
        for (std::size_t i = 0; i != j.pool.size(); ++i)
            g.spawn(draw_graphs(j));
        co_return;
    });
}

/// Some of those that went well again, in this process and with the workers; nothing is written.
weft::task<> compare(weft::process_pool& pool, const options& o,
                     const std::vector<entry>& entries) {
    constexpr double enough = 2000; // milliseconds
    double all = 0;
    for (const entry& e : entries)
        all += e.result.milliseconds;
    const auto step = static_cast<std::size_t>(std::max(1.0, all / enough));
    std::vector<entry> sample;
    for (std::size_t i = 0; i < entries.size(); i += step) {
        if (!entries[i].failed) {
            sample.push_back(entries[i]);
            sample.back().what.drawing.clear();
        }
    }
    if (sample.empty())
        co_return;

    start_graphviz();
    auto begin = std::chrono::steady_clock::now();
    for (const entry& e : sample)
        static_cast<void>(draw(e.what));
    const seconds one = std::chrono::steady_clock::now() - begin;

    begin = std::chrono::steady_clock::now();
    progress nothing("graphs", 0, false);
    job j{pool, sample, std::chrono::seconds(o.patience), nothing};
    co_await draw_all(j);
    const seconds many = std::chrono::steady_clock::now() - begin;
    fmt::print(
        "{} of them again: one process {:.2f} s, {} workers {:.2f} s: {:.2f} times as fast\n",
        sample.size(), one.count(), pool.size(), many.count(), one / many);
}

weft::task<int> program(const options& o) {
    fs::create_directories(o.out);
    std::vector<entry> entries = find_graphs(o);

    const auto begin = std::chrono::steady_clock::now();
    // A layout that doesn't end can't be asked to stop. And many graphs in a row may be bad ones.
    weft::process_pool pool({.workers = o.workers,
                             .stop_grace = weft::duration::zero(),
                             .deaths_before_broken = 1'000'000},
                            weft::fn<&start_graphviz>);
    std::size_t failed = 0;
    {
        progress bar("graphs", entries.size(), false);
        job j{pool, entries, std::chrono::seconds(o.patience), bar};
        co_await draw_all(j);
        failed = j.failed;
    }
    const seconds spent = std::chrono::steady_clock::now() - begin;
    long nodes = 0, edges = 0;
    for (const entry& e : entries) {
        nodes += e.result.nodes;
        edges += e.result.edges;
    }
    fmt::print("{} graphs with {} nodes and {} edges in {:.2f} s with {} workers; {} failed\n",
               entries.size(), nodes, edges, spent.count(), pool.size(), failed);
    std::fflush(stdout);
    if (o.compare)
        co_await compare(pool, o, entries);
    co_await pool.shutdown();
    co_return failed == 0 ? 0 : 1;
}

// --- Command line --------------------------------------------------------------------------------

/// Fills the options in. Otherwise the status to end with.
std::optional<int> parse(int argc, char** argv, options& o) {
    static const option known[] = {{"out", required_argument, nullptr, 'o'},
                                   {"engine", required_argument, nullptr, 'e'},
                                   {"workers", required_argument, nullptr, 'w'},
                                   {"patience", required_argument, nullptr, 'p'},
                                   {"no-compare", no_argument, nullptr, 'n'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {}};
    static constexpr std::array<std::string_view, 6> engines{"dot",  "neato", "fdp",
                                                             "sfdp", "twopi", "circo"};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "", known, nullptr)) != -1;) {
        switch (c) {
        case 'o':
            o.out = fs::absolute(optarg);
            break;
        case 'e':
            o.engine = optarg;
            good = std::ranges::find(engines, o.engine) != engines.end();
            break;
        case 'w':
            good = read_number(optarg, o.workers, 1000);
            break;
        case 'p':
            good = read_number(optarg, o.patience, 86'400);
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
    if (good && !o.paths.empty() && !o.out.empty())
        return {};
    fmt::print(stderr, "{}", usage);
    return 2;
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
        fmt::print(stderr, "graphs: {}\n", e.what());
        return 1;
    }
}
