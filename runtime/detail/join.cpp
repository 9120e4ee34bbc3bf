// SPDX-License-Identifier: MIT
#include <weft/runtime/detail/join.hpp>

namespace weft::detail {

const operation_type when_all_kind{not_cancelled, "when_all"};
const operation_type when_all_settled_kind{not_cancelled, "when_all_settled"};
const operation_type when_any_kind{not_cancelled, "when_any"};

void join_scope::start(member* members, std::size_t n) noexcept {
    members_ = members;
    count_ = left_ = n;
    for (std::size_t i = 0; i < n; ++i)
        members[i].start_beside(owner());
}

void join_scope::member_ended(member& m, ending e, bool failed) noexcept {
    --left_;
    bool decides =
        policy_ == join_policy::all ? failed : policy_ == join_policy::any && e == ending::finished;
    if (e == ending::stopped)
        any_stopped_ = true;
    if (decides && first_ == none) {
        first_ = m.index;
        for (std::size_t i = 0; i < count_; ++i) {
            // Those that have ended are out of the tree's reach: they wait for nothing any more.
            if (i != m.index)
                members_[i].request_stop();
        }
    }
    if (left_ != 0)
        return;
    // A stop is passed on unless there is something to give: an error or a winner, or every outcome
    // as a value.
    bool stopped = any_stopped_ && first_ == none &&
                   (policy_ != join_policy::settled || owner().stop_pending());
    if (stopped)
        unwind_parent();
    else
        resume_parent();
}

} // namespace weft::detail
