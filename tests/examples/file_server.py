#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""file_server: files come as they are; nothing outside of the directory comes at all.

    tests/examples/file_server.py build/examples/file_server
"""
import contextlib
import os
import socket
import subprocess
import tempfile

from support import require, run, serving

SECRET = b"nobody should see this"


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        os.makedirs(os.path.join(root, "sub"))
        big = os.urandom(20 * 1024 * 1024 + 7)
        for name, content in {"root/big": big, "root/a b.txt": b"a b", "root/empty": b"", "secret": SECRET,
                              "root/sub/index.html": b"<p>index", "root-not": SECRET}.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        os.symlink("../secret", os.path.join(root, "out"))
        os.symlink("/etc/passwd", os.path.join(root, "passwd"))
        os.symlink("sub/index.html", os.path.join(root, "in"))
        os.symlink("..", os.path.join(root, "up"))
        os.mkfifo(os.path.join(root, "fifo"))

        with serving(program, root, "0") as (process, line):
            port = int(line.rstrip("/").rpartition(":")[2])

            def ask(request):
                with socket.create_connection(("127.0.0.1", port), 20) as s:
                    s.sendall(request)
                    answer = b""
                    with contextlib.suppress(ConnectionResetError):  # it doesn't read to the end what is too long
                        while more := s.recv(1 << 20):
                            answer += more
                head, _, body = answer.partition(b"\r\n\r\n")
                status = int(head.split()[1]) if head else 0
                if status == 200 and request.startswith(b"GET"):
                    require(f"Content-Length: {len(body)}".encode() in head, head.decode())
                return status, body

            def get(path):
                return ask(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")

            for path, content in {b"/big": big, b"/a%20b.txt": b"a b", b"/a%20b.txt?query": b"a b", b"/empty": b"",
                                  b"/sub/": b"<p>index", b"/sub": b"<p>index", b"/in": b"<p>index",
                                  b"//sub/./index.html": b"<p>index", b"/sub/../empty": b""}.items():
                require(get(path) == (200, content), f"{path}: {get(path)[0]}")
            for path in (b"/", b"/nothing", b"/../secret", b"/%2e%2e/secret", b"/sub/../../secret", b"/out", b"/passwd",
                         b"/up/secret", b"/../root-not", b"//etc/passwd", b"/%2fetc/passwd", b"/fifo", b"/empty/x"):
                status, body = get(path)
                require(status == 404 and SECRET not in body and b"root:" not in body, f"{path}: {status}")
            for path in (b"x", b"/%", b"/%zz", b"/a%00b", b"http://x/"):
                require(get(path)[0] == 400, f"{path}: {get(path)[0]}")
            require(ask(b"HEAD /big HTTP/1.1\r\n\r\n") == (200, b""), "HEAD")
            require(ask(b"POST /big HTTP/1.1\r\n\r\n")[0] == 405, "POST")
            require(ask(b"nonsense\r\n\r\n")[0] == 400, "nonsense")
            require(ask(b"GET / " + b"x" * 100_000)[0] == 0, "a head without end is answered")

            # Clients that leave in the middle, or never take what they asked for, are no trouble to the others.
            deaf = []
            for _ in range(20):
                s = socket.create_connection(("127.0.0.1", port), 20)
                s.sendall(b"GET /big HTTP/1.1\r\n\r\n")
                s.recv(1000)
                deaf.append(s)
            require(get(b"/big") == (200, big), "others are held up")
            for s in deaf:
                s.close()
            curl = subprocess.run(["curl", "-sSf", f"http://127.0.0.1:{port}/sub/"], capture_output=True, timeout=30)
            require(curl.stdout == b"<p>index", curl.stderr.decode())
        for bad in ([program, os.path.join(folder, "secret")], [program, root, "x"], [program, root, "99999"]):
            require(subprocess.run(bad, capture_output=True, timeout=30).returncode == 1, f"{bad} is accepted")


run(main)
