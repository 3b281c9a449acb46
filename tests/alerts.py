#!/usr/bin/env python3
"""`evenkeel alert` against a real Alertmanager, amtool, and servers here that stand for PagerDuty, Slack and a webhook.

    alerts.py [--demo DIR] [--outage DIR] [--only NAME]

--demo: what `evenkeel demo --data DIR --keep` left, made if it is not given; --outage: what `cargo bench --bench scenarios --
outage-400 --seeds 1 --data DIR` left; --only: one of demo, live, outage, kafka. The last needs KAFKA_BOOTSTRAP.

1. The demo's four incidents, told from the start: Alertmanager notifies each as firing and as resolved, once; the other
   receivers get what their public documentation asks for; the webhook fails at first, and the process is killed (SIGKILL)
   amid its work: nothing is lost, and what comes twice has the same key.
2. A live log, whose policy says who is told: an incident is open in Alertmanager; amtool lists it at evenkeel's own API,
   silences a service before it fails, and it is not told, with the reason; the silence expires, and it is; both are resolved.
   The lead, who is told of what nobody took on for a minute, is told of the one that nobody did. A third service is silenced by
   another version of the policy, which nobody can expire, and told once that is rolled back.
3. An outage of 400 services, with all that the engine said of it: at most three notifications for each receiver, within its budget;
   of every incident that was not told, `--why` gives the reason.
4. The same on Kafka: an incident is told, the process is killed, and its end is told once.
What each receiver got is held to a JSON Schema of its public fields (alerts/), and the schemas to what is broken.
Exit 0: all held, 1: not.
"""
import argparse
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import verify
import virtual

PACKAGES = ["jsonschema==4.26.0"]

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
MANAGER, HOOKS, API = 29593, 29594, 29595
SECRET = "a key of thirty-two bytes or more"
TEXT = {"type": "string", "minLength": 1}
SCHEMAS = {"pager": "pagerduty", "slack": "slack", "lead": "slack", "hook": "cloudevent"}  # what each kind takes: alerts/*.json
INCIDENTS = 2  # the number of the dataset in a log, see verify.py
TIER_S = 60  # `after: 1m` of the lead


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
        for name in ("slack", "lead"):
            (folder / f"{name}.url").write_text(f"http://127.0.0.1:{HOOKS}/{name}\n")
        hooks, secret = f"http://127.0.0.1:{HOOKS}", {"secret_file": f"{folder}/secret"}
        receivers = {"ops": {"type": "alertmanager", "url": f"http://127.0.0.1:{MANAGER}"},
                     "pager": {"type": "pagerduty", "url": f"{hooks}/pager", **secret},
                     "slack": {"type": "slack", "url_file": f"{folder}/slack.url", "pages_an_hour": 5},
                     "hook": {"type": "webhook", "url": f"{hooks}/hook", **secret}}
        self.policies = folder / "policies"
        self.policies.mkdir()
        for name, spec in receivers.items():
            self.write("Receiver", name, spec)
        self.lead("1m")
        (folder / "alertmanager.yml").write_text(
            "route: {receiver: hook, group_by: [incident_id], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}\n"
            "receivers: [{name: hook, webhook_configs: [{url: 'http://127.0.0.1:%d/manager', send_resolved: true}]}]\n" % HOOKS)

    def lead(self, after):
        """The lead is told of what nobody took on for so long."""
        self.write("Receiver", "lead", {"type": "slack", "url_file": f"{self.folder}/lead.url", "after": after})

    def write(self, kind, name, spec):
        """A document; JSON is YAML."""
        document = {"apiVersion": "evenkeel/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        (self.policies / f"{name}.yaml").write_text(json.dumps(document) + "\n")

    def start(self, *words, **more):
        log = open(self.folder / f"{len(self.processes)}.log", "w")
        process = subprocess.Popen([*map(str, words)], stdout=log, stderr=subprocess.STDOUT, **more)
        self.processes.append(process)
        return process

    def alert(self, log, *words):
        return self.start(EVENKEEL, "alert", *log, "--listen", f"127.0.0.1:{API}", "--every", 1500, *words)

    def end(self, process):
        process.kill()
        process.wait()

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def once(*words):
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout


def amtool(*words):
    return once("amtool", f"--alertmanager.url=http://127.0.0.1:{API}", *words)


def is_served(port, path="-/ready"):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=1).status == 200
    except OSError:
        return False


def check_payloads(*names):
    import jsonschema
    for name in names:
        found, schema = messages(name), json.loads((HERE / "alerts" / f"{SCHEMAS[name]}.json").read_text())
        assert found, f"{name} got nothing"
        validator = jsonschema.Draft202012Validator(schema)
        for message in found:
            validator.validate(message)
        for field in schema["required"]:
            broken = {key: value for key, value in found[0].items() if key != field}
            assert not validator.is_valid(broken), f"the schema of {name} lets a message without {field} pass"
        assert not validator.is_valid({**found[0], "a field": 1}), f"the schema of {name} lets any field pass"
    for to, headers, body in Hooks.got:
        if to == "hook":
            headers = {name.lower(): value for name, value in headers.items()}
            signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            assert headers["x-evenkeel-signature"] == signature and headers["idempotency-key"] == json.loads(body)["id"]
    assert all(message["routing_key"] == SECRET for message in messages("pager"))
    print(f"ok: what {', '.join(names)} got is what their kind documents, and signed", flush=True)


def from_demo(alerts, source):
    data = alerts.folder / "demo"
    if source:
        shutil.copytree(source, data)
    else:
        once(EVENKEEL, "demo", "--seconds", 60, "--data", data, "--keep")
    alerts.lead("10m")  # longer than anything in the demo
    log = ["--data", data, "--policies", alerts.policies]
    first = alerts.alert(log, "--from-start")
    wait("the webhook failed twice, and was told", 30, lambda: len(messages("hook")) >= 2)
    alerts.end(first)
    second = alerts.alert(log, "--from-start")
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
    check_payloads("pager", "slack", "hook")
    said = once(EVENKEEL, "alert", "--data", data, "--why", sorted(ids)[0])
    assert all(word in said for word in ("not_notified", "trigger", "resolve", "below_tier")), said
    assert not messages("lead"), "nobody is told of what was over before their turn came"
    alerts.lead("1m")
    page = json.load(urllib.request.urlopen(f"http://127.0.0.1:{API}/status.json"))
    assert page["status"] == "operational" and len(page["incidents"]) == 4, page
    rss = urllib.request.urlopen(f"http://127.0.0.1:{API}/feed.rss").read().decode()
    assert rss.count("<item>") == 4, rss
    alerts.end(second)


def fail(log, service):
    now_us = time.time_ns() // 1000
    lines = [{"event_time_us": now_us + i, "service": service, "status": 500, "latency_us": 900, "route": "/"} for i in range(200)]
    subprocess.run([EVENKEEL, "ship", *map(str, log), "--topic", "req.events.v1", "-"], check=True,
                   input="\n".join(map(json.dumps, lines)) + "\n", text=True, capture_output=True)


def is_listed(service, *words):
    return any(it["labels"]["service"] == service for it in json.loads(amtool("-o", "json", "alert", "query", *words)))


def told(service, action="trigger"):
    return [it for it in messages("hook") if it["data"]["labels"].get("service") == service and it["type"].endswith(action)]


def live(alerts):
    data = alerts.folder / "live"
    log = ["--data", data]
    run = alerts.start(EVENKEEL, "run", *log)
    wait("a log is there", 20, lambda: (data / "outputs").exists())
    once(EVENKEEL, "policy", "apply", alerts.policies, *log, "--by", "ann")
    alert = alerts.alert(log)
    wait("its API is served", 20, lambda: is_served(API))
    fail(log, "checkout")
    wait("amtool lists the open alert", 30, lambda: is_listed("checkout", "service=~check.*"))
    wait("it was told", 30, lambda: told("checkout"))
    taken = urllib.request.Request(f"http://127.0.0.1:{API}/acknowledge/{told('checkout')[0]['subject']}", method="POST")
    assert urllib.request.urlopen(taken).status in (200, 204), "somebody takes it on"
    silence = amtool("silence", "add", "--author=me", "--comment=drill", "--duration=5m", "service=search").strip()
    assert silence in amtool("silence", "query"), "the silence is listed"
    fail(log, "search")
    wait("amtool lists the silenced alert as such", 30, lambda: is_listed("search", "--silenced"))
    time.sleep(2)
    assert not told("search"), "a silenced alert is not told"
    [found] = [it for it in json.loads(amtool("-o", "json", "alert", "query", "--silenced")) if it["labels"]["service"] == "search"]
    said = once(EVENKEEL, "alert", "--data", data, "--why", found["labels"]["incident_id"])
    assert "silenced" in said, said
    amtool("silence", "expire", silence)
    wait("its silence is over, and it is told", 20, lambda: told("search"))
    began = time.monotonic()
    while not messages("lead") and time.monotonic() < began + TIER_S + 30:
        fail(log, "search")
        time.sleep(3)
    [lead] = messages("lead")
    page = time.mktime(time.strptime(found["startsAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert time.time() - page >= TIER_S and "search" in lead["text"], (time.time() - page, lead)
    print(f"ok: the lead was told of what nobody took on, {time.time() - page:.0f} s after it opened, and of nothing else", flush=True)
    check_payloads("pager", "slack", "lead", "hook")
    hour = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s)) for s in (-60, 3600)]
    alerts.write("Silence", "drill", {"match": ["service=billing"], "from": hour[0], "to": hour[1], "by": "ann", "why": "a drill"})
    once(EVENKEEL, "policy", "apply", alerts.policies, *log, "--by", "ann")
    wait("the policy's silence is listed", 20, lambda: "policy:drill" in amtool("silence", "query"))
    refused = subprocess.run(["amtool", f"--alertmanager.url=http://127.0.0.1:{API}", "silence", "expire", "policy:drill"],
                             capture_output=True)
    assert refused.returncode, "nobody expires what the policy says"
    fail(log, "billing")
    wait("amtool lists it as silenced", 30, lambda: is_listed("billing", "--silenced"))
    time.sleep(2)
    assert not told("billing"), "what the policy silences is not told"
    once(EVENKEEL, "policy", "rollback", *log, "--by", "bob")
    wait("the policy is rolled back, and it is told", 20, lambda: told("billing"))
    wait("both are resolved", 120, lambda: told("checkout", "resolve") and told("search", "resolve"))
    alerts.end(alert)
    alerts.end(run)


def outage(alerts, source):
    """400 services that fail with what they call, as `benches/scenarios` has it."""
    data = alerts.folder / "outage"
    shutil.copytree(source, data)
    alert = alerts.alert(["--data", data, "--policies", alerts.policies], "--from-start")
    wait("the outage was told, and its end", 60, lambda: messages("hook") and messages("hook")[-1]["type"].endswith("resolve"))
    time.sleep(6)
    alerts.end(alert)
    counts = {name: len(messages(name)) for name in ("manager", "pager", "slack", "lead", "hook")}
    print(f"ok: notifications of the outage: {counts}", flush=True)
    assert all(0 < count <= 3 for count in counts.values()), counts
    rows = verify.log_records(sorted((data / "outputs").glob("*.seg")), INCIDENTS)
    rows = [json.loads(value) for _, _, value in rows]
    affected = max(row["affected"] for row in rows)
    assert affected >= 400, f"only {affected} services stood in it"
    triggered, reasons = {it["subject"] for it in messages("hook") if it["type"].endswith("trigger")}, Counter()
    for incident in {row["incident_id"] for row in rows}:
        decisions = once(EVENKEEL, "alert", "--data", data, "-o", "json", "--why", incident).splitlines()
        decisions = [json.loads(line) for line in decisions]
        reasons.update(it["reason"] for it in decisions if it["what"] == "suppressed")
        for name in ("ops", "pager", "slack", "lead", "hook"):
            mine = [it for it in decisions if it["receiver"] in ("", name)]
            assert mine and all(it["reason"] for it in mine), f"{name} of {incident}: {decisions}"
            sent = any(it["what"] == "sent" and it["receiver"] == name for it in mine)
            assert sent == (incident in triggered), f"{name} of {incident}: {mine}"
    print(f"ok: {len({row['incident_id'] for row in rows})} incidents of {affected} services in {len(rows)} records, "
          f"{len(triggered)} told; why the others were not: {dict(reasons)}", flush=True)


def on_kafka(alerts, brokers):
    log = ["--brokers", brokers, "--topic-prefix", f"alerts.{os.getpid()}."]
    run = alerts.start(EVENKEEL, "run", *log, "--http", "127.0.0.1:29596")
    wait("it runs on Kafka", 60, lambda: is_served(29596, "readyz"))
    follow = [*log, "--state", alerts.folder / "kafka-state", "--policies", alerts.policies]
    alert = alerts.alert(follow)
    wait("its API is served", 20, lambda: is_served(API))
    fail(log, "checkout")
    wait("it was read from Kafka, and told", 30, lambda: told("checkout"))
    alerts.end(alert)
    alerts.alert(follow)
    wait("its end is told", 120, lambda: told("checkout", "resolve"))
    time.sleep(4)
    assert (len(told("checkout")), len(told("checkout", "resolve"))) == (1, 1), "once each, over a kill"
    check_payloads("pager", "slack", "hook")
    alerts.end(run)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--outage", type=Path)
    parser.add_argument("--only", choices=["demo", "live", "outage", "kafka"])
    options = parser.parse_args()
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
        alerts.start("prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/am",
                     f"--web.listen-address=127.0.0.1:{MANAGER}", "--cluster.listen-address=")
        wait("Alertmanager is there", 20, lambda: is_served(MANAGER))
        steps = {"demo": lambda: from_demo(alerts, options.demo), "live": lambda: live(alerts),
                 "outage": options.outage and (lambda: outage(alerts, options.outage)),
                 "kafka": os.environ.get("KAFKA_BOOTSTRAP") and (lambda: on_kafka(alerts, os.environ["KAFKA_BOOTSTRAP"]))}
        for name in [options.only] if options.only else steps:
            Hooks.got.clear()
            if steps[name]:
                steps[name]()
            else:
                print(f"skipped: {name}, for which there is no data or no broker", flush=True)
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
