#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""wrk against the tiles server with 64 keep-alive connections: not one error, and nothing is left over.

    tests/examples/tiles_load.py build/examples/tiles/tiles [SECONDS]        (2; the issue's figure is 10)

The same by hand:  build/examples/tiles/tiles --port 8080 &  wrk -t2 -c64 -d10s --latency http://127.0.0.1:8080/
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples/tiles"))
from check import Failed, Server, curl, require, until  # noqa: E402
from tiles_hostile import left_over, no_more, settled  # noqa: E402


def wrk(url, seconds):
    # 64 clients that want tiles queue for a few workers: by itself wrk calls more than 2 s an error.
    done = subprocess.run(["wrk", "-t2", "-c64", f"-d{seconds}s", "--timeout", "30s", "--latency", url],
                          capture_output=True, text=True, timeout=seconds + 60)
    text = done.stdout
    require(done.returncode == 0, f"wrk: {done.stderr}")
    require("Socket errors" not in text and "Non-2xx" not in text, text)
    requests = int(re.search(r"(\d+) requests in", text)[1])
    require(requests > 0, text)
    latency = re.search(r"99%\s+(\S+)", text)[1]
    print(f"{requests} requests in {seconds} s, 99% within {latency}, no error: {url}")


def main(program, seconds):
    with Server(program) as server:
        curl("-o", os.devnull, server.url + "/tile/4/5/6.png")
        before = settled(server.pid)
        wrk(server.url + "/", seconds)
        wrk(server.url + "/tile/2/0/0.png", seconds)
        until(lambda: no_more(left_over(server.pid), before),
              f"no more than before, {before}; now {left_over(server.pid)}", 20)
        server.stop()


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        print("skipped: wrk isn't installed")
        sys.exit(77)
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    except Failed as failure:
        sys.exit(f"failed: {failure}")
