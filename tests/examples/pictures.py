#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pictures: small pictures and a page of what is in a directory; broken pictures, crashes and hangs cost one picture each;
how much faster it is than one process.

    tests/examples/pictures.py build/plain/examples/pictures/pictures
"""
import html.parser
import os
import re
import struct
import subprocess
import tempfile
import urllib.parse
import zlib

from support import descendants, require, run, until
from check import png_size  # support knows where that is


def png(width, height, seed):
    """A PNG file of coloured stripes, with something in it for the codec to do."""
    row = bytes(1) + bytes((x * (seed + 3) + c * 80) % 256 for x in range(width) for c in range(3))
    noise = [row[:1 + 3 * i] + os.urandom(30) + row[31 + 3 * i:] for i in range(16)]
    pixels = b"".join(noise[y % 16] for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b""))


def jpeg_size(data):
    """Width and height of a JPEG file."""
    require(data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9", "no JPEG from beginning to end")
    at = 2
    while True:
        marker, length = struct.unpack(">HH", data[at:at + 4])
        if 0xffc0 <= marker <= 0xffc2:
            height, width = struct.unpack(">HH", data[at + 5:at + 9])
            return width, height
        at += 2 + length


class Page(html.parser.HTMLParser):
    """What the contact sheet shows: (thumbnail or None, link, name, in trouble) for each."""

    def __init__(self, text):
        super().__init__()
        self.figures = []
        self.name = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "figure":
            self.figures.append([None, None, "", attrs.get("class") == "trouble"])
        elif tag == "img":
            self.figures[-1][0] = urllib.parse.unquote(attrs["src"])
        elif tag == "a":
            self.figures[-1][1] = urllib.parse.unquote(attrs["href"])
            self.name = True

    def handle_endtag(self, tag):
        if tag == "a":
            self.name = False

    def handle_data(self, data):
        if self.name:
            self.figures[-1][2] += data


def main(program):
    def pictures(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=100)

    with tempfile.TemporaryDirectory() as there:
        source, sheet = f"{there}/my pictures", f"{there}/my pictures/sheet"
        os.makedirs(f"{source}/more")
        files = {}
        for i in range(8):
            files[f"more/stripes{i}.png"] = png(900 + i, 700, i)
        files["<b>odd & \"name\".PNG"] = png(40, 30, 1)
        for name, data in files.items():
            with open(f"{source}/{name}", "wb") as f:
                f.write(data)
        done = pictures("--workers", "2", "--size", "200", source, sheet)
        require(done.returncode == 0, done.stdout + done.stderr)
        require(f"{len(files)} pictures in" in done.stdout and "; 0 failed" in done.stdout, done.stdout)
        require(re.search(r"one process [\d.]+ s, 2 workers [\d.]+ s: [\d.]+ times as fast", done.stdout), done.stdout)
        print(done.stdout.splitlines()[1])
        with open(f"{sheet}/index.html", encoding="utf-8") as f:
            page = Page(f.read())
        require({figure[2] for figure in page.figures} == set(files), [figure[2] for figure in page.figures])
        for thumbnail, link, name, trouble in page.figures:
            require(not trouble, name)
            with open(f"{sheet}/{thumbnail}", "rb") as f:
                size = jpeg_size(f.read())
            with open(f"{sheet}/{link}", "rb") as f:
                width, height = png_size(f.read())
            wanted = (width, height) if width <= 200 else (200, round(height * 200 / width))
            require(size == wanted, f"{name}: {size} instead of {wanted}")

        # JPEG files in, too: the small ones. And what is wrong with pictures costs the picture.
        good = f"{sheet}/{next(f[0] for f in page.figures if 'stripes' in f[2])}"
        bad = f"{there}/bad"
        os.makedirs(bad)
        with open(good, "rb") as f:
            jpeg = f.read()
        with open(good, "rb") as f:
            data = f.read()
        broken = {
            "cut.png": files["more/stripes0.png"][:5000],
            "empty.jpg": b"",
            "half.jpg": data[:60],
            "text.jpeg": b"this is no picture",
            "huge.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 1 << 20, 1 << 20, 8, 2, 0, 0, 0)
            + struct.pack(">I", zlib.crc32(struct.pack(">4sIIBBBBB", b"IHDR", 1 << 20, 1 << 20, 8, 2, 0, 0, 0))),
            "crash1.jpg": jpeg, "crash2.jpg": jpeg, "hang.jpg": jpeg,
        }
        whole = {f"good{i}.jpg": jpeg for i in range(20)}
        whole["damaged.jpg"] = data[:len(data) // 2]  # libjpeg shows what there is, and says so
        for name, content in {**broken, **whole}.items():
            with open(f"{bad}/{name}", "wb") as f:
                f.write(content)
        os.mkfifo(f"{bad}/pipe.jpg")
        done = pictures("--workers", "2", "--patience", "4", "--crash", "crash", "--hang", "hang", "--no-compare",
                        "--size", "64", bad, f"{there}/out")
        require(done.returncode == 1, done.stdout + done.stderr)
        require(f"{len(broken) + len(whole)} pictures in" in done.stdout and f"; {len(broken)} failed" in done.stdout,
                done.stdout + done.stderr)
        for name in broken:
            require(f"pictures: {name}: " in done.stderr, f"{name} isn't told: {done.stderr}")
        require(re.search(r"crash1.jpg: crashed the codec: process \d+ was killed by .*11", done.stderr), done.stderr)
        require("hang.jpg: took too long" in done.stderr, done.stderr)
        require("huge.png: 1048576 x 1048576 pixels are too many" in done.stderr or "huge.png: " in done.stderr, done.stderr)
        with open(f"{there}/out/index.html", encoding="utf-8") as f:
            text = f.read()
        page = Page(text)
        require({figure[2] for figure in page.figures if figure[3]} == set(broken), "the page shows which failed")
        require(sum(figure[0] is not None for figure in page.figures) == len(whole), "and the others")
        require(re.search(r"damaged\.jpg</a><small>\d+ x \d+, \d+ ms; .*[Pp]remature end", text), "and what was said")
        require(not [n for n in os.listdir(f"{there}/out") if n.endswith(".part")], "something unfinished is left")

        require(pictures(f"{there}/nowhere", sheet).returncode == 2, "there is nothing there")
        until(lambda: not descendants(os.getpid()), "processes are left", 5)


run(main)
