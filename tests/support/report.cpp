// SPDX-License-Identifier: MIT
#include "support/report.hpp"

#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace weft::tests {
namespace {

std::string reason_to_skip;

class report_listener : public Catch::TestEventListenerBase {
public:
    using TestEventListenerBase::TestEventListenerBase;

    void testRunStarting(const Catch::TestRunInfo&) override {
        if (const char* name = std::getenv("WEFT_TEST_REPORT")) {
            path_ = name;
            std::ofstream empty(path_, std::ios::trunc);
            // A test that starts its own program again doesn't mean to write here.
            unsetenv("WEFT_TEST_REPORT");
        }
    }
    void testCaseStarting(const Catch::TestCaseInfo& info) override {
        reason_to_skip.clear();
        write("began\t" + info.name);
    }
    void testCaseEnded(const Catch::TestCaseStats& stats) override {
        const bool failed = stats.totals.testCases.failed > 0;
        const char* outcome = failed ? "failed" : reason_to_skip.empty() ? "passed" : "skipped";
        write(std::string(outcome) + '\t' + stats.testInfo.name + '\t' + reason_to_skip);
    }

private:
    void write(const std::string& line) {
        // Opened anew each time: nothing is lost in a crash, and no descriptor is there for tests
        // to see.
        if (!path_.empty())
            std::ofstream(path_, std::ios::app) << line << '\n';
    }

    std::string path_;
};

} // namespace

void skip(std::string_view reason) {
    reason_to_skip = reason;
    std::cout << "skipped: " << Catch::getResultCapture().getCurrentTestName() << ": " << reason
              << '\n';
}

CATCH_REGISTER_LISTENER(report_listener)

} // namespace weft::tests
