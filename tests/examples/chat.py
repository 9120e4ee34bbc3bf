#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""chat: names, rooms, and a reader who is too slow for the others but doesn't hold them up.

    tests/examples/chat.py build/examples/chat
"""
import os
import socket
import subprocess
import tempfile

from support import Lines, require, run, serving, until


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with serving(program, path) as (process, line):
            require(line == f"chatting on {path}", line)
            require(os.stat(path).st_mode & 0o777 == 0o600, "others may connect")
            taken = subprocess.run([program, path], capture_output=True, text=True, timeout=30)
            require(taken.returncode == 1 and path in taken.stderr, f"a second one: {taken}")

            def come():
                return Lines(path, socket.AF_UNIX)
            ann = come()
            ann.expect("* you are guest1 in lobby")
            ben = come()
            ben.expect("* you are guest2 in lobby")
            ann.expect("* guest2 comes in")
            ann.say("/nick ann", "hello")
            ann.expect("* you are ann")
            ben.expect("* guest1 is now ann", "ann: hello")
            ben.say("/nick ann", "/nick ben", "/who", "/help", "", "bell\a\r")
            ben.expect("* that name can't be had", "* you are ben", "* ann is in lobby", "* ben is in lobby",
                       "* /nick NAME, /join ROOM, /who, /quit")
            ann.expect("* guest2 is now ben", "ben: bell")

            # Rooms: what is said in one isn't heard in the other.
            ben.say("/join attic")
            ben.expect("* you are in attic")
            ann.expect("* ben leaves")
            ann.say("anybody?", "/join attic")
            ann.expect("* you are in attic")
            ben.expect("* ann comes in")

            # Carl doesn't read. The others talk on, and he is told what he has missed.
            carl = come()
            carl.expect("* you are guest3 in lobby")
            carl.say("/join attic")
            carl.expect("* you are in attic")
            for other in (ann, ben):
                other.expect("* guest3 comes in")
            text = "x" * 900
            for i in range(2000):
                ann.say(f"{i} {text}")
                ben.expect(f"ann: {i} {text}")
            heard, missed = 0, 0
            while missed == 0 or heard + missed < 2000:
                said = carl.line()
                if said.startswith("* you have missed"):
                    missed += int(said.split()[4])
                else:
                    require(said.startswith("ann: "), said)
                    heard += 1
            require(heard + missed == 2000 and missed > 500, f"heard {heard}, missed {missed}")

            carl.say("y" * 5000)  # ends his connection
            require(carl.line() is None, "a line without end is taken")
            ben.expect("* guest3 leaves")
            ben.say("/quit")
            require(ben.line() is None, "/quit doesn't end it")
            ann.expect("* guest3 leaves", "* ben leaves")
            ann.close()
            for one in (ben, carl):
                one.close()
        until(lambda: not os.path.exists(path), "the socket is left over", 1)
        print(f"a slow reader heard {heard} lines and missed {missed}")


run(main)
