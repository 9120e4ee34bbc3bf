# SPDX-License-Identifier: MIT
"""What the tests of the small examples share."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples/tiles"))
from check import Failed, descendants, require, until  # noqa: E402, F401


@contextlib.contextmanager
def serving(*command, cwd=None):
    """A server that says on its first line where it is. Gives (process, that line); ends it by SIGTERM, with status 0,
    and with as many descriptors as it had before it was used."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=cwd)
    lines = []
    first = threading.Event()

    def read():
        for line in process.stdout:
            lines.append(line)
            first.set()
        first.set()
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        require(first.wait(30) and lines, "no word within 30 s")
        process.lines = lines
        before = left_over(process.pid)
        yield process, lines[0].rstrip("\n")
        # What is made with the first client (a ring's buffers) isn't a descriptor.
        until(lambda: left_over(process.pid) == before,
              f"no more than before, {before}; now {left_over(process.pid)}", 20)
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            raise Failed("still running 20 s after SIGTERM") from None
        require(status == 0, f"ended with {status} after SIGTERM")
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def left_over(pid):
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "children": len(descendants(pid))}


class Lines:
    """A connection that speaks in lines."""

    def __init__(self, address, family=socket.AF_INET):
        self.socket = socket.socket(family)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self.bytes = b""

    def say(self, *lines):
        self.socket.sendall("".join(line + "\n" for line in lines).encode())

    def line(self):
        """The next line; None at the end."""
        while b"\n" not in self.bytes:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.bytes += more
        line, _, self.bytes = self.bytes.partition(b"\n")
        return line.decode()

    def expect(self, *lines):
        for wanted in lines:
            got = self.line()
            require(got == wanted, f"{got!r} instead of {wanted!r}")

    def close(self):
        self.socket.close()


def run(main):
    """Runs a test's main with the programs of the command line; says what failed."""
    begin = time.monotonic()
    try:
        main(*sys.argv[1:])
    except Failed as failure:
        sys.exit(f"failed: {failure}")
    print(f"passed in {time.monotonic() - begin:.2f} s")
