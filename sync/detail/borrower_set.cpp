// SPDX-License-Identifier: MIT
#include <weft/sync/detail/borrower_set.hpp>

namespace weft::detail {

void borrower_set::take_all(const borrower_set& other) noexcept {
    if (other.slots_ == nullptr)
        return;
    for (std::size_t i = 0; i <= other.mask_; ++i) {
        const entry& e = other.slots_[i];
        if (e.who != 0)
            insert(e.who).has_token = e.has_token;
    }
}

borrower_set::entry* borrower_set::find(key who) const noexcept {
    if (slots_ == nullptr)
        return nullptr;
    for (std::size_t i = home(who); slots_[i].who != 0; i = (i + 1) & mask_) {
        if (slots_[i].who == who)
            return &slots_[i];
    }
    return nullptr;
}

borrower_set::entry& borrower_set::insert(key who) noexcept {
    std::size_t i = home(who);
    while (slots_[i].who != 0)
        i = (i + 1) & mask_;
    ++size_;
    slots_[i].who = who;
    slots_[i].has_token = false;
    return slots_[i];
}

void borrower_set::erase(key who) noexcept {
    auto hole = static_cast<std::size_t>(find(who) - slots_.get());
    for (std::size_t i = (hole + 1) & mask_; slots_[i].who != 0; i = (i + 1) & mask_) {
        // Whoever would be found at the hole before its own place moves there.
        if (((i - home(slots_[i].who)) & mask_) >= ((i - hole) & mask_)) {
            slots_[hole] = slots_[i];
            hole = i;
        }
    }
    slots_[hole] = entry();
    --size_;
}

} // namespace weft::detail
