"""The status page of the real program in a real browser: it collects from a folder and sends to a stand-in for Loki.

    python3 e2e/page/test_program.py PROGRAM [PART OF A TEST'S NAME]
"""

import datetime
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import audit
import mock
import runner
from browser import Browser, find
from test_page import equal, text, wait_for

HOSTILE = '"><img src=x onerror=window.hacked=1>'


class Loki(BaseHTTPRequestHandler):
    """Answers every push with `server.status`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(self.server.status, b"" if self.server.status == 204 else b"this stand-in refuses\n")

    def do_GET(self):
        self.answer(404)


class Node:
    """A pods folder, the program that collects from it, and its Loki. `with Node(program) as node`."""

    def __init__(self, program):
        self.folder = Path(tempfile.mkdtemp(prefix="pilcrow-page-node-", dir=audit.TARGET))
        self.loki = mock.Server(("127.0.0.1", 0), Loki)
        self.loki.status = 204
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.logs = {}
        for name in ("default_web-0_11111111-1111-1111-1111-111111111111/nginx", "shop_cart-5f6c7b9d8-2mxnt_22222222-2222-2222-2222-222222222222/app",
                     "secret_vault-0_33333333-3333-3333-3333-333333333333/vault", f"default_{HOSTILE}_44444444-4444-4444-4444-444444444444/{HOSTILE}"):
            folder = self.folder / "pods" / name
            folder.mkdir(parents=True)
            self.logs[name.split("_")[1]] = folder / "0.log"
        (self.folder / "state").mkdir()
        (self.folder / "pilcrow.yaml").write_text(json.dumps({
            "loki": {"url": f"http://127.0.0.1:{self.loki.server_port}"}, "labels": {"cluster": "page"}, "levels": True,
            "paths": {"pods": f"{self.folder}/pods", "state": f"{self.folder}/state"}, "http": {"listen": f"127.0.0.1:{port}"},
            "kubernetes": {"enabled": "false", "namespaces": {"exclude": ["secret"]}}, "pipeline_stages": [{"json": {"expressions": {"order": ""}}}],
        }).replace('"false"', "false"))
        for pod in self.logs:
            for i in range(20):
                self.write(pod, f"level=error line {i} of {pod} <b>")
        self.log = open(self.folder / "log", "wb")
        self.program = subprocess.Popen([program, "run", "--config", str(self.folder / "pilcrow.yaml")], stdout=self.log, stderr=self.log)

    def __enter__(self):
        threading.Thread(target=self.loki.serve_forever, daemon=True).start()
        try:
            wait_for(lambda: self.get("/ready")[0] == 200, "the program is ready")
        except Exception:
            self.__exit__()
            print((self.folder / "log").read_text())
            raise
        return self

    def __exit__(self, *_):
        self.program.terminate()
        self.program.wait(60)
        self.loki.shutdown()
        self.loki.server_close()
        self.log.close()
        if not sys.exc_info()[0]:
            shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, pod, line, stream="stdout"):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        with open(self.logs[pod], "a", encoding="utf-8") as log:
            log.write(f"{now} {stream} F {line}\n")

    def get(self, path):
        """(status, headers, body); status None where nobody listens."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except OSError:
            return None, None, b""

    def json(self, path):
        status, _, body = self.get(path)
        equal(status, 200, path)
        return json.loads(body)


def opened(browser, node, place, ready):
    tab = browser.tab()
    tab.go(f"{node.address}/{place}")
    tab.until(ready)
    return tab


def the_page_is_served_as_its_sources_are(_browser, node):
    for path, expected in (("/", (mock.PAGE / "index.html").read_bytes()), ("/page.css", (mock.PAGE / "page.css").read_bytes()), ("/page.js", mock.script())):
        status, headers, body = node.get(path)
        equal(status, 200, path)
        assert body == expected, f"{path} differs from the sources"
        for name, value in (("Content-Security-Policy", mock.POLICY), ("X-Content-Type-Options", "nosniff")):
            equal(headers[name], value, f"{path} {name}")
        equal(headers["Set-Cookie"], None)


def its_answers_have_the_shape_that_the_page_is_tested_with(_browser, node):
    made_up = mock.Node("parked")
    unit = next(u for u in node.json("/api/v1/units")["units"] if u["pod"] == "web-0")
    assert unit["levels"]["error"] >= 20, unit
    now = time.time()
    for path, expected in (("/api/v1/status", made_up.status()), ("/api/v1/units", {"now": 0, "units": [made_up.unit(0, now)]}),
                           (f"/api/v1/units/{unit['id']}", made_up.one(2))):
        equal(differences(node.json(path), expected, ""), [], path)
    equal(node.get("/api/v1/units/u999999")[0], 404)


def differences(real, expected, at):
    """Keys that one lacks, and values of another kind; null stands for anything, and so does the inside of a map by names."""
    if real is None or expected is None:
        return []
    if isinstance(expected, dict) and isinstance(real, dict):
        if at.endswith(("labels", "metadata", "levels")):
            return []
        wrong = [f"{at}.{key} is {'missing' if key in expected else 'not expected'}" for key in set(expected) ^ set(real) if key != "now"]
        return wrong + [w for key in set(expected) & set(real) for w in differences(real[key], expected[key], f"{at}.{key}")]
    if isinstance(expected, list) and isinstance(real, list):
        return [w for i, item in enumerate(real[:3]) for w in differences(item, expected[0], f"{at}[{i}]")] if expected else []
    same = isinstance(real, bool) == isinstance(expected, bool) and (isinstance(real, type(expected)) or {type(real), type(expected)} <= {int, float})
    return [] if same else [f"{at} is {real!r}, expected the like of {expected!r}"]


def the_page_says_that_everything_arrives_and_lists_the_containers(browser, node):
    tab = opened(browser, node, "", "document.querySelector('h1').textContent === 'Everything arrives'")
    tab.until("/^4 containers/.test(document.querySelector('.table .said').textContent)")
    table = text(tab, ".units")
    for said in ("web-0", "cart-5f6c7b9d8-2mxnt", HOSTILE, "excluded", "collecting", "Errors"):
        assert said in table, f"{said} is not in {table}"
    assert f"127.0.0.1:{node.loki.server_port}" in text(tab, ".overview")
    equal(tab.eval("[document.querySelectorAll('img').length, typeof window.hacked]"), [0, "undefined"])
    equal(audit.problems(tab, node.address), [])
    equal(audit.contrast(tab), [])
    tab.picture(audit.TARGET / "program.png", whole=True)
    tab.close()


def a_containers_page_tells_its_labels_and_files(browser, node):
    tab = opened(browser, node, "", "document.querySelectorAll('.units tbody a').length >= 3")
    tab.eval("[...document.querySelectorAll('.units tbody a')].find((a) => a.textContent === 'web-0').click()")
    tab.until("document.querySelectorAll('.figures dd').length > 4")
    tab.until("['cluster=page', 'namespace=default', 'job=default/nginx', '0.log'].every((said) => document.querySelector('main').textContent.includes(said))")
    equal(text(tab, "h1"), "web-0")
    equal(tab.eval("document.querySelectorAll('.stream').length"), 1, "both streams are told at once")
    equal(audit.problems(tab, node.address), [])
    tab.picture(audit.TARGET / "program-container.png", whole=True)
    tab.close()


def a_line_that_a_container_writes_meanwhile_appears_in_its_live_tail(browser, node):
    unit = next(u["id"] for u in node.json("/api/v1/units")["units"] if u["pod"] == "web-0")
    tab = opened(browser, node, f"#/unit/{unit}", "/^(Waiting|Following)/.test(document.querySelector('.tail .said').textContent)")
    for i in range(600):
        node.write("cart-5f6c7b9d8-2mxnt", "of another container")
        node.write("web-0", f"meanwhile {i} <img src=x onerror=window.hacked=1>", stream="stderr")
        time.sleep(0.05)
        if tab.eval("document.querySelector('.lines').textContent.includes('<img src=x onerror=window.hacked=1>')"):
            break
    else:
        raise AssertionError(f"no line came: {text(tab, '.tail .said')}")
    assert "another" not in text(tab, ".lines")
    equal(tab.eval("[document.querySelectorAll('img').length, typeof window.hacked]"), [0, "undefined"])
    equal(audit.problems(tab, node.address), [])
    tab.close()


def a_loki_that_takes_nothing_is_told_and_so_is_its_return(browser, node):
    tab = opened(browser, node, "", "document.querySelector('h1').textContent === 'Everything arrives'")
    node.loki.status = 503
    try:
        node.write("web-0", "that waits")
        tab.until("/not accepting|problem/.test(document.querySelector('h1').textContent)")
        tab.until("document.querySelector('.overview').textContent.includes('503')")
    finally:
        node.loki.status = 204
    tab.until("document.querySelector('h1').textContent === 'Everything arrives'")
    equal(audit.problems(tab, node.address), [])
    tab.close()


def a_loki_that_wants_credentials_is_told_once_with_the_keys_to_set(browser, node):
    tab = opened(browser, node, "", "document.querySelector('h1').textContent === 'Everything arrives'")
    node.loki.status = 401
    try:
        node.write("web-0", "that waits")
        tab.until("document.querySelector('.verdict').textContent.includes('Loki is not accepting lines')")
        tab.until("document.querySelector('.verdict').textContent.includes('401')")
        equal(tab.eval("document.querySelector('.verdict').textContent.split('loki.basic_auth').length"), 2)
    finally:
        node.loki.status = 204
    tab.until("document.querySelector('h1').textContent === 'Everything arrives'")
    tab.close()


TESTS = [the_page_is_served_as_its_sources_are, its_answers_have_the_shape_that_the_page_is_tested_with,
         the_page_says_that_everything_arrives_and_lists_the_containers, a_containers_page_tells_its_labels_and_files,
         a_line_that_a_container_writes_meanwhile_appears_in_its_live_tail, a_loki_that_takes_nothing_is_told_and_so_is_its_return,
         a_loki_that_wants_credentials_is_told_once_with_the_keys_to_set]

if __name__ == "__main__":
    audit.TARGET.mkdir(parents=True, exist_ok=True)
    with Node(sys.argv[1]) as node, Browser(find()) as browser:
        good = runner.run(TESTS, (browser, node), *sys.argv[2:3])
    sys.exit(0 if good else 1)
