#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""embed.py PAGE HEADER: makes a header that holds a file as a string."""
import sys

with open(sys.argv[1], encoding="utf-8") as page, open(sys.argv[2], "w", encoding="utf-8") as header:
    text = page.read()
    if ')html"' in text:
        sys.exit("the page holds the mark that ends the string")
    header.write("// Made from page.html by embed.py.\n#pragma once\n#include <string_view>\n\n"
                 f'inline constexpr std::string_view page = R"html({text})html";\n')
