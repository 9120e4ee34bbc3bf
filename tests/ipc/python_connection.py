#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""weft's connections against those of multiprocessing.connection, each as listener and as client, with a key and without, over
Unix and TCP, with every CPython that is found. [MP-CONN-03] [MP-CONN-08] [W-FRM-01] [W-FRM-05] [W-AUTH-01] [W-AUTH-03] [W-AUTH-07]
[W-AUTH-09] [W-AUTH-10] [MP-LSN-02] [MP-LSN-05] [MP-CONN-01] [MP-CONN-02]

Usage: python_connection.py PROGRAM          looks for interpreters and runs itself with each of them
       python_connection.py PROGRAM --here   runs with this one
"""
from __future__ import annotations

import datetime
import multiprocessing.connection as mpc
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict

LIMIT = 60
# Up to 3.11 the handshake is MD5's.
OLD = sys.version_info < (3, 12)
SIZES = [0, 1, 100, 16384, 16385, 3_000_000]


def interpreters(since: tuple[int, int] = (3, 8)) -> list[str]:
    """One of each version."""
    names = ["python3"] + [f"python3.{minor}" for minor in range(8, 30)]
    found = [path for path in map(shutil.which, names) if path]
    found += [str(p) for p in pathlib.Path.home().glob(".pyenv/versions/*/bin/python3")]
    by_version = {}
    for path in found:
        asked = subprocess.run(
            [path, "-c", f"import sys, platform as p; assert sys.version_info >= {since}; "
                   "print(p.python_implementation(), p.python_version())"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=LIMIT)
        if asked.returncode == 0 and asked.stdout.startswith("CPython"):
            by_version.setdefault(asked.stdout.strip(), path)
    return [by_version[v] for v in sorted(by_version)]


class Tests:
    def __init__(self, program: str) -> None:
        self.program = program
        self.failures = 0

    def expect(self, what: str, true: bool, otherwise: object = "") -> None:
        if not true:
            self.failures += 1
            print(f"FAILED: {what}: {otherwise}", flush=True)

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen([self.program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    # --- Python calls ---

    def call(self, what: str, at: str, key: bytes | None, md5: bool) -> None:
        server = self.start("serve", at, key.decode() if key is not None else "-", "md5" if md5 else "strict")
        where = server.stdout.readline().strip()
        try:
            self.expect(what, self.talk(where, key), "a message came back changed")
            if key is not None:
                for wrong in (b"another", b""):
                    try:
                        mpc.Client(address_of(where), authkey=wrong)
                        self.expect(what, False, "another key was accepted")
                    except Exception as e:  # which one depends on who notices first
                        self.expect(what, isinstance(e, (mpc.AuthenticationError, EOFError, OSError)), repr(e))
                    self.expect(what, server.stdout.readline().strip() == "refused", "nobody was refused")
                self.expect(what, self.talk(where, key), "after a failure nobody comes in")
        except Exception as e:
            self.expect(what, False, repr(e))
        finally:
            server.stdin.close()
            self.expect(what, server.wait(LIMIT) == 0, "status of the server")

    def talk(self, where: str, key: bytes | None) -> bool:
        with mpc.Client(address_of(where), authkey=key) as c:
            for size in SIZES:
                message = bytes([size % 251]) * size
                c.send_bytes(message)
                if c.recv_bytes() != message:
                    return False
        return True

    # --- Python listens ---

    def listen(self, what: str, at: str, key: bytes | None, md5: bool) -> None:
        with mpc.Listener(address_of(at), authkey=key) as listener:
            thread = threading.Thread(target=self.serve, args=(listener,), daemon=True)
            thread.start()
            where = text_of(listener.address)
            said = self.run("call", where, key, md5)
            self.expect(what, said == "sent all", said)
            thread.join(LIMIT)
            if key is not None:
                thread = threading.Thread(target=self.serve, args=(listener,), daemon=True)
                thread.start()
                said = self.run("call", where, b"another", md5)
                self.expect(what, said == "authentication_error", said)
                thread.join(LIMIT)
            self.expect(what, not thread.is_alive(), "the listener hangs")

    def serve(self, listener: mpc.Listener) -> None:
        try:
            with listener.accept() as c:
                while True:
                    c.send_bytes(c.recv_bytes())
        except (EOFError, mpc.AuthenticationError, ConnectionError):
            pass

    def run(self, role: str, where: str, key: bytes | None, md5: bool) -> str:
        arguments = [role, where, key.decode() if key is not None else "-", "md5" if md5 else "strict"]
        return subprocess.run([self.program, *arguments], stdout=subprocess.PIPE, text=True, timeout=LIMIT).stdout.strip()

    # --- Values ---

    def values(self, at: str) -> None:
        what = "plain values"
        server = self.start("values", at, "-", "strict")
        where = server.stdout.readline().strip()
        try:
            with mpc.Client(address_of(where)) as c:
                for value in plain_values():
                    c.send(value)
                    self.expect(what, same(c.recv(), value), value)
                    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                        if protocol < 4 and not old_enough(value):
                            continue  # built by calls
                        c.send_bytes(pickle.dumps(value, protocol))
                        self.expect(what, same(c.recv(), value), (protocol, value))
                for value in other_values():
                    c.send(value)
                    self.expect(what, c.recv() == "refused", value)
        except Exception as e:
            self.expect(what, False, repr(e))
        finally:
            server.stdin.close()
            server.wait(LIMIT)
        with mpc.Listener(address_of("127.0.0.1:0")) as listener:
            thread = threading.Thread(target=self.send_back_values, args=(listener,), daemon=True)
            thread.start()
            said = self.run("ask", text_of(listener.address), None, False)
            self.expect(what, said == "sent all", said)
            thread.join(LIMIT)

    def send_back_values(self, listener: mpc.Listener) -> None:
        try:
            with listener.accept() as c:
                while True:
                    c.send(c.recv())
        except EOFError:
            pass

    # --- MD5 is an option ---

    def refuses_md5(self, at: str) -> None:
        what = "MD5 without having been allowed"
        server = self.start("serve", at, "key", "strict")
        where = server.stdout.readline().strip()
        try:
            mpc.Client(address_of(where), authkey=b"key")
            self.expect(what, False, "the client was let in")
        except Exception as e:
            self.expect(what, isinstance(e, mpc.AuthenticationError), repr(e))
        server.stdin.close()
        server.wait(LIMIT)
        with mpc.Listener(address_of("127.0.0.1:0"), authkey=b"key") as listener:
            thread = threading.Thread(target=self.serve, args=(listener,), daemon=True)
            thread.start()
            said = self.run("call", text_of(listener.address), b"key", False)
            self.expect(what, said == "authentication_error", said)
            thread.join(LIMIT)


def plain_values() -> list:
    recursive_use = ["shared", (1, 2)]
    values = [None, True, False, 0, 1, 255, 256, 65535, 65536, -1, -(2 ** 31), 2 ** 31, 2 ** 63 - 1, -(2 ** 63), 0.0, -1.5,
              float("inf"), "", "text", "\u00e9\U0001f600", "x" * 300, "x" * 70_000, b"", b"bytes", bytes(300), bytes(70_000),
              [], [1], list(range(3000)), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": 1}, set(), {1, "a", (2, 3)},
              {i: str(i) for i in range(3000)}, [None] * 10_000, [""] * 10_000, [[]] * 3000,
              [{"name": "x", "number": i, "rest": [i, float(i)]} for i in range(3000)],
              [recursive_use, recursive_use, {"again": recursive_use}]]
    return values + [values]


def other_values() -> list:
    circle: list = []
    circle.append(circle)
    return [2 ** 63, -(2 ** 63) - 1, 1j, bytearray(b"x"), frozenset([1]), datetime.date(2000, 1, 1), OrderedDict(), len, circle,
            "\ud800", [[1], object]]


def old_enough(value: object) -> bool:
    """Whether protocols 2 and 3 can write it as data."""
    if isinstance(value, (list, tuple)):
        return all(map(old_enough, value))
    if isinstance(value, dict):
        return all(map(old_enough, value.values()))
    return not isinstance(value, (bytes, set))


def same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def address_of(text: str) -> object:
    if text.startswith("unix:@"):
        return "\0" + text[6:]
    if text.startswith("unix:"):
        return text[5:]
    host, port = text.rsplit(":", 1)
    return host, int(port)


def text_of(address: object) -> str:
    if isinstance(address, bytes):
        address = address.decode()
    if isinstance(address, str):
        return "unix:@" + address[1:] if address.startswith("\0") else "unix:" + address
    return f"{address[0]}:{address[1]}"


def here(program: str) -> int:
    tests = Tests(program)
    with tempfile.TemporaryDirectory() as directory:
        for key in (None, b"key"):
            for kind, at in (("path", f"unix:{directory}/socket"), ("TCP", "127.0.0.1:0"),
                             ("abstract", f"unix:@weft-python-{os.getpid()}")):
                tests.call(f"Python calls, {kind}, key {key}", at, key, md5=OLD)
                tests.listen(f"Python listens, {kind}, key {key}", at, key, md5=OLD)
        tests.values(f"unix:{directory}/socket")
        if OLD:
            tests.refuses_md5(f"unix:{directory}/socket")
    print(f"{sys.version.split()[0]}: {'ok' if tests.failures == 0 else f'{tests.failures} failures'}", flush=True)
    return 1 if tests.failures else 0


def main() -> int:
    program = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["--here"]:
        return here(program)
    found = interpreters()
    if not found:
        print("no CPython was found")
        return 77
    status = 0
    for interpreter in found:
        status |= subprocess.run([interpreter, __file__, program, "--here"]).returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
