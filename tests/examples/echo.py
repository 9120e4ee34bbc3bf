#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""echo_server and echo_client: what goes in comes out, for many at once; bad clients end alone.

    tests/examples/echo.py build/examples/echo_server build/examples/echo_client
"""
import os
import socket
import struct
import subprocess

from support import require, run, serving


def main(server, client):
    with serving(server, "0") as (process, line):
        port = line.rpartition(":")[2]
        require(line == f"echoing on 127.0.0.1:{port}", line)
        # Several clients at once, each with more than any buffer holds.
        data = [os.urandom(8 * 1024 * 1024 + i) for i in range(4)]
        clients = [subprocess.Popen([client, "127.0.0.1", port], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE) for _ in data]
        reset = socket.create_connection(("127.0.0.1", int(port)))
        reset.sendall(b"x")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
        for one, sent in zip(clients, data):
            out, said = one.communicate(sent, timeout=60)
            require(one.returncode == 0, said.decode())
            require(out == sent, f"{len(out)} of {len(sent)} bytes came back, or others")
            require(said.decode() == f"sent {len(sent)} bytes, received {len(sent)} bytes\n", said.decode())
        silent = socket.create_connection(("127.0.0.1", int(port)))  # doesn't hold up the end
        silent.sendall(b"hello")
        require(silent.recv(100) == b"hello", "no echo")
        silent.close()
        one = subprocess.run([client, "localhost", port], input=b"by name", capture_output=True, timeout=30)
        require(one.stdout == b"by name", one.stderr.decode())
    total = sum(map(len, data)) + len("hello") + len("by name")
    last = process.lines[-1]
    require(last in (f"{total} bytes for 7 clients\n", f"{total + 1} bytes for 7 clients\n"), last)
    # Nobody listens there now.
    gone = subprocess.run([client, "127.0.0.1", port], input="", capture_output=True, text=True, timeout=30)
    require(gone.returncode == 1 and "refused" in gone.stderr, gone.stderr)
    for bad in ([server, "x"], [server, "70000"], [client, "localhost", "x"]):
        require(subprocess.run(bad, capture_output=True, timeout=30).returncode == 1, f"{bad} is accepted")


run(main)
