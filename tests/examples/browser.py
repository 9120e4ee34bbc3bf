# SPDX-License-Identifier: MIT
"""A headless Chromium, driven through chromedriver's HTTP protocol (W3C WebDriver) with the standard library alone."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1280,800"]


class Browser:
    """Use it in a `with`: everything that was started has ended afterwards."""

    @staticmethod
    def missing():
        """The name of the first program that isn't installed, or None."""
        return next((p for p in ("chromium", "chromedriver") if shutil.which(p) is None), None)

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="weft-browser-")
        self.log = open(os.path.join(self.profile, "chromedriver.log"), "w+")
        # Its own process group, so that a browser which outlives its driver can be ended with it.
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=self.log,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        try:
            self.base = f"http://127.0.0.1:{self._port()}"
            options = {"binary": shutil.which("chromium"),
                       "args": FLAGS + [f"--user-data-dir={self.profile}/profile"]}
            capabilities = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                                             "goog:loggingPrefs": {"browser": "ALL"}}}}
            self.base += "/session/" + self._call("POST", "/session", capabilities)["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if "/session/" in getattr(self, "base", ""):
                self._call("DELETE", "")
        except (OSError, RuntimeError):
            pass  # it is ended below
        finally:
            try:
                os.killpg(self.driver.pid, 9)
            except ProcessLookupError:
                pass
            self.driver.wait()
            self.log.close()
            shutil.rmtree(self.profile, ignore_errors=True)

    def _port(self):
        end = time.monotonic() + 30
        while time.monotonic() < end and self.driver.poll() is None:
            with open(self.log.name) as log:
                for line in log:
                    if "started successfully on port" in line:
                        return int(line.rstrip(".\n ").rsplit(" ", 1)[1])
            time.sleep(0.02)
        raise RuntimeError("chromedriver didn't start: " + open(self.log.name).read())

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{method} {path}: {json.load(e)['value']['message']}") from None

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def run(self, script, *args):
        """What a JavaScript function body returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def wait(self, what, script, seconds=30):
        """Until the expression is true. Gives its value."""
        end = time.monotonic() + seconds
        while True:
            value = self.run("return " + script)
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {seconds} s: {script}")
            time.sleep(0.03)

    def click(self, css):
        element = self._call("POST", "/element", {"using": "css selector", "value": css})
        self._call("POST", f"/element/{next(iter(element.values()))}/click", {})

    def drag(self, start, end):
        self._actions({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
            {"type": "pointerMove", "x": start[0], "y": start[1]}, {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": end[0], "y": end[1], "duration": 200}, {"type": "pause", "duration": 150},
            {"type": "pointerUp", "button": 0}]})

    def scroll(self, at, pixels):
        self._actions({"type": "wheel", "id": "wheel", "actions": [
            {"type": "scroll", "x": at[0], "y": at[1], "deltaX": 0, "deltaY": pixels}]})

    def press(self, key, seconds):
        self._actions({"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "pause", "duration": int(seconds * 1000)},
            {"type": "keyUp", "value": key}]})

    def pinch(self, at, narrow, wide):
        """Two fingers that move apart."""
        def finger(name, sign):
            return {"type": "pointer", "id": name, "parameters": {"pointerType": "touch"}, "actions": [
                {"type": "pointerMove", "x": at[0] + sign * narrow, "y": at[1]},
                {"type": "pointerDown", "button": 0},
                {"type": "pointerMove", "x": at[0] + sign * wide, "y": at[1], "duration": 200},
                {"type": "pointerUp", "button": 0}]}
        self._actions(finger("left", -1), finger("right", 1))

    def _actions(self, *sources):
        self._call("POST", "/actions", {"actions": list(sources)})
        self._call("DELETE", "/actions")

    def errors(self):
        """What the page complained about on its console."""
        return [e["message"] for e in self._call("POST", "/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._call("GET", "/screenshot")))
