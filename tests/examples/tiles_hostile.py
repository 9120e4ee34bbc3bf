#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What clients may do to the tiles server: right, wrong, slow, half and never. Each gets a clear answer or a closed
connection, and afterwards no descriptor, thread or child of the server is left over.

    tests/examples/tiles_hostile.py build/examples/tiles/tiles
"""
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples/tiles"))
from check import SLOW_TILE, Events, Failed, Server, curl, descendants, png_size, require, until  # noqa: E402

PATIENCE = 1  # seconds that the server waits for slow clients here
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /kill HTTP/1.1\r\nHost: localhost\r\n"


class Client:
    """A connection, and what has come over it."""

    def __init__(self, server, *sent):
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""
        for piece in sent:
            self.send(piece)

    def send(self, data):
        with contextlib.suppress(ConnectionError):  # the server may have had enough
            self.socket.sendall(data)
        return self

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()

    def _more(self):
        data = self.socket.recv(65536)
        self.bytes += data
        return len(data) > 0

    def answer(self, has_body=True):
        """The next answer: status, fields, body."""
        while b"\r\n\r\n" not in self.bytes:
            require(self._more(), f"closed instead of an answer, after {self.bytes[:200]}")
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        status = int(lines[0].split()[1])
        length = int(fields.get("content-length", 0)) if has_body and status >= 200 else 0
        while len(self.bytes) < length:
            require(self._more(), "closed within a body")
        body, self.bytes = self.bytes[:length], self.bytes[length:]
        return status, fields, body

    def expect(self, status):
        got, fields, body = self.answer()
        require(got == status, f"{got} instead of {status}: {body[:200]}")
        return fields, body

    def expect_closed(self):
        """Nothing more comes, and the connection ends."""
        with contextlib.suppress(ConnectionError):
            while self._more():
                pass
        require(self.bytes == b"", f"more than an end: {self.bytes[:200]}")
        self.close()


def good(server):
    client = Client(server, GET * 20)  # pipelined
    for _ in range(20):
        fields, body = client.expect(200)
        require(body.rstrip().endswith(b"</html>"), "a page in the pipeline isn't whole")
    for piece in [GET[i:i + 1] for i in range(len(GET))]:  # byte by byte
        client.send(piece)
    client.expect(200)
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    status, fields, _ = client.answer(has_body=False)
    require(status == 200 and int(fields["content-length"]) == len(body), "HEAD says something else than GET")
    client.send(b"GET /tile/3/3/3.png HTTP/1.1\r\nHost: a\r\n\r\n")
    fields, body = client.expect(200)
    require(fields["content-type"] == "image/png" and png_size(body) == (256, 256), "the tile isn't a tile")
    for target in (b"/nothing", b"/tile/", b"/tile/99/0/0.png", b"/tile/1/1/1", b"/tile/../../etc/passwd"):
        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n").expect(404)
    fields, _ = client.send(b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").expect(405)
    require(fields["allow"] == "GET, HEAD", "405 doesn't say what is allowed")
    fields, _ = client.send(b"GET /kill HTTP/1.1\r\nHost: a\r\n\r\n").expect(405)
    require(fields["allow"] == "POST", "405 doesn't say what is allowed")
    client.send(POST + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n").expect(100)
    client.send(b"1").expect(404)  # process 1 is no worker
    client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").expect(400)
    client.send(POST + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 1\r\n\r\n1").expect(403)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect(200)
    client.expect_closed()
    client = Client(server, b"GET / HTTP/1.0\r\n\r\n")
    client.expect(200)
    client.expect_closed()


def wrong(server):
    for status, sent in [
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),  # a TLS greeting
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (413, POST + b"Content-Length: 100000000\r\n\r\n"),
        (413, POST + b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"),
        (413, POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" * 1 + b"x" * 0x1000 + (b"\r\n1000\r\n" + b"x" * 0x1000) * 20),
        (414, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (417, b"GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 1000 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n"),
        (505, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    ]:
        client = Client(server, sent)
        fields, _ = client.expect(status)
        require(fields["connection"] == "close", f"{status} without saying that it closes")
        client.expect_closed()
    client = Client(server, GET + b"garbage\r\n\r\n")  # the good part is answered first
    client.expect(200)
    client.expect(400)
    client.expect_closed()
    noise = random.Random(7)
    for _ in range(100):
        client = Client(server, noise.randbytes(noise.randrange(1, 3000)) + b"\r\n\r\n").half_close()
        while client._more():
            pass
        require(client.bytes.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505")), f"noise: {client.bytes[:100]}")
        client.close()


def slow(server):
    head = Client(server, b"GET / HTTP/1.1\r\nHost:")
    body = Client(server, POST + b"Content-Length: 5\r\n\r\n12")
    idle = Client(server)
    used = Client(server, GET)
    used.expect(200)
    crawl = Client(server, b"G")
    end = time.monotonic() + 3 * PATIENCE
    for piece in (GET[i:i + 1] for i in range(1, len(GET))):  # always something, never all of it
        if time.monotonic() > end:
            break
        crawl.send(piece)
        time.sleep(PATIENCE / 10)
    crawl.expect(408)
    for client in (head, body):
        client.expect(408)
        client.expect_closed()
    for client in (idle, used):
        client.expect_closed()  # nothing was asked, so nothing is answered
    crawl.close()
    # Asks for ever, and never reads an answer.
    deaf = Client(server)
    deaf.socket.setblocking(False)
    asked, since = 0, time.monotonic()
    while time.monotonic() < since + 20 * PATIENCE:
        try:
            asked += deaf.socket.send(GET * 100)
        except BlockingIOError:
            time.sleep(0.02)
        except ConnectionError:
            break
    else:
        raise Failed("a client that never reads was kept")
    require(asked > 0, "nothing could be asked")
    deaf.close()


def half(server):
    client = Client(server, GET).half_close()  # its answer is still wanted
    client.expect(200)
    client.expect_closed()
    client = Client(server, b"GET / HT").half_close()
    client.expect(400)
    client.expect_closed()
    client = Client(server, POST + b"Content-Length: 5\r\n\r\n12").half_close()
    client.expect(400)
    client.expect_closed()
    Client(server).half_close().expect_closed()
    for sent in (b"", b"GET", GET, POST + b"Content-Length: 5\r\n\r\n", b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n",
                 b"GET " + SLOW_TILE.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        for _ in range(20):
            Client(server, sent).reset()
            Client(server, sent).close()


def crowd(program):
    with Server(program, "--workers", "1", "--max-connections", "4", "--patience", "30") as server:
        inside = [Client(server, GET) for _ in range(4)]
        for client in inside:
            client.expect(200)
        outside = [Client(server, GET) for _ in range(20)]
        for client in outside:
            fields, _ = client.expect(503)
            require("retry-after" in fields, "503 doesn't say when to come again")
            client.expect_closed()
        for client in inside:
            client.send(GET).expect(200)
        inside.pop().close()

        def let_in():
            client = Client(server, GET)
            status, _, _ = client.answer()
            client.close()
            return status == 200
        until(let_in, "a place that became free is given to another", 20)
        for client in inside:
            client.close()


def ends(program):
    """With everything under way at once, each of the two signals ends it in good order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with Server(program, "--workers", "2", "--patience", "60") as server:
            events = Events(server.url)
            events.until(lambda e: len(e["workers"]) == 2, "two workers")
            idle = Client(server, GET)
            idle.expect(200)
            half_asked = Client(server, b"GET / HTTP/1.1\r\nHo")
            tiles = []
            told = events.count

            def busy(event):
                """More are asked for until an event sees some waiting: how many, depends on how fast the machine is."""
                nonlocal told
                if event["queued"] > 0:
                    return True
                if (not tiles or events.count != told) and len(tiles) < 240:
                    told = events.count
                    for i in range(len(tiles), len(tiles) + 16):
                        path = f"/tile/12/{1797 + i % 12}/{1913 + i // 12}.png"
                        tiles.append(Client(server, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()))
                return False
            events.until(busy, "more tiles than workers")
            took = server.stop(number, 60)
            for client in tiles:  # what ran was finished
                fields, body = client.expect(200)
                require(png_size(body) == (256, 256), "a tile isn't a tile")
            require(fields["connection"] == "close", "the last answer doesn't say that it is")
            for client in (*tiles, idle, half_asked):
                client.bytes = b""
                with contextlib.suppress(ConnectionError):
                    while client._more():
                        pass
                client.close()
            require(events.curl.wait(20) == 0, "the event stream broke instead of ending")
            events.close()
            print(f"ends      {took:.2f} s after {number.name}, the tiles under way were finished")


def left_over(pid):
    return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")),
            "children": len(descendants(pid))}


def no_more(now, before):
    """Less may be left if the look before came too soon for something that went."""
    return all(now[what] <= before[what] for what in before)


def settled(pid):
    """The same, once it hasn't changed for a while: connections that have just been used take a moment to close."""
    last = [left_over(pid), time.monotonic()]

    def unchanged():
        if (now := left_over(pid)) != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 0.5
    until(unchanged, "what the server holds comes to rest", 20)
    return last[0]


def main(program):
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    for bad in (["--port", "x"], ["--port", "70000"], ["--workers", "0"], ["--nonsense"], ["extra"], ["--bind", "x"]):
        done = subprocess.run([program, *bad], capture_output=True, text=True, timeout=20)
        require(done.returncode == 2 and done.stderr != "", f"{bad}: status {done.returncode}: {done.stderr}")
    with Server(program, "--workers", "2") as server:  # which closes for a reason, or after a minute
        good(server)
    with Server(program, "--workers", "2", "--patience", str(PATIENCE)) as server:
        busy = subprocess.run([program, "--port", str(server.port)], capture_output=True, text=True, timeout=20)
        require(busy.returncode == 1 and str(server.port) in busy.stderr, f"port in use: {busy.stderr}")
        good(server)  # also: whatever is made once has been made
        curl("-o", os.devnull, server.url + "/tile/4/5/6.png")
        until(lambda: len(descendants(server.pid)) >= 2, "two workers")
        before = settled(server.pid)
        for part in (good, wrong, slow, half):
            begin = time.monotonic()
            part(server)
            print(f"{part.__name__:9} {time.monotonic() - begin:.2f} s")
        until(lambda: no_more(left_over(server.pid), before),
              f"no more than before, {before}; now {left_over(server.pid)}", 20)
        print(f"left over nothing: {before}")
        server.stop()
    crowd(program)
    print("crowd     who finds no place is told so")
    ends(program)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Failed as failure:
        sys.exit(f"failed: {failure}")
