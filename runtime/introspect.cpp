// SPDX-License-Identifier: MIT
#include <weft/runtime/introspect.hpp>

#include <weft/runtime/error.hpp>
#include <weft/runtime/loop.hpp>
#include <weft/runtime/runtime.hpp>
#include <weft/runtime/signal.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <string_view>
#include <unistd.h>

namespace weft {

namespace detail {

namespace {

// The awaits of a strand from the innermost coroutine outwards.
class await_chain {
public:
    await_chain(const strand& s, const promise_base* innermost,
                const std::source_location& at) noexcept
        : root_(&static_cast<const branch&>(s)), next_(innermost), at_(at) {}
    explicit await_chain(const strand& s) noexcept : await_chain(s, s.promise, s.awaiting_at) {}

    /// Goes to the next one; false at the end.
    bool next(std::source_location& at) noexcept {
        if (next_ == nullptr)
            return false;
        at = at_;
        const continuation* c = next_->returns_to;
        if (c == root_) {
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

task_info describe(const strand& s, const strand* running, const promise_base* here,
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
    if (s.leaf != nullptr)
        t.waits_for = s.leaf->type().name;
    if ((s.flags & strand::unstarted) == 0)
        note_awaits(t, await_chain(s), max_awaits);
    return t;
}

} // namespace

task_tree capture(const capture_options& options, const promise_base* here,
                  const std::source_location& at) {
    loop& l = this_loop();
    const strand* running = l.current_strand;
    const strand* root = &l.root();
    task_tree tree;
    std::size_t above = task_info::none;
    std::size_t depth = 0;
    for (const strand* s = oldest_child(*root); s != nullptr;) {
        bool shown = is_alive(*s, running);
        if (shown) {
            if (tree.tasks.size() == options.max_tasks) {
                tree.complete = false;
                break;
            }
            task_info t = describe(*s, running, here, at, options.max_awaits);
            t.parent = above;
            t.depth = depth;
            tree.tasks.push_back(std::move(t));
        }
        if (s->first_child != nullptr) {
            if (shown) {
                above = tree.tasks.size() - 1;
                ++depth;
            }
            s = oldest_child(*s);
            continue;
        }
        while (s->previous_sibling == nullptr && s->parent != root) {
            s = s->parent;
            if (is_alive(*s, running)) {
                above = tree.tasks[above].parent;
                --depth;
            }
        }
        s = s->previous_sibling;
    }
    return tree;
}

} // namespace detail

task_tree capture_tasks(const capture_options& options) {
    return detail::capture(options, nullptr, std::source_location());
}

namespace {

// Where loops put their answers. Outlives the asking, for those that come too late.
struct gathering {
    explicit gathering(std::size_t n) : trees(n), left(n) {
        for (task_tree& t : trees)
            t.answered = false;
    }
    void put(std::size_t i, task_tree t) {
        std::lock_guard lock(mutex);
        trees[i] = std::move(t);
        if (--left == 0)
            all_there.notify_one();
    }
    std::mutex mutex;
    std::condition_variable all_there;
    std::vector<task_tree> trees;
    std::size_t left;
};

} // namespace

std::vector<task_tree> capture_tasks(runtime& of, const capture_options& options, duration within) {
    auto g = std::make_shared<gathering>(of.loops());
    loop* own = this_loop_or_null();
    for (std::size_t i = 0; i < of.loops(); ++i) {
        if (&of.get_loop(i) != own)
            of.get_loop(i).post([g, i, options] { g->put(i, capture_tasks(options)); });
    }
    for (std::size_t i = 0; i < of.loops(); ++i) {
        if (&of.get_loop(i) == own)
            g->put(i, capture_tasks(options));
    }
    std::unique_lock lock(g->mutex);
    g->all_there.wait_until(lock, saturated_sum(clock::now(), within),
                            [&] { return g->left == 0; });
    return g->trees;
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

std::string_view file_of(const std::source_location& where) noexcept {
    std::string_view s = where.file_name();
    std::size_t slash = s.rfind('/');
    return slash == s.npos ? s : s.substr(slash + 1);
}

void append(std::string& text, const task_info& t) {
    auto out = std::back_inserter(text);
    std::size_t indent = 2 * std::min(t.depth, deepest_indent);
    text.append(indent, ' ');
    if (t.depth > deepest_indent)
        fmt::format_to(out, "({} levels down) ", t.depth);
    bool known = t.started_at.line() != 0;
    if (!t.name.empty())
        text += t.name;
    if (known)
        fmt::format_to(out, "{}started at {}:{}", t.name.empty() ? "" : ", ", file_of(t.started_at),
                       t.started_at.line());
    if (t.name.empty() && !known)
        text += "part";
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
    for (const std::source_location& at : t.awaits) {
        text.append(indent + 6, ' ');
        fmt::format_to(out, "at {} ({}:{})\n", function_name(at), file_of(at), at.line());
    }
    if (t.awaits_left_out != 0) {
        text.append(indent + 6, ' ');
        fmt::format_to(out, "and {} more\n", t.awaits_left_out);
    }
}

} // namespace

std::string to_string(const task_tree& tree) {
    std::string text;
    for (const task_info& t : tree.tasks)
        append(text, t);
    if (!tree.complete)
        text += "and more\n";
    if (!tree.answered)
        text += "the loop is busy and did not answer\n";
    return text;
}

task<> dump_on_signal(int signal, runtime* of) {
    signal_set s(signal);
    while (true) {
        co_await s.next();
        std::string text;
        if (of == nullptr) {
            task_tree tree = co_await capture_tasks_here();
            text = to_string(tree);
        } else {
            std::size_t i = 0;
            for (const task_tree& tree : capture_tasks(*of))
                text += fmt::format("loop {}\n{}", i++, to_string(tree));
        }
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

} // namespace weft
