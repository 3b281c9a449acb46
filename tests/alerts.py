#!/usr/bin/env python3
"""`evenkeel alert` against a real Alertmanager, amtool, and servers here that stand for PagerDuty, Slack and a webhook.

    alerts.py [DIR]    DIR: what `evenkeel demo --data DIR --keep` left; made if it is not given

1. The demo's four incidents, told from the start: Alertmanager notifies each as firing and as resolved, once; the other
   receivers get what their public documentation asks for; the webhook fails at first, and the process is killed (SIGKILL)
   amid its work: nothing is lost, and what comes twice has the same key.
2. A live log: an incident is open in Alertmanager; amtool lists it at evenkeel's own API, silences a service before it
   fails, and it is not told, with the reason; the silence expires, and it is; both are resolved.
Exit 0: all held, 1: not.
"""
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import virtual

PACKAGES = ["jsonschema==4.26.0"]

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
MANAGER, HOOKS, API = 29593, 29594, 29595
SECRET = "a key of thirty-two bytes or more"
TEXT = {"type": "string", "minLength": 1}
SCHEMAS = {  # after the receivers' public documentation
    "pager": {
        "type": "object", "required": ["routing_key", "event_action", "dedup_key"],
        "properties": {"routing_key": {"const": SECRET}, "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
                       "dedup_key": {**TEXT, "maxLength": 255}, "payload": {
                           "type": "object", "required": ["summary", "source", "severity"],
                           "properties": {"summary": {**TEXT, "maxLength": 1024}, "source": TEXT,
                                          "severity": {"enum": ["critical", "error", "warning", "info"]},
                                          "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"},
                                          "custom_details": {"type": "object"}}}},
        "if": {"properties": {"event_action": {"const": "trigger"}}}, "then": {"required": ["payload"]}},
    "slack": {
        "type": "object", "required": ["text", "blocks"],
        "properties": {"text": TEXT, "blocks": {"type": "array", "minItems": 1, "maxItems": 50, "items": {
            "type": "object", "required": ["type"], "oneOf": [
                {"properties": {"type": {"const": "header"}, "text": {"required": ["type", "text"], "properties": {
                    "type": {"const": "plain_text"}, "text": {**TEXT, "maxLength": 150}}}}, "required": ["text"]},
                {"properties": {"type": {"const": "section"}, "fields": {"maxItems": 10, "items": {
                    "required": ["type", "text"], "properties": {"text": {**TEXT, "maxLength": 2000}}}}},
                 "anyOf": [{"required": ["text"]}, {"required": ["fields"]}]},
                {"properties": {"type": {"const": "context"}, "elements": {"minItems": 1, "maxItems": 10}},
                 "required": ["elements"]}]}}}},
    "hook": {
        "type": "object", "required": ["specversion", "id", "source", "type"],
        "properties": {"specversion": {"const": "1.0"}, "id": TEXT, "source": TEXT, "type": TEXT, "subject": TEXT,
                       "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT[\d:.]+Z$"}},
        "propertyNames": {"pattern": "^[a-z0-9]+$"}},
}


class Hooks(BaseHTTPRequestHandler):
    """Takes what is posted, by its path; the webhook fails twice first."""
    got, failures = [], 2

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        name = self.path.strip("/").split("/")[0]
        if name == "hook" and Hooks.failures:
            Hooks.failures -= 1
            return self.say(503)
        Hooks.got.append((name, dict(self.headers), body))
        self.say(202)

    def say(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def messages(name):
    return [json.loads(body) for to, _, body in Hooks.got if to == name]


def wait(what, within_s, holds):
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if holds():
            print(f"ok: {what}, after {time.monotonic() - began:.1f} s", flush=True)
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}; {Counter(to for to, _, _ in Hooks.got)}")


def notified():
    """What Alertmanager told people: how often by incident and status; one notification is one line."""
    found = Counter()
    for message in messages("manager"):
        found.update({(alert["labels"]["incident_id"], alert["status"]) for alert in message["alerts"]})
    return found


class Alerts:
    def __init__(self, folder):
        self.folder, self.processes = folder, []
        (folder / "secret").write_text(SECRET + "\n")
        hooks = f"http://127.0.0.1:{HOOKS}"
        receivers = [("ops", "alertmanager", f"http://127.0.0.1:{MANAGER}", ""), ("pager", "pagerduty", f"{hooks}/pager", "s"),
                     ("slack", "slack", f"{hooks}/slack", ""), ("hook", "webhook", f"{hooks}/hook", "s")]
        (folder / "receivers.toml").write_text("".join(
            f'[[receiver]]\nname = "{name}"\nkind = "{kind}"\nurl = "{url}"\n'
            + (f'secret_file = "{folder}/secret"\n' if secret else "") for name, kind, url, secret in receivers))
        (folder / "alertmanager.yml").write_text(
            "route: {receiver: hook, group_by: [incident_id], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}\n"
            "receivers: [{name: hook, webhook_configs: [{url: 'http://127.0.0.1:%d/manager', send_resolved: true}]}]\n" % HOOKS)

    def start(self, *words, **more):
        log = open(self.folder / f"{len(self.processes)}.log", "w")
        process = subprocess.Popen([*map(str, words)], stdout=log, stderr=subprocess.STDOUT, **more)
        self.processes.append(process)
        return process

    def alert(self, data, *words):
        return self.start(EVENKEEL, "alert", "--data", data, "--config", self.folder / "receivers.toml",
                          "--listen", f"127.0.0.1:{API}", "--every", 1500, *words)

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def once(*words):
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout


def amtool(*words):
    return once("amtool", f"--alertmanager.url=http://127.0.0.1:{API}", *words)


def is_served(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1).status == 200
    except OSError:
        return False


def check_payloads():
    import jsonschema
    for name, schema in SCHEMAS.items():
        found = messages(name)
        assert found, f"{name} got nothing"
        for message in found:
            jsonschema.Draft202012Validator(schema).validate(message)
    for to, headers, body in Hooks.got:
        if to == "hook":
            headers = {name.lower(): value for name, value in headers.items()}
            signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            assert headers["x-evenkeel-signature"] == signature and headers["idempotency-key"] == json.loads(body)["id"]
    print("ok: what PagerDuty, Slack and the webhook got is what they document, and signed", flush=True)


def from_demo(alerts, data):
    first = alerts.alert(data, "--from-start")
    wait("the webhook failed twice, and was told", 30, lambda: len(messages("hook")) >= 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    alerts.alert(data, "--from-start")
    wait("every incident was told and resolved", 60, lambda: len({it["id"] for it in messages("hook")}) == 8)
    ids = {it["subject"] for it in messages("hook")}
    assert len(ids) == 4, ids
    wait("Alertmanager notified each as firing and resolved", 30, lambda: len(notified()) == 8)
    time.sleep(4)
    assert set(notified().values()) == {1}, f"once each: {notified()}"
    pager = Counter((it["dedup_key"], it["event_action"]) for it in messages("pager"))
    assert set(pager) == {(key, action) for key in ids for action in ("trigger", "resolve")}, pager
    twice = sum(pager.values()) - len(pager) + len(messages("slack")) - 8
    assert 0 <= twice <= 2, f"a kill repeats one message of a receiver at most: {pager}, {len(messages('slack'))}"
    check_payloads()
    said = once(EVENKEEL, "alert", "--data", data, "--why", sorted(ids)[0])
    assert "not_notified" in said and "trigger" in said and "resolve" in said, said
    page = json.load(urllib.request.urlopen(f"http://127.0.0.1:{API}/status.json"))
    assert page["status"] == "operational" and len(page["incidents"]) == 4, page
    rss = urllib.request.urlopen(f"http://127.0.0.1:{API}/feed.rss").read().decode()
    assert rss.count("<item>") == 4, rss


def live(alerts, data):
    Hooks.got.clear()
    alerts.start(EVENKEEL, "run", "--data", data)
    wait("a log is there", 20, lambda: (data / "outputs").exists())
    alerts.alert(data)
    wait("its API is served", 20, lambda: is_served(API))

    def fail(service):
        now_us = time.time_ns() // 1000
        lines = [{"event_time_us": now_us + i, "service": service, "status": 500, "latency_us": 900, "route": "/"}
                 for i in range(200)]
        subprocess.run([EVENKEEL, "ship", "--data", str(data), "--topic", "req.events.v1", "-"], check=True,
                       input="\n".join(map(json.dumps, lines)) + "\n", text=True, capture_output=True)

    def is_listed(service, *words):
        return any(it["labels"]["service"] == service for it in json.loads(amtool("-o", "json", "alert", "query", *words)))

    def told(service, action="trigger"):
        return [it for it in messages("hook")
                if it["data"]["labels"].get("service") == service and it["type"].endswith(action)]

    fail("checkout")
    wait("amtool lists the open alert", 30, lambda: is_listed("checkout", "service=~check.*"))
    wait("it was told", 30, lambda: told("checkout"))
    silence = amtool("silence", "add", "--author=me", "--comment=drill", "--duration=5m", "service=search").strip()
    assert silence in amtool("silence", "query"), "the silence is listed"
    fail("search")
    wait("amtool lists the silenced alert as such", 30, lambda: is_listed("search", "--silenced"))
    time.sleep(2)
    assert not told("search"), "a silenced alert is not told"
    [found] = [it for it in json.loads(amtool("-o", "json", "alert", "query", "--silenced")) if it["labels"]["service"] == "search"]
    said = once(EVENKEEL, "alert", "--data", data, "--why", found["labels"]["incident_id"])
    assert "silenced" in said, said
    amtool("silence", "expire", silence)
    wait("its silence is over, and it is told", 20, lambda: told("search"))
    wait("both are resolved", 120, lambda: told("checkout", "resolve") and told("search", "resolve"))


def main():
    if not shutil.which("prometheus-alertmanager") or not shutil.which("amtool"):
        print("skipped: not installed: prometheus-alertmanager, amtool")
        return
    if not virtual.inside():
        run = virtual.runner("venv-alerts", PACKAGES)
        sys.exit(run(__file__, *sys.argv[1:]) if run else 0)
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-alerts-"))
    server = ThreadingHTTPServer(("127.0.0.1", HOOKS), Hooks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    alerts = Alerts(folder)
    try:
        data = folder / "demo"
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], data)
        else:
            once(EVENKEEL, "demo", "--seconds", 60, "--data", data, "--keep")
        alerts.start("prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/am",
                     f"--web.listen-address=127.0.0.1:{MANAGER}", "--cluster.listen-address=")
        wait("Alertmanager is there", 20, lambda: is_served(MANAGER))
        from_demo(alerts, data)
        alerts.processes[-1].kill()
        alerts.processes[-1].wait()
        live(alerts, folder / "live")
        print("all held")
    except BaseException:
        for log in sorted(folder.glob("*.log")):
            print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]))
        raise
    finally:
        alerts.stop()
        server.shutdown()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
