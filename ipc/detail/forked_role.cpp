// SPDX-License-Identifier: MIT
#include <weft/ipc/detail/forked_role.hpp>

#include "../impl/fork_server.hpp"
#include "../impl/process_record.hpp"

#include <weft/runtime/error.hpp>

#include <csignal>
#include <string>

namespace weft::ipc::detail {

namespace {

// Calls the role's function with all descriptors that came along.
void take_role(archive_reader& in, archive_writer&, const std::stop_token&) {
    const auto name = ipc::decode<std::string>(in);
    in.finish();
    const worker_role* role = worker_role::find(name.c_str());
    const std::optional<process_parent> parent = parent_process();
    if (role == nullptr || !parent)
        throw state_error("a process was forked for a role that it doesn't know: " + name);
    const std::vector<descriptor> all = in.carried().release();
    std::vector<int> numbers;
    numbers.reserve(all.size());
    for (const descriptor& d : all)
        numbers.push_back(d.get());
    // As in a worker that was started anew: the parent decides what an interrupt means.
    if (role->kind == role_kind::worker || role->kind == role_kind::helper)
        std::signal(SIGINT, SIG_IGN);
    if (int code = role->run(parent->sentinel(), numbers); code != 0)
        throw process_exit(code);
}

struct role_taker {};
const function_entry role_entry{typeid(role_taker), typeid(void(role_taker)), take_role, false};

} // namespace

forked_role::forked_role(const worker_role& role, std::string_view name, bool by_server,
                         std::vector<descriptor> descriptors) {
    process_arguments arguments;
    ipc::encode<std::string_view>(arguments.out, role.name);
    for (descriptor& d : descriptors)
        arguments.passed.add(std::move(d));
    process_options options;
    options.name = name;
    options.start = by_server ? start_method::forkserver : start_method::fork;
    record_ = std::make_shared<process_record>(options, role_entry, arguments);
}

task<child> forked_role::start_elsewhere() const { return fork_elsewhere(record_); }

int fork_server_pid() { return fork_server::instance().pid(); }

void end_fork_server() noexcept { fork_server::instance().stop(); }

child forked_role::start_here() const { return fork_process(*record_); }

} // namespace weft::ipc::detail
