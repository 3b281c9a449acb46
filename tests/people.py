#!/usr/bin/env python3
"""People who decide, on a live run: roster, approvals of two persons with one-time passwords, a gate, and a broken glass.

1. A policy with a roster: commands need two persons of a role, each proven by the gate. Words that are not proven, forged,
   of a stranger's role, doubled or too late do not count, and each is told why; two good ones have the command issued.
2. The gate: a password counts once, also after SIGKILL; five wrong ones lock out, and the audit log says so.
3. The glass: one person decides alone, everybody is told, and it ends by itself.
4. Receivers are told with who is on call; the second tier a minute later, as nobody took it on.
5. The log of the run: replayed by 1 and 2 workers it is what was committed.
On the embedded log or, with KAFKA_BOOTSTRAP, on Kafka. Exit 0: all held, 1: not.
"""
import base64
import hashlib
import hmac
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
KAFKA = os.environ.get("KAFKA_BOOTSTRAP")
GATE, API, HOOKS = 29505, 29506, 29507
SCRATCH = Path(tempfile.mkdtemp(prefix="evenkeel-people-"))
PLACE = ["--brokers", KAFKA, "--topic-prefix", f"people.{os.getpid()}."] if KAFKA else ["--data", str(SCRATCH / "data")]
POLICY = """
apiVersion: evenkeel/v1
kind: Roster
metadata: {name: shop}
spec:
  people:
    ann: {roles: [sre], teams: [shop], contact: ann@example.com}
    bob: {roles: [sre], teams: [shop], contact: bob@example.com}
    cy: {roles: [guest], teams: [shop], contact: cy@example.com}
  on_call:
    shop:
      - {people: [ann, bob], turn: daily, from: "2026-01-05T09:00:00+01:00"}
      - {people: [cy], turn: weekly, from: "2026-01-05T09:00:00+01:00"}
  gates: ["%s"]
  break_glass: {roles: [sre], totp: true, longest: 1h}
---
apiVersion: evenkeel/v1
kind: RecoveryPolicy
metadata: {name: careful}
spec: {mode: auto, approval: {roles: [sre], persons: 2, totp: true, wait: 10m}}
"""
RECEIVER = """
---
apiVersion: evenkeel/v1
kind: Receiver
metadata: {name: %s}
spec: {type: webhook, url: "http://127.0.0.1:%d/%s", secret_file: %s/hook.secret, on_call: shop%s}
"""
SECOND = ', tier: 2, after: 1m, match: ["alertname!=BreakGlass"]'
processes, secrets, used, told = [], {}, {}, []


def receiver(name, more=""):
    return RECEIVER % (name, HOOKS, name, SCRATCH, more)


def expect(holds, what):
    if not holds:
        raise AssertionError(what)
    print(f"ok: {what if len(what) < 110 else what[:110] + ' …'}", flush=True)


def wait(what, within_s, holds):
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if found := holds():
            print(f"ok: {what}, after {time.monotonic() - began:.1f} s", flush=True)
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {what}")


def evenkeel(*words, exits=0, text=False):
    done = subprocess.run([EVENKEEL, *map(str, words), *([] if text else ["-o", "json"]), "--log", "error"], capture_output=True, text=True)
    if done.returncode != exits:
        raise AssertionError(f"{words}: exit {done.returncode}, not {exits}: {done.stdout}{done.stderr}")
    if text:
        return done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return said or done.stderr


def start(*words):
    log = open(SCRATCH / f"{len(processes)}.log", "w")
    process = subprocess.Popen([EVENKEEL, *map(str, words)], stdout=log, stderr=subprocess.STDOUT)
    processes.append(process)
    return process


def password(name):
    """The next one of a person that was not used; waits for it if need be."""
    while True:
        now = int(time.time()) // 30
        step = max(now, used.get(name, 0) + 1)
        if step <= now + 1:
            break
        time.sleep(0.2)
    used[name] = step
    digest = hmac.new(secrets[name], struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7fffffff) % 10**6:06}"


def approve(command, by, *words, exits=0):
    said = evenkeel("approve", command, "--by", by, *PLACE, "--gate", f"http://127.0.0.1:{GATE}", *words, exits=exits)
    return said[0]["detail"] if isinstance(said, list) else said


def fail(service):
    now_us = time.time_ns() // 1000
    lines = [{"event_time_us": now_us + i, "service": service, "status": 500, "latency_us": 900, "route": "/"} for i in range(200)]
    ship("req.events.v1", lines)


def ship(topic, lines):
    subprocess.run([EVENKEEL, "ship", *PLACE, "--topic", topic, "-"], check=True, input="\n".join(map(json.dumps, lines)) + "\n",
                   text=True, capture_output=True)


def waiting(service):
    found = [it for it in evenkeel("commands", "--service", service, *PLACE) if isinstance(it, dict)]
    return found and found[0]


def start_gate():
    gate = start("gate", "serve", *PLACE, "--secrets", SCRATCH / "secrets", "--key", SCRATCH / "gate.key", "--state", SCRATCH / "gate",
                 "--listen", f"127.0.0.1:{GATE}")
    time.sleep(1)
    return gate


class Hooks(BaseHTTPRequestHandler):
    def do_POST(self):
        told.append((self.path.strip("/"), json.loads(self.rfile.read(int(self.headers["content-length"])))))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve_hooks():
    (SCRATCH / "hook.secret").write_text("a key of thirty-two bytes or more\n")
    server = ThreadingHTTPServer(("127.0.0.1", HOOKS), Hooks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def approvals():
    fail("checkout")
    command = wait("a command waits for people", 20, lambda: waiting("checkout"))
    name = command["command_id"]
    expect(command["mode"] == "approve" and command["state"] == "proposed", "`auto` is lowered to `approve` where an approval is written")
    expect("not_proven" in approve(name, "ann", exits=1), "a word without a password does not count")
    expect("not_on_roster" in approve(name, "eve", exits=1), "nor a stranger's")
    now_us = time.time_ns() // 1000
    ship("ops.control.v1", [{"order": "approve", "event_time_us": now_us, "by": "bob", "service": "checkout", "command_id": name,
                             "proofs": ["totp"], "seal": "— example.com/gate " + base64.b64encode(bytes(68)).decode()}])
    wait("nor a forged seal", 10, lambda: "not_proven" in waiting("checkout")["detail"] and "bob" in waiting("checkout")["detail"])
    expect("no_role" in approve(name, "cy", "--totp", password("cy"), exits=1), "nor one of another role")
    mine = password("ann")
    expect(approve(name, "ann", "--totp", mine) == "approved by 1 of 2", "the first of two")
    expect("used:" in approve(name, "ann", "--totp", mine, exits=2), "a password counts once")
    expect("same_person" in approve(name, "ann", "--totp", password("ann"), exits=1), "a person counts once")
    table = evenkeel("commands", *PLACE, text=True)
    expect(name in table and "ann" in table, "`commands` shows who approved it so far")
    expect(approve(name[:9], "bob", "--totp", password("bob")) == "approved", "the second person has it issued")
    expect(not waiting("checkout"), "it waits no more")
    expect("no command of that name waits" in approve(name, "cy", exits=2), "and who comes later is told so")
    return name


def glass(gate):
    gate.kill()
    gate.wait()
    start_gate()
    fail("search")
    command = wait("another command waits", 20, lambda: waiting("search"))
    broken = ["break-glass", "--service", "search", "--for", "45s", "--why", "alone at night", *PLACE, "--gate", f"http://127.0.0.1:{GATE}"]
    evenkeel(*broken, "--by", "cy", "--totp", password("cy"), "--wait", "3", exits=1)
    [said] = evenkeel(*broken, "--by", "bob", "--totp", password("bob"))
    expect(said["cause"]["detector"] == "break_glass" and said["notify"], "the glass is broken, and it is an incident")
    detail = approve(command["command_id"], "bob", "--totp", password("bob"))
    expect("approved by bob alone" in detail, detail)
    for _ in range(5):
        approve_nothing = subprocess.run(["curl", "-s", f"http://127.0.0.1:{GATE}/orders", "-d", json.dumps(
            {"order": "reject", "service": "search", "command_id": "CMD-1", "by": "ann", "totp": "000000"})], capture_output=True, text=True)
    expect("wrong" in approve_nothing.stdout, "wrong passwords are denied")
    denied = subprocess.run([EVENKEEL, "break-glass", "--by", "ann", "--why", "x", "--for", "1m", "--totp", password("ann"), "--gate",
                             f"http://127.0.0.1:{GATE}", *PLACE, "--log", "error"], capture_output=True, text=True)
    expect(denied.returncode == 2 and "locked_out" in denied.stderr, "five of them lock out, also the right one")
    return said["incident_id"]


def main():
    server = serve_hooks()
    try:
        key = evenkeel("audit", "keygen", "--name", "example.com/gate", "--out", SCRATCH / "gate.key", text=True).strip()
        for name in ("ann", "bob", "cy"):
            line = evenkeel("gate", "enroll", name, "--secrets", SCRATCH / "secrets", text=True).strip()
            secrets[name] = base64.b32decode(line.split("secret=")[1].split("&")[0])
        expect((SCRATCH / "secrets").stat().st_mode & 0o777 == 0o600, "secrets are their owner's")
        start("run", *PLACE, "--log", "warn")
        time.sleep(6)
        (SCRATCH / "policy.yaml").write_text(POLICY % key + receiver("first") + receiver("second", SECOND))
        evenkeel("policy", "apply", SCRATCH / "policy.yaml", "--by", "ci", *PLACE)
        gate = start_gate()
        start("alert", *PLACE, "--state", SCRATCH / "alerts", "--listen", f"127.0.0.1:{API}")
        command = approvals()
        incident = glass(gate)
        wait("the second tier was told", 100, lambda: any(to == "second" for to, _ in told))
        wait("the glass is whole again, and everybody knows", 90,
             lambda: any(it["subject"] == incident and it["type"].endswith("resolve") for _, it in told))
        for to, it in told:
            day = int((time.time() - 1767600000) // 86400)
            expected = ["ann <ann@example.com>", "bob <bob@example.com>"][day % 2] if to == "first" else "cy <cy@example.com>"
            found = it["data"]["annotations"]["on_call"]
            expect(found == expected, f"{to}: {it['type']} {it['data']['labels']['alertname']} with {found}, who is on call")
        audited = evenkeel("audit", "export", "--about", command, *PLACE, text=True)
        words = ("same_person", "no_role", "not_proven", "not_on_roster", "approved by 1 of 2")
        expect(all(word in audited for word in words), "every word is in the audit log, with what it came to")
        expect("locked_out" in evenkeel("audit", "export", "--about", "ann", *PLACE, text=True), "the lock-out is in the audit log")
        text = "".join(path.read_text() for path in SCRATCH.glob("*.log"))
        expect(not any(base64.b32encode(secret).decode() in text for secret in secrets.values()), "no secret in any log")
        processes[0].terminate()
        processes[0].wait()
        where = PLACE if KAFKA else [PLACE[1]]
        hashes = {evenkeel("replay", *where, "--workers", workers, "--check")[0]["hash"] for workers in ("1", "2")}
        expect(len(hashes) == 1, "replayed by 1 and 2 workers: one hash")
        print("all held")
    except BaseException:
        for log in sorted(SCRATCH.glob("*.log")):
            print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]))
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        server.shutdown()
        shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    main()
