// SPDX-License-Identifier: MIT
// A page of HTML with small pictures, to be looked at in a browser.
//
// Threads:      as a value's.
// Cancellation: none.
// Errors:       std::bad_alloc.
// Cost:         a string. Source: none.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace pictures {

struct sheet_entry {
    std::string name;
    std::string link;      // path from the page to the picture
    std::string thumbnail; // path from the page; empty if there is none
    std::string about;     // what there is to say
    bool in_trouble = false;
};

[[nodiscard]] std::string sheet(std::string_view title, std::string_view summary,
                                const std::vector<sheet_entry>& entries);

} // namespace pictures
