"""A real browser, Debian's Chromium, led over its DevTools protocol: what a page shows, and which requests it fails."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_START_SECONDS = 60.0
_KEYS = {"ArrowDown": 40, "Enter": 13}
_PLACE = """
(() => {
  const element = %s;
  if (!element) return null;
  element.scrollIntoView({block: 'center'});
  const place = element.getBoundingClientRect();
  return place.height > 0 ? {x: place.x + place.width / 2, y: place.y + place.height / 2} : null;
})()
"""
_WITH_TEXT = """
(text => [...document.querySelectorAll('body *')].find(one => one.getClientRects().length &&
  [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim() === text)))(%s)
"""


class Page:
    """One page of the browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.failures: list[str] = []
        """Responses with a status of 400 or more, and requests without a response."""
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol; events before the answer are taken note of."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_START_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                answer: dict[str, Any] = message["result"]
                return answer
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event["method"] == "Network.responseReceived" and given["response"]["status"] >= 400:
            self.failures.append(f"{given['response']['status']} {given['response']['url']}")
        if event["method"] == "Network.loadingFailed" and not given.get("canceled"):
            self.failures.append(f"{given['errorText']} {given['type']}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for_text(self, text: str, *, seconds: float = 60.0) -> None:
        """Wait until the page shows `text`."""
        deadline = time.monotonic() + seconds
        while text not in (shown := str(self.run("document.body ? document.body.innerText : ''"))):
            assert time.monotonic() < deadline, (
                f"{text!r} is not in the page, which shows: {shown[:500]} {self.failures}"
            )
            time.sleep(0.2)

    def click(self, element: str, *, seconds: float = 60.0) -> None:
        """Click into the middle of an element, given as a JavaScript expression, once there is one to be seen."""
        script = _PLACE % element
        deadline = time.monotonic() + seconds
        before = None
        while (place := self.run(script)) is None or place != before:  # what moves is not clicked
            assert time.monotonic() < deadline, f"there is no {element} in the page {self.failures}"
            before = place
            time.sleep(0.2)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def click_text(self, text: str) -> None:
        """Click what shows exactly this text."""
        self.click(_WITH_TEXT % json.dumps(text))

    def write(self, text: str) -> None:
        """Enter text where the cursor is."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press one of a few keys."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key])

    def save_picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser_page(*, hosts: dict[str, str]) -> Iterator[Page]:
    """A page of a new browser, for which the names of `hosts` have these addresses."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    rules = ",".join(f"MAP {name} {address}" for name, address in hosts.items())
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--no-first-run"]
        options += [f"--user-data-dir={folder}", "--remote-debugging-port=0", f"--host-resolver-rules={rules}"]
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([program, *options, "about:blank"], stdout=file, stderr=file)
        try:
            with connect(_address_of_page(log), max_size=None, ping_interval=None) as connection:
                yield Page(connection)
        finally:
            process.terminate()
            process.wait()


def _address_of_page(log: Path) -> str:
    import urllib.request

    deadline = time.monotonic() + _START_SECONDS
    while not (found := re.search(r"DevTools listening on ws://([\w.:]+)/", log.read_text(errors="replace"))):
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)
    with urllib.request.urlopen(f"http://{found[1]}/json/list", timeout=30) as response:
        pages = [page for page in json.load(response) if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
