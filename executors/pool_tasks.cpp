// SPDX-License-Identifier: MIT
#include <weft/executors/pool_tasks.hpp>

#include <weft/runtime/detail/fork.hpp>
#include <weft/runtime/loop.hpp>

#include <utility>

namespace weft {

std::vector<task_tree> capture_tasks(thread_pool& of, const capture_options& options,
                                     duration within) {
    std::vector<detail::fork_runner*> threads = detail::threads_of(of.state());
    auto ask = [&](std::size_t i, detail::tree_answer answer) {
        detail::fork_runner& r = *threads[i];
        auto look = [&r, answer = std::move(answer), options] {
            answer(detail::capture_strands_of(r, options));
        };
        using message = detail::posted_function<decltype(look)>;
        r.post(*static_cast<detail::work*>(new message(std::move(look))));
    };
    return detail::gather_trees(threads.size(), within, ask);
}

} // namespace weft
