"""Stands in for the program behind the status page: the page's files with the headers that the program sends, and the JSON
of docs/status.md, made up. http://127.0.0.1:PORT/SCENARIO/ shows one of SCENARIOS.

    python3 e2e/page/mock.py [--port 9090]
"""

import argparse
import json
import math
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = Path(__file__).parents[2] / "collector/src/status/page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SCENARIOS = ("normal", "outage", "empty", "starting", "parked", "many", "hostile", "forbidden")
SCRIPT = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'

PODS = [
    ("default", "nginx-6d9c6b5f4-x2x7k", "nginx"), ("default", "nginx-6d9c6b5f4-lq9fv", "nginx"),
    ("shop", "checkout-7c9d5b88d4-8kqzw", "app"), ("shop", "checkout-7c9d5b88d4-8kqzw", "istio-proxy"),
    ("shop", "cart-5f6c7b9d8-2mxnt", "app"), ("shop", "payments-0", "app"), ("shop", "payments-0", "migrate"),
    ("home", "home-assistant-0", "home-assistant"), ("home", "zigbee2mqtt-58d4c9b7f6-jw5lp", "zigbee2mqtt"),
    ("home", "mosquitto-0", "mosquitto"), ("media", "jellyfin-84bd6c5c9b-t7k2q", "jellyfin"),
    ("monitoring", "loki-0", "loki"), ("monitoring", "prometheus-0", "prometheus"),
    ("monitoring", "grafana-6b8d7d9c5-zr4hn", "grafana"), ("kube-system", "coredns-6799fbcd5-9v8rd", "coredns"),
    ("kube-system", "traefik-f4564c4f4-5kx8p", "traefik"), ("kube-system", "local-path-provisioner-84db5d44d9-h2n6c", "local-path-provisioner"),
    ("kube-system", "metrics-server-67c658944b-ss5q4", "metrics-server"), ("longhorn-system", "longhorn-manager-c4v2x", "longhorn-manager"),
    ("cert-manager", "cert-manager-5c9d8b7f6-xp3zl", "cert-manager"),
]
TEXTS = [
    ("stdout", '10.42.0.17 - - "GET /api/cart HTTP/1.1" 200 512 "-" "kube-probe/1.34"'),
    ("stdout", '{"level":"info","msg":"order placed","order":"b7f3","items":3,"ms":41}'),
    ("stderr", "WARN  connection pool exhausted, waiting 250ms (active=32 idle=0)"),
    ("stdout", '{"level":"info","msg":"payment accepted","provider":"sepa","ms":212}'),
    ("stdout", 'level=info ts=2026-11-28T14:02:11Z caller=compactor.go:112 msg="compacted block" took=1.2s'),
    ("stderr", "ERROR upstream timed out (110: Connection timed out) while reading response header"),
]


class Node:
    """The state of one scenario. `lines` is what each live tail is sent."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.started = time.time()
        self.cut = False  # answers nothing while set, as a program that is gone
        self.standby = False  # waits for another one's end while set
        self.busy = False  # cannot tell its containers while set
        self.hold = threading.Condition()
        self.lines = []
        self.rate = {"many": 50}.get(scenario, 4)
        self.random = random.Random(7)
        self.names = self.make_names()

    def make_names(self):
        if self.scenario in ("empty", "starting"):
            return []
        if self.scenario == "many":
            return [(f"team-{i % 40}", f"worker-{i:05d}-{i * 7919 % 99991:05x}", "app") for i in range(10_000)]
        if self.scenario == "hostile":
            return [
                (SCRIPT, IMAGE, "app"), ("default", "x" * 300, "y" * 300), ("rtl", "\u202egnp.exe\u202c-pod", "\u2066app"),
                ("'; drop--", "javascript:alert(1)", "{{7*7}}"), ("a&amp;b", "${window.hacked=1}", "%3Cscript%3E"),
                ("zero\u200bwidth", "esc\u001b[31mred", "nul\u0000"), ("two\nlines", "a\tb\u061c", "soft\u00adtag\U000e0041"),
            ]
        return PODS

    def wave(self, at, mean, swing):
        noise = random.Random(int(at / 10)).uniform(-1, 1)
        return max(0.0, mean * (1 + swing * (math.sin(at / 140) + 0.6 * math.sin(at / 37) + 0.8 * noise)))

    def state_of(self, i):
        if self.scenario == "hostile":
            return ("parked", f"Loki: 400 {SCRIPT}") if i == 0 else ("excluded", f"annotation {IMAGE}") if i == 1 else ("collecting", "")
        if self.scenario == "parked" and i in (2, 5):
            return "parked", "its lines stay on the disk and are tried again: Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream"
        if i % 20 == 11:
            return "excluded", 'its pod has the annotation pilcrow.dev/exclude: "true"'
        if i % 20 == 17:
            return "excluded", "dropped by relabel_configs[2]: drop __meta_kubernetes_namespace matching kube-system"
        if i % 20 == 6:
            return "gone", "its log folder is gone; what is left of its lines is still being sent"
        if i % 20 == 19:
            return "waiting", "it waits for the pod's metadata from the Kubernetes API (kubernetes.wait)"
        return "collecting", ""

    def unit(self, i, now):
        namespace, pod, container = self.names[i]
        state, reason = self.state_of(i)
        runs = state == "collecting"
        rate = self.wave(now + i * 311, [310, 260, 120, 44, 37, 22, 0, 3, 9, 2, 1, 16, 11, 4, 5, 61, 0.2, 0, 7, 0.1][i % 20], 0.25) if runs else 0
        if self.scenario == "outage":
            lag = int(rate * 180 * 252)
        else:
            lag = int(rate * 60) if runs else 41_000_000 if state == "parked" else 0
        total = int(rate * 3.1e5) + (17_421 if state in ("parked", "gone") else 0)
        return {
            "id": f"u{i}", "namespace": namespace, "pod": pod, "container": container, "state": state, "reason": reason,
            "lines": total, "bytes": total * 180, "lines_per_s": round(rate, 2), "bytes_per_s": round(rate * 180, 1), "lag_bytes": lag,
            "levels": {"error": total // 40_000 if i % 3 == 0 else 0, "warn": total // 9_000, "info": total - total // 9_000},
        }

    def status(self):
        now = time.time()
        units = [self.state_of(i)[0] for i in range(len(self.names))]
        out = self.scenario == "outage"
        idle = not self.names
        ends = int(now / 10) * 10
        times = [ends - 10 * (89 - i) for i in range(90)]
        read = [0 if idle else round(self.wave(t, 890, 0.16), 1) for t in times]
        taken = [0 if out and t > now - 252 else r for t, r in zip(times, read)]
        lag = [int(max(0, t - (now - 252)) * 890 * 180) if out else int(r * 110) for t, r in zip(times, read)]
        problems, notes = [], []
        if self.scenario == "hostile":
            problems, notes = [f"cannot list {SCRIPT}: {IMAGE}"], [IMAGE]
        if out:
            problems = ["Loki has acknowledged nothing for 252 s, though lines wait (ready.after); the log says why"]
        lines = int(0 if idle else (now - self.started) * 890 + 271_804_112)
        return {
            "version": "0.2.0", "node": SCRIPT if self.scenario == "hostile" else "pi-1", "kernel": "6.12.47+rpt-rpi-2712",
            "started": int((self.started - 262_861) * 1000), "now": int(now * 1000),
            "notifier": {"backend": "inotify", "fallback_reason": "the kernel has no BTF"},
            "reader": {"backend": "io_uring", "fallback_reason": ""},
            "ready": self.scenario not in ("starting", "outage"), "problems": problems, "notes": notes,
            "loki": {
                "url": "http://loki.monitoring:3100", "last_acknowledged": None if idle else int((now - (252 if out else 0.4)) * 1000),
                "last_answer": None if idle else "503 Service Unavailable: ingester is shutting down" if out else "204",
                "advice": None,
                "last_answer_at": None if idle else int((now - 0.4) * 1000),
                "outage_since": int((now - 252) * 1000) if out else None, "waiting_bytes": 8_388_608 if out else 41_233,
                "parked_streams": 2 if self.scenario == "parked" else 0,
            },
            "units": {state: units.count(state) for state in ("collecting", "waiting", "parked", "excluded", "gone")},
            "totals": {
                "lines_read": lines, "bytes_read": lines * 180, "lines_acknowledged": lines - (224_280 if out else 0 if idle else 97),
                "lines_dropped": 0 if idle else 1_204, "lag_bytes": 40_370_400 if out else lag[-1],
                "cpu_seconds": 611 + (now - self.started) * 0.0031,
                "memory_bytes": int(17.4 * 2**20),
            },
            "history": {
                "step_ms": 10_000, "end": ends * 1000, "lines_read": read, "lines_acknowledged": taken,
                "bytes_read": [r * 180 for r in read], "lag_bytes": lag, "cpu_percent": [round(self.wave(t + 5, 0.31, 0.2), 3) for t in times],
                "memory_bytes": [int((17 + self.wave(t, 0.4, 0.5)) * 2**20) for t in times],
            },
            "tail": self.scenario != "forbidden", "levels": True,
        }

    def one(self, i):
        now = time.time()
        unit = self.unit(i, now)
        app = SCRIPT if self.scenario == "hostile" else re.sub(r"-[a-z0-9]+(-[a-z0-9]{5})?$", "", unit["pod"])
        steps = [
            ("labels of the configuration", "cluster", "home-k8s"),
            ("built-in: replace __meta_kubernetes_namespace to namespace", "namespace", unit["namespace"]),
            ("built-in: replace __meta_kubernetes_pod_name to pod", "pod", unit["pod"]),
            ("built-in: replace __meta_kubernetes_pod_container_name to container", "container", unit["container"]),
            ("built-in: replace __meta_kubernetes_pod_label_app_kubernetes_io_name to app", "app", app),
            ("built-in: replace __meta_kubernetes_namespace, __meta_kubernetes_pod_container_name to job", "job", f"{unit['namespace']}/{unit['container']}"),
            ("built-in: replace __meta_pilcrow_stream to stream", "stream", None),
            ("relabel_configs[0]: replace __meta_kubernetes_pod_label_team to team", "team", "shop"),
        ]

        def made(stream):
            labels, rules = {}, []
            for rule, label, value in steps:
                labels = {**labels, label: value or stream}
                rules.append({"rule": rule, "labels": labels, "text": f'sets {label}="{value or stream}"'})
            rules.append({"rule": "relabel_configs[1]: keep namespace matching .+", "labels": labels, "text": "changes nothing"})
            labels = {k: v for k, v in labels.items() if k != "container"}
            rules.append({"rule": "relabel_configs[2]: labeldrop matching container", "labels": labels, "text": "removes container"})
            return {"stream": stream, "labels": labels, "metadata": {"node": "pi-1", "pod_uid": "1c6b5a9e-7f0e-4c2d-9f0a-2f1b7d0c9a11"}, "rules": rules}

        unit["streams"] = [] if unit["state"] == "excluded" else [made("stdout"), made("stderr")]
        size = 4_812_334
        unit["files"] = [
            {"name": "0.log.20261128-130211.gz", "bytes": None, "position": 10_485_760, "state": "done"},
            {"name": "0.log", "bytes": size, "position": size - min(size, unit["lag_bytes"]), "state": "reading"},
        ]
        unit["stages"] = [
            {"stage": "json", "place": "pipeline_stages[0]", "in": unit["lines"], "dropped": 0},
            {"stage": "drop", "place": "pipeline_stages[1]", "in": unit["lines"], "dropped": unit["lines"] // 12},
            {"stage": "labels", "place": "pipeline_stages[2]", "in": unit["lines"] - unit["lines"] // 12, "dropped": 0},
        ]
        unit["last_refusal"] = {"at": int((now - 321) * 1000), "text": unit["reason"]} if unit["state"] == "parked" else None
        unit["now"] = int(now * 1000)
        return unit

    def emit(self, text, stream="stdout", unit=0):
        """Gives one line to every live tail."""
        namespace, pod, container = self.names[unit]
        with self.hold:
            self.lines.append({
                "time_ns": str(time.time_ns()), "unit": f"u{unit}", "namespace": namespace, "pod": pod, "container": container, "stream": stream,
                "labels": '{namespace="%s", pod="%s", stream="%s"}' % (namespace, pod, stream), "metadata": {"node": "pi-1"}, "text": text,
            })
            self.hold.notify_all()

    def chatter(self, ended):
        while not ended.wait(1 / self.rate):
            if self.names:
                stream, text = self.random.choice(TEXTS)
                unit = self.random.choice([i for i in range(min(20, len(self.names))) if self.state_of(i)[0] == "collecting"])
                self.emit(text if self.scenario != "hostile" else f"{SCRIPT}{IMAGE}\u202etxt\u001b[31m", stream, unit)


class Handler(BaseHTTPRequestHandler):
    """One request. `server.nodes` holds the scenarios."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.headers_of(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def headers_of(self, kind):
        for name, value in (("Content-Type", kind), ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
                            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"), ("Connection", "close")):
            self.send_header(name, value)

    def do_GET(self):
        self.close_connection = True
        url = urlsplit(self.path)
        self.server.asked.append(self.path)
        scenario, _, place = url.path.lstrip("/").partition("/")
        node = self.server.nodes.get(scenario)
        if node is None:
            return self.answer(404, "text/plain", f"one of {', '.join(SCENARIOS)}\n".encode())
        if node.cut:
            return None
        files = {"": ("text/html; charset=utf-8", lambda: (PAGE / "index.html").read_bytes()),
                 "page.css": ("text/css; charset=utf-8", lambda: (PAGE / "page.css").read_bytes()), "page.js": ("text/javascript; charset=utf-8", script)}
        if place in files:
            kind, body = files[place]
            return self.answer(200, kind, body())
        if node.standby and place.startswith("api/"):
            return self.answer(503, "text/plain", b"standing by: another Pilcrow holds the state folder\n")
        if place == "api/v1/status":
            return self.json(node.status())
        if node.busy and place.startswith("api/v1/units"):
            return self.answer(503, "text/plain", b"the reader is busy\n")
        if place == "api/v1/units":
            now = time.time()
            return self.json({"now": int(now * 1000), "units": [node.unit(i, now) for i in range(len(node.names))]})
        if place == "api/v1/tail":
            return self.tail(node, {k: v[0] for k, v in parse_qs(url.query).items()})
        unit = re.fullmatch(r"api/v1/units/u(\d+)", unquote(place))
        if unit and int(unit[1]) < len(node.names):
            return self.json(node.one(int(unit[1])))
        return self.answer(404, "text/plain", b"not found\n")

    def json(self, value):
        self.answer(200, "application/json", json.dumps(value).encode())

    def tail(self, node, query):
        if node.scenario == "forbidden":
            return self.answer(403, "text/plain", b"live tail is only for connections from this machine; http.tail: true allows it for all")
        self.send_response(200)
        self.headers_of("text/event-stream")
        self.end_headers()
        self.wfile.flush()
        at = len(node.lines)
        while not node.cut:
            with node.hold:
                node.hold.wait_for(lambda: len(node.lines) > at or node.cut, timeout=15)
                new, at = node.lines[at:], len(node.lines)
            try:
                self.wfile.write(b": keep\n\n")
                for line in new:
                    if query.get("unit") not in (None, line["unit"]) or not re.search(query.get("grep", ""), line["text"]):
                        continue
                    if query.get("mode") == "raw":
                        line = {**line, "labels": None, "metadata": None}
                    self.wfile.write(f"event: line\ndata: {json.dumps(line)}\n\n".encode())
                self.wfile.flush()
            except OSError:
                return None
        return None


def script():
    """The page's script, joined as the program joins it."""
    names = (PAGE / "ORDER").read_text().split()
    return b"'use strict';\n" + b"".join((PAGE / name).read_bytes() for name in names)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A browser that goes away in the middle of an answer is nothing to report."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Mock:
    """The server on a port of 127.0.0.1; `with Mock() as mock`. `chatter`: containers write by themselves."""

    def __init__(self, port=0, chatter=False):
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.asked = []
        self.nodes = self.server.nodes = {name: Node(name) for name in SCENARIOS}
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.ended = threading.Event()
        self.chatter = chatter

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for node in self.nodes.values() if self.chatter else ():
            threading.Thread(target=node.chatter, args=(self.ended,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for node in self.nodes.values():
            with node.hold:
                node.cut = True
                node.hold.notify_all()
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=9090)
    with Mock(options.parse_args().port, chatter=True) as served:
        print("\n".join(f"{served.address}/{name}/" for name in SCENARIOS), flush=True)
        try:
            served.ended.wait()
        except KeyboardInterrupt:
            pass
