#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drives the tiles server from outside, says what it saw, and exits 0 if all of it was as it should be.

    examples/tiles/check.py build/examples/tiles/tiles

With curl: the page, 64 tiles while one worker is killed, a tile that is given up, the event stream, the shutdown.
"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

SHUTDOWN_SECONDS = 10


# Whoever ends a test by SIGTERM (Meson, when it takes too long) wants what it has started to end as well.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("failed: told to end"))


class Failed(Exception):
    """The check found what it says."""


def require(condition, what):
    if not condition:
        raise Failed(what)


def until(condition, what, seconds=30):
    """Waits for a condition. Gives its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        require(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.01)


def png_size(data):
    """Width and height of a PNG of which every chunk and every row is there."""
    require(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG signature")
    at, kinds, pixels = 8, [], b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        crc, = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
        require(crc == zlib.crc32(kind + body), f"checksum of chunk {kind}")
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            pixels += body
        kinds.append(kind)
        at += 12 + length
    require(kinds[0] == b"IHDR" and kinds[-1] == b"IEND", f"chunks {kinds}")
    require((depth, colour) == (8, 2), "not 8 bits each of red, green and blue")
    require(len(zlib.decompress(pixels)) == height * (1 + 3 * width), "rows are missing")
    return width, height


def start_time(pid):
    """When a process started: with its pid that names it for ever. None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def descendants(pid):
    """All processes under one, as (pid, start time)."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(entry))
        except OSError:
            pass  # it has ended since
    found, look = [], [pid]
    while look:
        children = parents.get(look.pop(), [])
        look += children
        found += [(child, start_time(child)) for child in children]
    return found


class Server:
    """The program, serving on a free port. In a `with`, nothing of it is left afterwards."""

    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "--port", "0", *options], stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True)
        line = []
        reader = threading.Thread(target=lambda: line.append(self.process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(30)
        if not line or "http://" not in line[0]:
            self.process.kill()
            raise Failed(f"no address within 30 s, but {line}")
        self.url = line[0].split()[-1].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        self.family = []

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid, since in self.family + descendants(self.pid):
            if since is not None and start_time(pid) == since:
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, number=signal.SIGTERM, within=SHUTDOWN_SECONDS):
        """Asks it to end. Gives the seconds that took."""
        self.family = descendants(self.pid)
        begin = time.monotonic()
        self.process.send_signal(number)
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running {within} s after {number.name}") from None
        require(status == 0, f"ended with {status} after {number.name}")
        took = time.monotonic() - begin
        until(lambda: all(start_time(pid) != since for pid, since in self.family), "children are left over", 2)
        return took


class Events:
    """The event stream, read by a curl of its own."""

    def __init__(self, url):
        self.curl = subprocess.Popen(["curl", "-sSN", url + "/events"], stdout=subprocess.PIPE, text=True)
        self.last, self.count = None, 0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.curl.stdout:
            if line.startswith("data: "):
                self.last = json.loads(line[6:])
                self.count += 1

    def until(self, condition, what, seconds=30):
        """Waits for an event of which the condition is true. Gives the event."""
        return until(lambda: self.last if self.last and condition(self.last) else None, f"event: {what}", seconds)

    def close(self):
        self.curl.kill()
        self.curl.wait()
        self.thread.join()
        self.curl.stdout.close()


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, timeout=120)
    require(done.returncode == 0, f"curl {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout


def check(program, say=print):
    with Server(program, "--workers", "2") as server, tempfile.TemporaryDirectory() as folder:
        say(f"serving   {server.url}/, process {server.pid}")
        page = curl("-f", server.url + "/")
        require(b"<title>weft" in page and page.rstrip().endswith(b"</html>"), "the page isn't the page")
        say(f"page      {len(page)} bytes")

        events = Events(server.url)
        try:
            workers = {w["pid"] for w in events.until(lambda e: len(e["workers"]) == 2, "two workers")["workers"]}
            say(f"events    workers {sorted(workers)}")

            # 64 tiles in one of the slower places, over as many connections as a browser has.
            tiles = subprocess.Popen(["curl", "-sSfZ", "--parallel-max", "6", "--output-dir", folder, "-o", "#1-#2.png",
                                      server.url + "/tile/13/[3593-3600]/[3822-3829].png"], stderr=subprocess.PIPE)
            try:
                events.until(lambda e: e["drawn"] >= 8, "eight tiles drawn")
                busy = events.until(lambda e: any(w["state"] == "busy" for w in e["workers"]), "a busy worker")
                victim = next(w for w in busy["workers"] if w["state"] == "busy")
                require(victim["runs"].endswith("draw") and victim["ms"] >= 0, f"it says what it runs: {victim}")
                os.kill(victim["pid"], signal.SIGKILL)
                say(f"killed    worker {victim['pid']}, drawing {victim['tile']}; {busy['drawn']} of 64 were drawn")
                _, complaint = tiles.communicate(timeout=120)
                require(tiles.returncode == 0, f"64 tiles: {complaint.decode()}")
            finally:
                tiles.kill()
                tiles.wait()
            names = sorted(os.listdir(folder))
            require(len(names) == 64, f"{len(names)} tiles instead of 64")
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    require(png_size(file.read()) == (256, 256), f"{name} isn't 256 pixels each way")
            after = events.until(lambda e: e["drawn"] >= 64 and e["replaced"] >= 1 and len(e["workers"]) == 2,
                                 "all drawn, the worker replaced")
            pids = {w["pid"] for w in after["workers"]}
            require(victim["pid"] not in pids, "the killed worker is still listed")
            say(f"tiles     64 of 64 are good PNGs; p50 {after['p50']:.0f} ms, p99 {after['p99']:.0f} ms")
            say(f"replaced  {victim['pid']}; now {sorted(pids)}")

            # A tile that takes long, and a client that doesn't wait for it.
            slow = subprocess.Popen(["curl", "-s", "-o", os.devnull, server.url + SLOW_TILE])
            try:
                events.until(lambda e: any(w["tile"] for w in e["workers"]), "a worker on the slow tile")
            finally:
                slow.kill()
                slow.wait()
            events.until(lambda e: e["given_up"] >= 1 and all(w["state"] != "busy" for w in e["workers"]),
                         "the tile is given up")
            say("given up  a tile whose client had gone; the workers are idle")

            took = server.stop()
            require(events.curl.wait(5) == 0, "the event stream broke instead of ending")
            say(f"stopped   {took:.2f} s after SIGTERM, status 0; {events.count} events; no process left over")
        finally:
            events.close()


# Near the boundary, far down: thousands of rounds for each pixel.
SLOW_TILE = "/tile/38/120695873044/128379946314.png"

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check.py PROGRAM")
    try:
        check(sys.argv[1], lambda text: print(text, flush=True))
    except Failed as failure:
        sys.exit(f"failed: {failure}")
