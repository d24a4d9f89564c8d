"""Headless Chromium, driven by its DevTools protocol over a pipe: nothing but Python's own library is needed.

In: the path of the browser. Out: tabs that go to an address, evaluate JavaScript, take keys and pictures, and keep what the
page logged and asked for. A call that the browser refuses, and JavaScript that throws, are errors.
"""

import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time

FLAGS = [
    "--headless=new", "--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--disable-features=Translate,MediaRouter,OptimizationHints", "--force-color-profile=srgb", "--remote-debugging-pipe",
]
PATIENCE = 30  # seconds for what should take a fraction of one


def find():
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """`with Browser(path) as browser`."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="pilcrow-page-")
        to_browser, self.to = os.pipe()
        self.from_, from_browser = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self.folder}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to have one as root
        # The browser reads commands from descriptor 3 and writes to 4; both are made there by a program in between, from ones that are neither.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        between = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
        start = [sys.executable, "-c", between, *map(str, ends), program, *flags]
        self.process = subprocess.Popen(start, pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (to_browser, from_browser, *ends):
            os.close(end)
        self.answers = {}
        self.tabs = {}
        self.number = 0
        self.lock = threading.Lock()
        self.reader = threading.Thread(target=self.read, daemon=True)

    def __enter__(self):
        self.reader.start()
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
        except (BrowserError, OSError):
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.to)
        shutil.rmtree(self.folder, ignore_errors=True)

    def read(self):
        rest = b""
        while chunk := os.read(self.from_, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers.pop(message["id"]).put(message)
                elif message.get("sessionId") in self.tabs:
                    self.tabs[message["sessionId"]].event(message["method"], message["params"])
        os.close(self.from_)

    def call(self, method, session=None, **params):
        answer = queue.Queue()
        with self.lock:
            self.number += 1
            number = self.number
            self.answers[number] = answer
            message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
            os.write(self.to, json.dumps(message).encode() + b"\0")
        try:
            said = answer.get(timeout=PATIENCE)
        except queue.Empty:
            raise BrowserError(f"the browser does not answer {method}") from None
        if "error" in said:
            raise BrowserError(f"{method}: {said['error']['message']}")
        return said["result"]

    def tab(self, width=1280, height=900, scale=1, dark=False, phone=False):
        """A new tab of that size, in a browsing context of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, context)
        self.tabs[session] = tab
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, screenWidth=width, screenHeight=height, deviceScaleFactor=scale, mobile=phone)
        tab.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}])
        return tab


class BrowserError(Exception):
    """The browser did not do what it was told."""


class Tab:
    """One tab. `errors` is what the page logged as errors, `requests` the addresses that it asked for."""

    def __init__(self, browser, session, context):
        self.browser = browser
        self.session = session
        self.context = context
        self.errors = []
        self.requests = []

    def event(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", params["exceptionDetails"]["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def go(self, address):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def eval(self, script, world=None):
        """The value of an expression, awaited if it is a promise."""
        said = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True, **(world or {}))
        if "exceptionDetails" in said:
            raise BrowserError(f"{script[:200]}: {said['exceptionDetails'].get('exception', {}).get('description')}")
        return said["result"].get("value")

    def until(self, script, what=None):
        """Waits until the expression is true, and gives its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = self.eval(f"(() => {{ try {{ return {script}; }} catch (error) {{ return null; }} }})()")
            if value:
                return value
            time.sleep(0.05)
        raise BrowserError(f"it does not become true: {what or script}")

    def key(self, name, code=None, text=None):
        """Presses and releases a key: Tab, Enter, Escape, ArrowLeft, or a character with its text."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
        text = text or {"Enter": "\r", " ": " "}.get(name)
        common = {"key": name, "code": code or name, "windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """A click by the pointer in the middle of the first element that matches."""
        x, y = self.eval(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left", clickCount=0 if kind == "mouseMoved" else 1)

    def move(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path, whole=False):
        said = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self.page_box()} if whole else {}))
        with open(path, "wb") as file:
            file.write(base64.b64decode(said["data"]))

    def page_box(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

