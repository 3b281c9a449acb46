#!/usr/bin/env python3
"""Actuators end to end, on a real broker: faults that only a command ends, each carried out by another means.

    actuators.py    needs kcat, PyPI's confluent-kafka, and Java with Maven unless KAFKA_BOOTSTRAP names a broker, on which
                    nothing else runs

Five services fail at once until what their policy asks for was done: `cart` until a flag is set (by `executor.py`, an executor
in another language), `pay` until all of its traffic is rerouted, in two steps, and `shop` until the right one of five changes
is rolled back (both by a webhook), `work` until a script ran; what `odd` asks for no actuator allows. The webhook's server does
what it is asked and then breaks off, or is busy, half of the time; all actuators are killed (SIGKILL) again and again meanwhile.
Expected: each command is carried out once and ends as done; flag and traffic go back, by the same steps, once all is well; what
is not allowed is rejected. Exit 0: all as expected; 1: not, and why. Three minutes.
"""
import contextlib
import hashlib
import hmac
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import virtual

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "haproxy"))
from loop import BINARY, Failure, Parts, expect, free_ports, say, status  # noqa: E402

PACKAGES = ["confluent-kafka==2.16.1"]
SERVICES, SECRET = ("cart", "pay", "shop", "work", "odd"), "a key"
RATE, WARM_S, DONE_WITHIN_S, KILL_EVERY_S = 30, 12, 150, 4
DOCUMENT = "apiVersion: evenkeel/v1\nkind: RecoveryPolicy\nmetadata: {{name: {0}}}\nspec:\n{1}\n"
POLICIES = {
    "all": "  mode: auto\n  hold: 10s\n  trial: 3s\n  cooldown: 5s",
    "cart": "  service: cart\n  do: {error_burst: {set_flag: {flag: new-cart, on: false}}}",
    "pay": "  service: pay\n  do: {error_burst: {reroute: {to: cache, percent: 100%, step: 50%}}}",
    "shop": "  service: shop\n  do: {error_burst: [rollback, trip_circuit]}",
    "work": "  service: work\n  do: {error_burst: {run_script: {script: mend, args: [\"{service}\"]}}}",
    "odd": "  service: odd\n  do: {error_burst: {run_script: {script: reboot}}}",
}


class World:
    """What commands changed, and what fails until they did."""

    def __init__(self, scratch):
        self.scratch, self.percent, self.version, self.faulty = scratch, 0, "2.4.1", False
        self.requests, self.effects = Counter(), []

    def flag(self):
        path = self.scratch / "new-cart"
        return path.read_text() if path.exists() else "true"

    def fails(self, service):
        well = {"cart": self.flag() == "false", "pay": self.percent == 100, "shop": self.version == "2.4.0",
                "work": self.trace("work"), "odd": False}
        return self.faulty and not well[service]

    def trace(self, name):
        path = self.scratch / f"{name}.trace"
        return path.read_text().split() if path.exists() else []

    def heard(self, body, headers):
        """What the webhook answers; it acts once on each key."""
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        if headers["x-evenkeel-signature"] != wanted:
            return 401
        command, key = json.loads(body)["data"], headers["idempotency-key"]
        self.requests[key] += 1
        if self.requests[key] == 1 and random.random() < 0.5:
            return 503
        if key not in [effect["command_id"] for effect in self.effects]:
            self.effects.append(command)
            if command["kind"] == "reroute":
                self.percent = int(command["params"]["percent"])
            else:
                self.version = command["params"]["to"]
            if random.random() < 0.5:
                return None
        return 200


def serve(world):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer = world.heard(self.rfile.read(int(self.headers["content-length"])), self.headers)
            if answer is None:
                return self.connection.close()
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/commands"


class Play(Parts):
    def __init__(self, stack, scratch, python):
        super().__init__(stack, scratch)
        self.world, self.stopping, self.kills = World(scratch), threading.Event(), Counter()
        self.port, place = free_ports(1), ["--brokers", self.brokers]
        for name, program in (("flag", "import json, sys\ncommand = json.loads(sys.argv[1])\n"
                                       "open('cart.trace', 'a').write(command['command_id'] + '\\n')\n"
                                       "open(command['params']['flag'], 'w').write(command['params']['on'])\n"),
                              ("mend", "import os, sys\nopen(os.path.dirname(sys.argv[0]) + '/../' + sys.argv[1] + '.trace', 'a').write("
                                       "os.environ['EVENKEEL_COMMAND_ID'] + '\\n')\nprint('mended', sys.argv[1])\n")):
            (scratch / name).mkdir()
            path = scratch / name / "main"
            path.write_text(f"#!{sys.executable}\n" + program)
            path.chmod(0o755)
        (scratch / "scripts.toml").write_text(f"[mend]\nprogram = '{scratch}/mend/main'\nargs = ['[a-z]+']\ntimeout_s = 10\n")
        (scratch / "secret").write_text(SECRET)
        (scratch / "policies").mkdir()
        for name, spec in POLICIES.items():
            (scratch / "policies" / f"{name}.yaml").write_text(DOCUMENT.format(name, spec))
        self.start("run", BINARY, "run", *place, "--http", f"127.0.0.1:{self.port}")
        self.wait("`evenkeel run` to be ready", 30, lambda: status(self.port, "/readyz") == 200)
        self.actuators = {
            "executor": (python, HERE / "executor.py", self.brokers, scratch / "executor.db", "set_flag", scratch / "flag/main"),
            "webhook": (BINARY, "act", *place, "--webhook", serve(self.world), "--secret-file", "secret", "--state", "hook",
                        "--kinds", "reroute,rollback"),
            "scripts": (BINARY, "act", *place, "--scripts", "scripts.toml", "--state", "scripts"),
        }
        for name, command in self.actuators.items():
            self.start(name, *command)
        threading.Thread(target=self.feed, daemon=True).start()
        threading.Thread(target=self.kill, daemon=True).start()

    def feed(self):
        """Requests of all services, so many a second each."""
        command = ["kcat", "-P", "-b", self.brokers, "-t", "req.events.v1", "-X", "linger.ms=5"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as kcat:
            due = time.monotonic()
            while not self.stopping.is_set():
                for service in SERVICES:
                    event = {"event_time_us": time.time_ns() // 1000, "service": service, "latency_us": 9000,
                             "status": 500 if self.world.fails(service) else 200}
                    kcat.stdin.write(json.dumps(event).encode() + b"\n")
                kcat.stdin.flush()
                due += 1 / RATE
                time.sleep(max(0, due - time.monotonic()))

    def kill(self):
        """Kills an actuator every few seconds, and starts it again."""
        while not self.stopping.wait(KILL_EVERY_S):
            name = random.choice(list(self.actuators))
            process = self.processes.pop(name)
            process.kill()
            process.wait()
            self.start(name, *self.actuators[name])
            self.kills[name] += 1

    def order(self, **fields):
        order = json.dumps({"event_time_us": time.time_ns() // 1000, "by": "ci", **fields})
        subprocess.run(["kcat", "-P", "-b", self.brokers, "-t", "ops.control.v1"], input=order.encode(), check=True)

    def commands(self):
        """By service, every command in its order: its last word."""
        last = {}
        for value in self.read("out.commands.v1"):
            word = json.loads(value)
            last[word["command_id"]] = {**last.get(word["command_id"], {}), **word}
        by_service = defaultdict(list)
        for command in last.values():
            by_service[command["service"]].append(command)
        return by_service

    def is_over(self):
        commands = self.commands()
        ends = lambda service: [(it["kind"], it["undo"]) for it in commands[service] if it["state"] == "done"]  # noqa: E731
        back = ("set_flag", True) in ends("cart") and ends("pay").count(("reroute", True)) >= 2
        return back and ends("shop") and ends("work") and any(it["state"] == "rejected" for it in commands["odd"])


def main(stack, scratch, python):
    play = Play(stack, scratch, python)
    world = play.world
    stack.callback(play.stopping.set)
    applied = subprocess.run([BINARY, "policy", "apply", "policies", "--brokers", play.brokers, "--by", "ci"], cwd=scratch)
    expect(applied.returncode == 0, "the policies are applied")
    play.order(order="change", service="shop", what="deploy", version="2.4.0")
    time.sleep(WARM_S)
    for change in ({"service": "shop", "what": "deploy", "version": "2.4.1"}, {"service": "pay", "what": "deploy", "version": "7"},
                   {"service": "shop", "what": "flag wide on"}, {"service": "cart", "what": "deploy", "version": "9.1"},
                   {"service": "shop", "what": "limits changed"}):
        play.order(order="change", **change)
    world.faulty = True
    say("all of them fail")
    play.wait("each service to be mended", 60, lambda: not any(map(world.fails, SERVICES[:-1])))
    say("mended")
    world.faulty = False
    until = time.monotonic() + DONE_WITHIN_S
    while not play.is_over():
        expect(time.monotonic() < until, f"not over: {json.dumps(play.commands(), indent=1)}")
        time.sleep(2)
    play.stopping.set()
    commands = play.commands()

    def applied_of(service):
        return [it for it in commands[service] if it["state"] == "done" and it["kind"] not in ("half_open", "close_circuit")]

    flags = [(it["params"]["on"], it["undo"]) for it in applied_of("cart")]
    expect(flags == [("false", False), ("true", True)] and world.flag() == "true", f"cart: {flags}")
    shares = [(it["params"]["percent"], it["undo"]) for it in applied_of("pay")]
    expect(shares == [("50", False), ("100", False), ("50", True), ("0", True)], f"pay: {shares}")
    rolled = [(it["kind"], it["params"]) for it in applied_of("shop")]
    expect(rolled == [("rollback", {"version": "2.4.1", "to": "2.4.0"})], f"shop: {rolled}")
    rejected = [it["detail"] for it in commands["odd"] if it["state"] == "rejected"]
    expect(rejected and all('no script "reboot"' in why for why in rejected), f"odd: {commands['odd']}")
    done_once = {"executor": world.trace("cart"), "scripts": world.trace("work"),
                 "webhook": [it["command_id"] for it in world.effects]}
    for name, ids in done_once.items():
        expect(ids and len(ids) == len(set(ids)), f"{name} did one twice: {ids}")
    hooked = {it["command_id"] for service in ("pay", "shop") for it in applied_of(service)}
    expect(hooked == set(done_once["webhook"]), f"the webhook did {done_once['webhook']}, done are {hooked}")
    say(f"well: {sum(map(len, done_once.values()))} commands, each carried out once over {sum(play.kills.values())} kills "
        f"({sum(world.requests.values())} requests to the webhook for {len(world.effects)} effects)")


if __name__ == "__main__":
    found = virtual.environment("executor", PACKAGES)
    if found is None:
        sys.exit("no virtual environment with " + ", ".join(PACKAGES))
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="evenkeel-actuators-", ignore_cleanup_errors=True))
        try:
            main(opened, Path(folder), found)
        except Failure as failure:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
            sys.exit(f"failed: {failure}")
