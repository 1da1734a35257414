"""A page opened in headless Chromium with no network, moved, clicked and measured as a reader would."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"]


class Browser:
    """Chromium's DevTools protocol: messages in JSON, each ended by a zero byte."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from, self._session, self._number = to_browser, from_browser, {}, 0
        self.problems = []  # whatever the console says
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self("Runtime.enable")
        self("Log.enable")

    def __call__(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._number:
            if answer["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.problems.append(answer["params"])
        return answer["result"]

    def _read(self):
        text = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)

    def evaluate(self, expression):
        """Return the value of a JavaScript expression, of a promise what it comes to."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path, width):
        """Open a file at a width of the window; below 500 pixels as a phone."""
        phone = width < 500
        self("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1 + phone, mobile=phone)
        self("Emulation.setTouchEmulationEnabled", enabled=phone)
        self("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete'")

    def wait(self, condition):
        """Wait until a JavaScript expression holds, ten seconds at most."""
        look = f"{condition} ? done() : left ? setTimeout(look, 10, left - 1) : fail('waited in vain')"
        self.evaluate(f"new Promise((done, fail) => (function look(left) {{ {look} }})(1000))")

    def move(self, element):
        """Move the pointer to the middle of an element, or tap there on a phone."""
        self.evaluate(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        x, y = self.evaluate(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({element}.getBoundingClientRect())")
        if self.evaluate("navigator.maxTouchPoints"):
            self("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        else:
            self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def click(self, element):
        """Click the middle of an element."""
        x, y = self.move(element)
        for event in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)


@contextmanager
def chromium(profile):
    """Start a browser and end it."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    flags = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    shell = f'exec "$0" "$@" 3<&{their_in} 4>&{their_out}'  # the browser reads from 3 and writes to 4
    command = ["bash", "-c", shell, CHROMIUM, *flags]
    with (
        subprocess.Popen(command, pass_fds=(their_in, their_out), stderr=subprocess.DEVNULL) as process,
        os.fdopen(our_out, "wb") as to_browser,
        os.fdopen(our_in, "rb") as from_browser,
    ):
        os.close(their_in)
        os.close(their_out)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.terminate()
