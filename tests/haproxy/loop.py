#!/usr/bin/env python3
"""Real parts end to end: clients -> HAProxy -> `evenkeel ship` -> Kafka -> `evenkeel run` -> Kafka, read back with kcat.

One of two servers starts to answer 500 and is healed again. Expected: one incident, a command about it, both in the audit
log, the incident resolved; every request that was answered is one record; HAProxy's plain-text lines are counted rejections.

Needs haproxy and kcat, and Java with Maven unless KAFKA_BOOTSTRAP names a broker; EVENKEEL_BIN names the binary to try
(default: target/release/evenkeel). Everything listens on loopback. Exit 0: all as expected; 1: not, and why. Under 4 minutes.
"""
import collections
import contextlib
import functools
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from backend import Backend

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BINARY = Path(os.environ.get("EVENKEEL_BIN", ROOT / "target/release/evenkeel")).resolve()
REQUESTS_PER_S, CLIENTS = 200, 4
HEALTHY_S, FOUND_WITHIN_S, RESOLVED_WITHIN_S, ALL_WITHIN_S = 45, 30, 90, 235
os.environ["PATH"] += ":/usr/sbin"  # where Debian keeps haproxy
STARTED_US = time.time_ns() // 1000  # what is older on a shared broker is not ours


class Failure(Exception):
    """What was expected and did not happen."""


def say(text):
    print(f"{time.time() - STARTED_US / 1e6:6.1f} s  {text}", flush=True)


def expect(holds, otherwise):
    if not holds:
        raise Failure(otherwise)


def free_ports(count):
    """The first of `count` consecutive ports that nobody listens on, below those the system gives to clients."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise Failure(f"found no {count} free ports")


class Load:
    """Asks the front for a page so many times a second, over a few kept connections, until `stop`."""

    def __init__(self, port):
        self.port, self.stopping, self.counts = port, threading.Event(), []
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        counts, pause_s = collections.Counter(), CLIENTS / REQUESTS_PER_S
        self.counts.append(counts)
        connection, due = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10), time.monotonic()
        while not self.stopping.is_set():
            try:
                connection.request("GET", "/pay" if random.random() < 0.3 else "/cart?item=7")
                answer = connection.getresponse()
                answer.read()
                counts[answer.status] += 1
            except (OSError, http.client.HTTPException):
                counts["none"] += 1
                connection.close()
            due += pause_s
            time.sleep(max(0, due - time.monotonic()))
        connection.close()

    def answers(self):
        """How many requests ended with which status."""
        return sum(self.counts, collections.Counter())

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


class Parts:
    """The processes of the loop. What is started is stopped, newest first, when the stack unwinds."""

    def __init__(self, stack, scratch):
        self.stack, self.scratch, self.processes = stack, scratch, {}

    @functools.cached_property
    def brokers(self):
        """Where Kafka is; one is started for whoever asks, unless KAFKA_BOOTSTRAP names one."""
        if given := os.environ.get("KAFKA_BOOTSTRAP"):
            return given
        settings = {**os.environ, "KAFKA_PORT": str(free_ports(2)), "KAFKA_DATA": str(self.scratch / "kafka")}
        self.stack.callback(subprocess.run, [ROOT / "tests/kafka/down.sh"], env=settings)
        up = subprocess.run([ROOT / "tests/kafka/up.sh"], env=settings, stdout=subprocess.PIPE, text=True)
        expect(up.returncode == 0, "Kafka did not start, see above")
        return up.stdout.strip()

    def start(self, name, *command, **environment):
        path = self.scratch / f"{name}.log"
        if path.exists():  # of the one before it, which was killed
            path.rename(self.scratch / f"{name}.{time.time_ns()}.log")
        log = self.stack.enter_context(open(path, "wb"))
        process = subprocess.Popen(command, cwd=self.scratch, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
        self.processes[name] = process
        self.stack.callback(stop, process)

    def wait(self, what, within_s, probe):
        """What `probe` returns once it is true; fails after `within_s`, or as soon as a part has ended."""
        until = time.monotonic() + within_s
        while not (found := probe()):
            for name, process in self.processes.items():
                expect(process.poll() is None, f"`{name}` ended with {process.returncode} while waiting for {what}")
            expect(time.monotonic() < until, f"{what}: not within {within_s} s")
            time.sleep(0.5)
        return found

    def read(self, topic):
        """The values on a topic that a read-committed consumer sees now, as bytes."""
        command = ["kcat", "-C", "-q", "-e", "-b", self.brokers, "-t", topic, "-o", "beginning",
                   "-X", "isolation.level=read_committed", "-f", "%R%s"]
        kcat = subprocess.run(command, capture_output=True, timeout=60)
        expect(kcat.returncode == 0, f"kcat could not read {topic}: {kcat.stderr.decode(errors='replace').strip()}")
        values, at = [], 0
        while at < len(kcat.stdout):  # %R: i32 big-endian length, -1 for none
            (length,) = struct.unpack_from(">i", kcat.stdout, at)
            values.append(kcat.stdout[at + 4:at + 4 + length] if length > 0 else b"")
            at += 4 + max(length, 0)
        return values

    def read_json(self, topic, time_field="at_us"):
        rows = map(json.loads, filter(lambda value: value.startswith(b"{"), self.read(topic)))
        return [row for row in rows if row[time_field] >= STARTED_US]


def stop(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True


def status(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def start_all(parts):
    """Starts every part; returns the server that will fail, and the port of HAProxy."""
    http_port, ship_port, front, s1, s2, spare = range(first := free_ports(6), first + 6)
    parts.start("run", BINARY, "run", "--brokers", parts.brokers, "--http", f"127.0.0.1:{http_port}")
    parts.wait("`evenkeel run` to be ready", 30, lambda: status(http_port, "/readyz") == 200)
    parts.start("ship", BINARY, "ship", "--brokers", parts.brokers, "--listen", f"127.0.0.1:{ship_port}", "--topic", "req.events.v1")
    parts.wait("`evenkeel ship` to listen", 15, lambda: accepts(ship_port))
    servers = [Backend(s1), Backend(s2)]
    for server in servers:
        parts.stack.callback(server.stop)
    ports = dict(FRONT_PORT=front, SHIP_PORT=ship_port, S1_PORT=s1, S2_PORT=s2, SPARE_PORT=spare)
    parts.start("haproxy", "haproxy", "-db", "-f", HERE / "haproxy.cfg", **{name: str(port) for name, port in ports.items()})
    parts.wait("HAProxy to listen", 10, lambda: accepts(front))
    return servers[1], front


def watch_healthy(parts, load):
    say(f"{REQUESTS_PER_S} requests a second, both servers healthy, for {HEALTHY_S} s")
    time.sleep(HEALTHY_S)
    answers = load.answers()
    expect(set(answers) == {200}, f"before the fault every answer should be 200: {dict(answers)}")
    incidents = parts.read_json("out.incidents.v1")
    expect(not incidents, f"an incident while all was well: {incidents[:1]}")
    say(f"{answers[200]} answers, all 200; no incident")


def watch_fault(parts, server):
    """Lets the server fail; returns the incident and the command that this brings."""
    server.failing = True
    failed_us = time.time_ns() // 1000
    say("server s2 answers 500; its health check stays 200")
    incident = parts.wait("an incident of app", FOUND_WITHIN_S,
                          lambda: next((row for row in parts.read_json("out.incidents.v1") if row["service"] == "app"), None))
    say(f"incident {incident['incident_id']} {incident['state']}, {(incident['at_us'] - failed_us) / 1e6:.1f} s after the first 500 "
        f"could come: {json.dumps(incident['cause'])}")
    left_s = FOUND_WITHIN_S - (time.time_ns() // 1000 - failed_us) / 1e6
    command = parts.wait("a command about it", max(left_s, 1), lambda: next(
        (row for row in parts.read_json("out.commands.v1")
         if row["incident_id"] == incident["incident_id"] and row["target"] in ("s2", "app")), None))
    say(f"command {command['command_id']} {command['kind']} {command['target']} ({command['mode']})")
    return incident, command


def check_audit(parts, *decisions):
    records = parts.read("audit.log.v1")
    for name in decisions:
        expect(any(name.encode() in record for record in records), f"{name} is not in audit.log.v1")
    lines = "\n".join(record.hex() for record in records)
    verify = subprocess.run([sys.executable, ROOT / "tests/verify.py", "kafka"], input=lines, text=True, stdout=subprocess.PIPE)
    expect(verify.returncode == 0, f"verify.py kafka: {verify.stdout.strip()}")
    say(f"both decisions are in audit.log.v1; its {len(records)} entries are whole")


def watch_recovery(parts, server, incident):
    server.failing = False
    say("server s2 answers 200 again")
    parts.wait(f"{incident['incident_id']} to resolve", RESOLVED_WITHIN_S, lambda: any(
        row["incident_id"] == incident["incident_id"] and row["state"] == "resolved" for row in parts.read_json("out.incidents.v1")))
    opened = [(row["service"], row["incident_id"]) for row in parts.read_json("out.incidents.v1") if row["state"] == "open"]
    expect(opened == [("app", incident["incident_id"])], f"one incident should have opened, not {opened}")
    say("resolved; no other incident opened")


def check_nothing_lost(parts, load):
    load.stop()
    answers = load.answers()
    answered = answers[200] + answers[500]
    expect(set(answers) == {200, 500}, f"answers other than 200 and 500: {dict(answers)}")
    parts.wait(f"{answered} records on req.events.v1", 15, lambda: len(parts.read_json("req.events.v1", "event_time_us")) >= answered)
    events = parts.read_json("req.events.v1", "event_time_us")
    counted = collections.Counter(event["status"] for event in events)
    expect(counted == answers, f"answers by status {dict(answers)}, records {dict(counted)}")
    rejected = [json.loads(value)["payload"] for value in parts.read("out.dlq.v1")]
    expect(any("app/spare is DOWN" in payload for payload in rejected), f"HAProxy's own line is not on out.dlq.v1: {rejected[:3]}")
    events_rejected = [payload for payload in rejected if payload.startswith("{")]
    expect(not events_rejected, f"a request was rejected: {events_rejected[:1]}")
    say(f"{answered} answers = {len(events)} records ({answers[500]} of them 500); {len(rejected)} plain-text lines on out.dlq.v1")


def run(scratch):
    expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}; build it (cargo build --release) or set EVENKEEL_BIN")
    with contextlib.ExitStack() as stack:
        parts = Parts(stack, scratch)
        say(f"Kafka at {parts.brokers}")
        server, front = start_all(parts)
        say("evenkeel run and ship, two servers and HAProxy are up")
        load = Load(front)
        stack.callback(load.stop)
        stack.callback(signal.alarm, 0)  # stopping what was started takes the time it takes
        watch_healthy(parts, load)
        incident, command = watch_fault(parts, server)
        check_audit(parts, incident["incident_id"], command["command_id"])
        watch_recovery(parts, server, incident)
        check_nothing_lost(parts, load)


def interrupt(number, _):
    raise Failure("took too long" if number == signal.SIGALRM else f"stopped by signal {number}")


def main():
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    signal.alarm(ALL_WITHIN_S)
    scratch = Path(tempfile.mkdtemp(prefix="evenkeel-loop-"))
    try:
        run(scratch)
    except (Failure, OSError, subprocess.SubprocessError) as reason:
        say(f"FAIL: {reason}")
        for log in sorted(scratch.glob("*.log")):
            print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
        return 1
    say("ok")
    subprocess.run(["rm", "-rf", scratch])
    return 0


if __name__ == "__main__":
    sys.exit(main())
