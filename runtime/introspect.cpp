// SPDX-License-Identifier: MIT
#include <weft/runtime/introspect.hpp>

#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>
#include <weft/runtime/timeout.hpp>
#include <weft/runtime/unix_socket.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_map>

namespace weft {

namespace detail {

namespace {

// The awaits of a strand from the innermost coroutine outwards. A strand of a pool is no branch: of
// it they are shown up to a fork, or to whatever else is told of an end.
class await_chain {
public:
    await_chain(const strand& s, const promise_base* innermost,
                const std::source_location& at) noexcept
        : root_(s.roams ? nullptr : &static_cast<const branch&>(s)), next_(innermost), at_(at) {}
    explicit await_chain(const strand& s) noexcept : await_chain(s, s.promise, s.awaiting_at) {}

    /// Goes to the next one; false at the end.
    bool next(std::source_location& at) noexcept {
        if (next_ == nullptr)
            return false;
        at = at_;
        const continuation* c = next_->returns_to;
        if (root_ == nullptr ? c->on_end != nullptr : c == root_) {
            next_ = nullptr;
        } else {
            const auto* outer = static_cast<const frame_continuation*>(c);
            next_ = outer->promise;
            at_ = outer->awaiting_at;
        }
        return true;
    }

private:
    const continuation* root_;
    const promise_base* next_;
    std::source_location at_;
};

void note_awaits(task_info& to, await_chain chain, int limit) {
    std::source_location at;
    std::size_t count = 0;
    auto wanted = static_cast<std::size_t>(std::abs(static_cast<long>(limit)));
    for (await_chain c = chain; c.next(at);)
        ++count;
    std::size_t skip = limit < 0 && count > wanted ? count - wanted : 0;
    to.awaits_left_out = count - std::min(count, wanted);
    for (std::size_t i = 0; i < count - (limit < 0 ? 0 : to.awaits_left_out); ++i) {
        chain.next(at);
        if (i >= skip)
            to.awaits.push_back(at);
    }
}

// Whether a strand still has something to do. One that has ended stays in the tree until its scope
// ends, and the children of a group's body stay below it.
bool is_alive(const strand& s, const strand* running) noexcept {
    return &s == running || s.leaf != nullptr || (s.flags & strand::scheduled) != 0;
}

// New children come in front.
const strand* oldest_child(const strand& s) noexcept {
    const strand* c = s.first_child;
    while (c != nullptr && c->next_sibling != nullptr)
        c = c->next_sibling;
    return c;
}

task_info info_of(const strand& s, const strand* running, const promise_base* here,
                  const std::source_location& at, int max_awaits) {
    task_info t;
    t.name = s.name == nullptr ? "" : s.name;
    t.started_at = s.spawned_at;
    if (&s == running) { // what the strand says of itself is from its last suspension
        t.state = task_state::running;
        if (here != nullptr)
            note_awaits(t, await_chain(s, here, at), max_awaits);
        return t;
    }
    if ((s.flags & strand::scheduled) != 0)
        t.state = task_state::ready;
    else
        t.state = s.stop_pending() ? task_state::stopping : task_state::waiting;
    if (s.leaf != nullptr) {
        t.waits_for = s.leaf->type().name;
        if (auto* describe = s.leaf->type().describe)
            describe(*s.leaf, t);
    }
    if ((s.flags & strand::unstarted) == 0)
        note_awaits(t, await_chain(s), max_awaits);
    return t;
}

} // namespace

// Fills in who waits for whom.
class links {
public:
    void note(const strand& s) { shown_.push_back(&s); }
    void put_into(task_tree& tree) {
        for (std::size_t i = 0; i < shown_.size(); ++i) {
            if ((shown_[i]->flags & strand::joinable) == 0)
                continue;
            const auto& target = static_cast<const spawned&>(*shown_[i]);
            target.listeners.for_each([&](const end_listener& l) {
                if (const strand* by = l.waiter()) {
                    if (std::size_t place = find(by); place != task_info::none)
                        tree.tasks[i].awaited_by.push_back(place);
                }
            });
        }
    }

private:
    std::size_t find(const strand* s) {
        if (places_.empty()) {
            for (std::size_t i = 0; i < shown_.size(); ++i)
                places_.emplace(shown_[i], i);
        }
        auto at = places_.find(s);
        return at == places_.end() ? task_info::none : at->second;
    }
    std::vector<const strand*> shown_;                      // as the tree's tasks
    std::unordered_map<const strand*, std::size_t> places_; // made if somebody waits for somebody
};

namespace {

// Looks at trees of strands, and makes one of tasks.
class tree_maker {
public:
    tree_maker(const capture_options& o, const strand* running, const promise_base* here,
               const std::source_location& at)
        : options_(o), running_(running), here_(here), at_(at) {}

    // What is below a strand. False: there is more than the options allow.
    bool below(const strand& root, std::size_t above, std::size_t depth) {
        for (const strand* s = oldest_child(root); s != nullptr;) {
            bool shown = is_alive(*s, running_);
            if (shown && !note(*s, above, depth))
                return false;
            if (s->first_child != nullptr) {
                if (shown) {
                    above = tree_.tasks.size() - 1;
                    ++depth;
                }
                s = oldest_child(*s);
                continue;
            }
            while (s->previous_sibling == nullptr && s->parent != &root) {
                s = s->parent;
                if (is_alive(*s, running_)) {
                    above = tree_.tasks[above].parent;
                    --depth;
                }
            }
            s = s->previous_sibling;
        }
        return true;
    }
    bool with(const strand& s) {
        return note(s, task_info::none, 0) && below(s, tree_.tasks.size() - 1, 1);
    }
    task_tree take() {
        waits_.put_into(tree_);
        return std::move(tree_);
    }

private:
    bool note(const strand& s, std::size_t above, std::size_t depth) {
        if (tree_.tasks.size() == options_.max_tasks) {
            tree_.complete = false;
            return false;
        }
        task_info t = info_of(s, running_, here_, at_, options_.max_awaits);
        t.parent = above;
        t.depth = depth;
        tree_.tasks.push_back(std::move(t));
        waits_.note(s);
        return true;
    }

    const capture_options& options_;
    const strand* running_;
    const promise_base* here_;
    std::source_location at_;
    task_tree tree_;
    links waits_;
};

} // namespace

task_tree capture(const capture_options& options, const promise_base* here,
                  const std::source_location& at) {
    loop& l = this_loop();
    tree_maker m(options, l.current_strand, here, at);
    static_cast<void>(m.below(l.root(), task_info::none, 0));
    return m.take();
}

task_tree capture_strands_of(const fork_runner& r, const capture_options& options) {
    std::vector<const strand*> roots;
    for (const fork_strand* s = r.strands(); s != nullptr; s = s->next_here)
        roots.push_back(s);
    tree_maker m(options, nullptr, nullptr, std::source_location());
    while (!roots.empty() && m.with(*roots.back())) // the oldest first
        roots.pop_back();
    return m.take();
}

} // namespace detail

task_tree capture_tasks(const capture_options& options) {
    return detail::capture(options, nullptr, std::source_location());
}

// Outlives the asking, for those that come too late.
struct detail::tree_gathering {
    explicit tree_gathering(std::size_t n) : trees(n), left(n) {
        for (task_tree& t : trees)
            t.answered = false;
    }
    std::mutex mutex;
    std::condition_variable all_there;
    std::vector<task_tree> trees;
    std::size_t left;
};

void detail::tree_answer::operator()(task_tree t) const {
    std::lock_guard lock(to_->mutex);
    to_->trees[place_] = std::move(t);
    if (--to_->left == 0)
        to_->all_there.notify_one();
}

std::vector<task_tree>
detail::gather_trees(std::size_t count, duration within,
                     const std::function<void(std::size_t, tree_answer)>& ask) {
    auto g = std::make_shared<tree_gathering>(count);
    for (std::size_t i = 0; i < count; ++i)
        ask(i, tree_answer(g, i));
    std::unique_lock lock(g->mutex);
    g->all_there.wait_until(lock, saturated_sum(clock::now(), within),
                            [&] { return g->left == 0; });
    return g->trees;
}

std::vector<task_tree> capture_tasks(runtime& of, const capture_options& options, duration within) {
    // The own loop comes last: the others look meanwhile.
    loop* own = this_loop_or_null();
    std::optional<detail::tree_answer> mine;
    auto ask = [&](std::size_t i, detail::tree_answer answer) {
        if (&of.get_loop(i) == own)
            mine = std::move(answer);
        else
            of.get_loop(i).post(
                [answer = std::move(answer), options] { answer(capture_tasks(options)); });
        if (i + 1 == of.loops() && mine)
            (*mine)(capture_tasks(options));
    };
    return detail::gather_trees(of.loops(), within, ask);
}

namespace {

// A name as it stands in a declaration, without the type before it.
std::string_view without_result(std::string_view name) noexcept {
    std::size_t depth = 0; // of <> and (), which may hold spaces
    for (std::size_t i = name.size(); i-- > 0;) {
        if (name[i] == '>' || name[i] == ')')
            ++depth;
        else if ((name[i] == '<' || name[i] == '(') && depth > 0)
            --depth;
        else if (name[i] == ' ' && depth == 0)
            return name.substr(i + 1);
    }
    return name;
}

} // namespace

std::string function_name(const std::source_location& where) {
    std::string_view s = where.function_name();
    constexpr std::string_view lambda = "::<lambda"; // as g++ writes them
    if (std::size_t at = s.find(lambda); at != s.npos)
        return std::string(without_result(s.substr(0, at))) + "::lambda";
    // The body of a coroutine is, to g++, `void a::f(f(int)::_ZN1a1fEi.Frame*)`.
    if (s.ends_with(".Frame*)")) {
        for (std::size_t i = s.find('('); i != s.npos; i = s.find('(', i + 1)) {
            std::string_view again = s.substr(i + 1, s.find('(', i + 1) - i);
            if (s.substr(0, i + 1).ends_with(again))
                return std::string(without_result(s.substr(0, i)));
        }
    }
    // Otherwise it is the declaration. clang++ adds what template parameters are: ` [T = int]`.
    s = s.substr(0, s.find(" ["));
    std::size_t open = s.rfind(')');
    std::size_t depth = 0;
    while (open != s.npos && open > 0) {
        if (s[open] == ')')
            ++depth;
        else if (s[open] == '(' && --depth == 0)
            break;
        --open;
    }
    return std::string(without_result(open == s.npos || open == 0 ? s : s.substr(0, open)));
}

namespace {

constexpr std::size_t deepest_indent = 40; // what is further down is told by a number
constexpr std::size_t most_waiters = 8;
constexpr std::size_t most_cycles = 8;

std::string_view file_of(const std::source_location& where) noexcept {
    std::string_view s = where.file_name();
    std::size_t slash = s.rfind('/');
    return slash == s.npos ? s : s.substr(slash + 1);
}

// By what people know a task.
std::string label(const task_info& t) {
    bool known = t.started_at.line() != 0;
    if (t.name.empty() && !known)
        return "part";
    std::string text = t.name;
    if (known)
        fmt::format_to(std::back_inserter(text), "{}started at {}:{}", t.name.empty() ? "" : ", ",
                       file_of(t.started_at), t.started_at.line());
    return text;
}

// The same within a line that is about another one.
std::string reference(const task_info& t) { return t.name.empty() ? label(t) : t.name; }

void append(std::string& text, const task_tree& tree, const task_info& t) {
    auto out = std::back_inserter(text);
    std::size_t indent = 2 * std::min(t.depth, deepest_indent);
    text.append(indent, ' ');
    if (t.depth > deepest_indent)
        fmt::format_to(out, "({} levels down) ", t.depth);
    text += label(t);
    switch (t.state) {
    case task_state::running:
        text += ": runs\n";
        break;
    case task_state::ready:
        text += ": is ready\n";
        break;
    case task_state::waiting:
        fmt::format_to(out, ": waits for {}\n", t.waits_for);
        break;
    case task_state::stopping:
        fmt::format_to(out, ": is stopping, waits for {}\n", t.waits_for);
        break;
    }
    for (const std::string& note : t.notes) {
        text.append(indent + 6, ' ');
        text.append(note).append("\n");
    }
    for (const std::source_location& at : t.awaits) {
        text.append(indent + 6, ' ');
        fmt::format_to(out, "at {} ({}:{})\n", function_name(at), file_of(at), at.line());
    }
    if (t.awaits_left_out != 0) {
        text.append(indent + 6, ' ');
        fmt::format_to(out, "and {} more\n", t.awaits_left_out);
    }
    if (!t.awaited_by.empty()) {
        text.append(indent + 6, ' ');
        text += "awaited by ";
        std::size_t shown = std::min(t.awaited_by.size(), most_waiters);
        for (std::size_t i = 0; i < shown; ++i)
            fmt::format_to(out, "{}{}", i == 0 ? "" : "; ", reference(tree.tasks[t.awaited_by[i]]));
        if (shown != t.awaited_by.size())
            fmt::format_to(out, " and {} more", t.awaited_by.size() - shown);
        text += '\n';
    }
}

} // namespace

// Depth first along "waits for": whom it meets on the way to where it is closes a circle.
std::vector<std::vector<std::size_t>> wait_cycles(const task_tree& tree) {
    std::size_t n = tree.tasks.size();
    std::vector<std::vector<std::size_t>> waits_for(n);
    auto link = [&](std::size_t by, std::size_t on) {
        task_state s = tree.tasks[by].state;
        if (s == task_state::waiting || s == task_state::stopping)
            waits_for[by].push_back(on);
    };
    for (std::size_t i = 0; i < n; ++i) {
        if (tree.tasks[i].parent != task_info::none)
            link(tree.tasks[i].parent, i);
        for (std::size_t by : tree.tasks[i].awaited_by)
            link(by, i);
    }
    struct step {
        std::size_t at;
        std::size_t next = 0; // of those that it waits for
    };
    enum : std::uint8_t { unseen, on_the_way, finished };
    std::vector<std::uint8_t> seen(n, unseen);
    std::vector<std::vector<std::size_t>> cycles;
    std::vector<step> way;
    for (std::size_t begin = 0; begin < n; ++begin) {
        if (seen[begin] != unseen)
            continue;
        seen[begin] = on_the_way;
        way.push_back({begin});
        while (!way.empty()) {
            step& here = way.back();
            if (here.next == waits_for[here.at].size()) {
                seen[here.at] = finished;
                way.pop_back();
                continue;
            }
            std::size_t to = waits_for[here.at][here.next++];
            if (seen[to] == unseen) {
                seen[to] = on_the_way;
                way.push_back({to});
            } else if (seen[to] == on_the_way && cycles.size() < most_cycles) {
                auto first =
                    std::find_if(way.begin(), way.end(), [&](const step& s) { return s.at == to; });
                std::vector<std::size_t>& cycle = cycles.emplace_back();
                for (; first != way.end(); ++first)
                    cycle.push_back(first->at);
            }
        }
    }
    return cycles;
}

std::string to_string(const task_tree& tree) {
    std::string text;
    for (const task_info& t : tree.tasks)
        append(text, tree, t);
    for (const std::vector<std::size_t>& cycle : wait_cycles(tree)) {
        text += "a circle that waits for itself: ";
        for (std::size_t i : cycle)
            fmt::format_to(std::back_inserter(text), "{} -> ", reference(tree.tasks[i]));
        fmt::format_to(std::back_inserter(text), "{}\n", reference(tree.tasks[cycle.front()]));
    }
    if (!tree.complete)
        text += "and more\n";
    if (!tree.answered)
        text += "the loop is busy and did not answer\n";
    return text;
}

namespace {

// Of the loop that runs, or of all loops of a runtime.
task<std::string> dump(runtime* of) {
    if (of == nullptr) {
        task_tree tree = co_await capture_tasks_here();
        co_return to_string(tree);
    }
    std::string text;
    std::size_t i = 0;
    for (const task_tree& tree : capture_tasks(*of))
        text += fmt::format("loop {}\n{}", i++, to_string(tree));
    co_return text;
}

// A path that goes away with its listener, if it is still the same file.
class bound_path {
public:
    explicit bound_path(const socket_address& a) {
        bool abstract = a.data()->sa_data[0] == '\0';
        if (!abstract && ::lstat(a.host().c_str(), &file_) == 0)
            path_ = a.host();
    }
    bound_path(const bound_path&) = delete;
    bound_path& operator=(const bound_path&) = delete;
    ~bound_path() {
        struct stat now{};
        if (!path_.empty() && ::lstat(path_.c_str(), &now) == 0 && now.st_dev == file_.st_dev &&
            now.st_ino == file_.st_ino)
            ::unlink(path_.c_str());
    }

private:
    std::string path_;
    struct stat file_{};
};

} // namespace

task<> dump_on_signal(int signal, runtime* of) {
    signal_set s(signal);
    while (true) {
        co_await s.next();
        std::string text = co_await dump(of);
        // Past stdio, whose buffers and locks belong to the program.
        std::string_view rest = text;
        while (!rest.empty()) {
            ssize_t n = ::write(STDERR_FILENO, rest.data(), rest.size());
            if (n <= 0)
                break; // nobody reads it: nothing to tell, and nobody to tell it to
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
    }
}

task<> dump_on_socket(socket_address at, runtime* of) {
    unix_listener listener = listen_unix(at);
    bound_path there(at);
    while (true) {
        unix_stream s = co_await listener.accept();
        unsigned user = s.peer_credentials().uid;
        if (user != 0 && user != ::geteuid())
            continue;
        try {
            std::string text = co_await dump(of);
            co_await with_timeout(std::chrono::seconds(1), s.write_all(as_bytes(text)));
        } catch (const std::exception&) { // that reader is gone, or doesn't read
            continue;
        }
    }
}

// --- Links ---------------------------------------------------------------------------------------

const detail::end_listener_type wait_link::listens{task_ended, who_waits};

wait_link::wait_link(detail::spawned& on) noexcept
    : end_listener(listens), on_(on.done ? nullptr : &on), by_(nullptr) {
    if (detail::runner* r = detail::runner::current())
        by_ = r->current_strand;
    if (on_ != nullptr)
        on_->listeners.push(*this);
}

wait_link::~wait_link() {
    if (on_ != nullptr)
        on_->listeners.remove(*this);
}

void wait_link::task_ended(end_listener& l, bool) noexcept {
    static_cast<wait_link&>(l).on_ = nullptr;
}

const detail::strand* wait_link::who_waits(const end_listener& l) noexcept {
    return static_cast<const wait_link&>(l).by_;
}

} // namespace weft
