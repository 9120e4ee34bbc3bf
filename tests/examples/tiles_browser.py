#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The tiles page in a headless Chromium: it draws, moves, zooms, shows the pool, and survives a worker's SIGKILL.

    tests/examples/tiles_browser.py build/examples/tiles/tiles [FOLDER]      (screenshots go to FOLDER)

Exits 77 where Chromium isn't installed.
"""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../examples/tiles"))
from browser import Browser  # noqa: E402
from check import Failed, Server, require  # noqa: E402

DRAWN = 'map.dataset.missing === "0"'
# How many of the canvas's pixels, out of 2,000, differ from the background and from their neighbour.
DETAIL = """
  const {width, height} = map, picture = ink.getImageData(0, 0, width, height).data;
  let lively = 0;
  for (let i = 0; i < 2000; ++i) {
    const at = 4 * (Math.floor(height * ((i * 0.6180339887) % 1)) * width + Math.floor((width - 2) * i / 2000));
    const differs = [0, 1, 2].some(c => picture[at + c] !== picture[at + 4 + c]);
    const is_ground = picture[at] === 5 && picture[at + 1] === 10 && picture[at + 2] === 24;
    lively += differs && !is_ground;
  }
  return lively;"""


def main(program, folder):
    with Server(program, "--workers", "2") as server, Browser() as page:
        def shot(name):
            path = os.path.join(folder, name + ".png")
            page.screenshot(path)
            print(f"picture   {path}")

        page.open(server.url + "/")
        page.wait("the first picture", DRAWN)
        page.wait("the pool", "rows.size === 2")
        require(page.run(DETAIL) > 400, "the picture has no detail")
        shot("1-home")

        # Zoom at a pixel: what is under it stays there.
        before = page.run("return {z: view.z, p: at(400, 300)}")
        page.scroll((400, 300), -960)
        page.wait("the zoom", f"!goal.moving && view.z > {before['z'] + 1.4}")
        after = page.run("return at(400, 300)")
        require(abs(after["u"] - before["p"]["u"]) < 1e-6 and abs(after["v"] - before["p"]["v"]) < 1e-6,
                "the zoom doesn't stay where the mouse is")
        page.wait("the zoomed picture", DRAWN)
        require(page.run(DETAIL) > 400, "the zoomed picture has no detail")

        # Drag, keys, two fingers, buttons.
        before = page.run("return at(500, 400)")
        page.drag((500, 400), (350, 300))
        after = page.run("return at(350, 300)")
        require(abs(after["u"] - before["u"]) < 1e-6 and abs(after["v"] - before["v"]) < 1e-6, "the drag slips")
        before = page.run("return view.u")
        page.press("\ue014", 0.2)  # arrow right
        require(page.run("return view.u") > before, "the arrow key doesn't move")
        before = page.run("return view.z")
        page.pinch((500, 350), 50, 100)
        require(abs(page.run("return view.z") - before - 1) < 0.05, "the pinch isn't a zoom by two")
        page.click("#home")
        page.wait("home", "view.z === HOME.z")
        page.wait("the first picture again", DRAWN)

        # Into a slow place; on the way, tiles go out of sight before they are drawn.
        page.run("look({u: (-0.743643887037151 + 2.5) / 4, v: (2 - 0.13182590420533) / 4, z: 16.3})")
        for _ in range(6):
            page.run("zoomBy(1.2)")
            page.wait("the flight", "!goal.moving")
        page.wait("a busy worker", 'document.querySelector("#workers .busy .what").textContent !== ""')
        victim = page.wait("a worker to kill", 'Number(document.querySelector("#workers li.busy")?.dataset.pid || 0)')
        os.kill(victim, signal.SIGKILL)
        page.wait("its death is seen", f'document.querySelector("#workers .dead")?.dataset.pid === "{victim}"')
        page.wait("its successor is seen", f'rows.size === 2 && !rows.has({victim})')
        shot("2-killed")
        page.wait("no tile is missing", DRAWN, 120)
        require(page.run("return Number($('replaced').textContent)") >= 1, "nothing was replaced")
        require(page.run("return wanted.every(name => cache.get(name).worker > 0)"), "a tile of nobody")
        page.wait("tiles were given up on the way", "Number($('given_up').textContent) > 0")
        page.wait("latency is shown", "$('p99').textContent.endsWith('s')")
        require(page.run(DETAIL) > 400, "the deep picture has no detail")
        shot("3-deep")

        # The button of the page kills as well.
        first = page.run('return Number(document.querySelector("#workers li:not(.dead)").dataset.pid)')
        page.click("#tint")
        page.click(f'#workers li[data-pid="{first}"] button')
        page.wait("the second death is seen", f"!rows.has({first}) && rows.size === 2")
        page.click("#in")
        page.wait("the last picture", f"!goal.moving && {DRAWN}", 120)
        shot("4-tinted")

        # Nothing is asked of anybody else.
        hosts = page.run("return [...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).origin))]")
        require(hosts == [server.url], f"the page asked {hosts}")
        require(page.errors() == [], f"the page complains: {page.errors()}")

        took = server.stop()
        page.wait("the loss of the server is seen", "$('link').className === ''")
        print(f"stopped   {took:.2f} s after SIGTERM, with the page open")


if __name__ == "__main__":
    if missing := Browser.missing():
        print(f"skipped: {missing} isn't installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else temporary)
        except (Failed, AssertionError) as failure:
            sys.exit(f"failed: {failure}")
