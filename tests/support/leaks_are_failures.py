#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the hidden case of audit_test.cpp, which leaks, and checks that the audit made it fail. Usage: PROGRAM"""
import subprocess
import sys

run = subprocess.run([sys.argv[1], "[.leaks]"], capture_output=True, text=True, timeout=60)
print(run.stdout, run.stderr)
expected = ["audit: the test did not leave things as they were", "is left: anon_inode:[eventfd]", "1 failed"]
missing = [text for text in expected if text not in run.stdout]
if run.returncode == 0 or missing or run.stdout.count("did not leave things") != 1:
    sys.exit(f"the leak was not reported as it should be; status {run.returncode}, missing {missing}")
