#!/usr/bin/env python3
"""The loop, closed: clients -> HAProxy -> `evenkeel ship` -> Kafka -> `evenkeel run --mode auto` -> `evenkeel act` -> HAProxy.

    closed.py [--faults 2] [--at-once 2] [--kills 0] [--rate 200] [--fault-s 45] [--connections 1000] [--seed 1]

Each service has three servers, and HAProxy serves it twice: once looked after by evenkeel, once left alone, with the same load
and the same servers. One server of each of so many services at a time starts to fail (answers 500, or what is no HTTP: a
502) and heals again. One that hangs up would be no test: on a connection that was used before HAProxy hangs up, too, and logs
nothing. Expected, for every fault: the server gets no more requests soon, is tried while it still fails and taken out again,
is tried when it is well and brought back; users of the service that is looked after see a twentieth of the failures that
users of the other see. Connections that are open meanwhile, half of them with a request in flight, live: none is reset, neither by
the drain nor by a reload of HAProxy, which forgets the drain and is reminded of it.

With --kills, `evenkeel act` and `evenkeel run` are killed (SIGKILL) so often at random meanwhile. Everything that is said to the
Runtime API goes through a proxy here that writes it down: what HAProxy was told has to be what the applied commands amount to,
each once, in their order; and every command that was issued has to be answered.

What a crash costs is printed as the availability it leaves: 1 - blind time x crashes in a period / the period, for a crash an
hour, a day, a week and a month. That is what crashes of this one process cost where it is started again at once, and no more: the machine,
the network, the broker and a bad release weigh more, so that nothing above 99.99 % is claimed.

Needs haproxy and kcat, and Java with Maven unless KAFKA_BOOTSTRAP names a broker, on which nothing else runs. Exit 0: all as
expected; 1: not, and why. 100 s as it is.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from clients import Proxy, Users, control
from loop import BINARY, HERE, Failure, Parts, accepts, expect, free_ports, interrupt, say, status

SERVERS, WARM_S = ("s1", "s2", "s3"), 6
DRAINED_WITHIN_S, BACK_WITHIN_S = 20, 60
# Times fewer failures: the goal is said, for a busy machine misses it; the other one is held to.
GOAL, LEAST = 20, 5
# Crashes that are assumed, one in so many seconds; and the most that is claimed of what they leave.
CRASHES, CLAIMED = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}, 0.9999


def config(services, ports, options):
    """HAProxy's: each service twice, with the same servers; only what is looked after is logged."""
    log = HERE.joinpath("haproxy.cfg").read_text().split("log-format ")[1].split("\n")[0]
    head = f"""global
    log ring@ship len 4096 format raw local0
    maxconn 8000
    stats socket {options.scratch}/admin.sock mode 600 level admin expose-fd listeners
ring ship
    format raw
    maxlen 4096
    size 16777216
    timeout connect 2s
    timeout server 10s
    server ship 127.0.0.1:{ports["ship"]}
defaults
    mode http
    timeout connect 500ms
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    option idle-close-on-response
    retries 0
"""
    for service in services:
        servers = "".join(f"    server {server} 127.0.0.1:{ports[service, server]} weight 100\n" for server in SERVERS)
        head += f"""frontend front-{service}
    bind 127.0.0.1:{ports[service]}
    log global
    http-request set-var(txn.start) date(0,us)
    http-request set-var(txn.method) method
    http-request set-var(txn.path) path
    log-format {log}
    default_backend {service}
frontend front-alone-{service}
    bind 127.0.0.1:{ports["alone", service]}
    default_backend alone-{service}
"""
        for backend in (service, f"alone-{service}"):
            head += f"backend {backend}\n    balance roundrobin\n    option httpchk GET /health\n"
            head += "    default-server check inter 500ms fall 3 rise 2\n" + servers
    return head


class Loop(Parts):
    """Everything, and the processes that may be killed."""

    def __init__(self, stack, options):
        super().__init__(stack, options.scratch)
        self.options, self.blind, self.killed, self.reloads = options, collections.defaultdict(list), collections.Counter(), []
        self.services = [f"app{number}" for number in range(options.at_once)]
        names = ["http", "ship", *self.services, *[("alone", service) for service in self.services],
                 *[(service, server) for service in self.services for server in SERVERS]]
        first = free_ports(len(names))
        self.ports = dict(zip(names, range(first, first + len(names))))
        self.users = Users(options.rate)
        stack.callback(setattr, self.users, "stopping", True)
        self.start_run()
        self.wait("`evenkeel run` to be ready", 30, self.is_ready)
        self.start("ship", BINARY, "ship", "--brokers", self.brokers, "--listen", f"127.0.0.1:{self.ports['ship']}", "--topic",
                   "req.events.v1")
        self.wait("`evenkeel ship` to listen", 15, lambda: accepts(self.ports["ship"]))
        for server in SERVERS:
            self.start(server, sys.executable, HERE / "server.py", server,
                       *[str(self.ports[service, server]) for service in self.services])
        ports = [self.ports[service, server] for service in self.services for server in SERVERS]
        self.wait("the servers to listen", 10, lambda: all(map(accepts, ports)))
        (options.scratch / "haproxy.cfg").write_text(config(self.services, self.ports, options))
        self.start("haproxy", "haproxy", "-W", "-db", "-f", options.scratch / "haproxy.cfg")
        self.wait("HAProxy to listen", 10, lambda: accepts(self.ports[self.services[-1]]))
        self.proxy = Proxy(self.users, options.scratch)
        self.start_act()

    def start_run(self):
        self.start("run", BINARY, "run", "--brokers", self.brokers, "--mode", "auto", "--http", f"127.0.0.1:{self.ports['http']}")

    def start_act(self):
        # A node's name alone would not do: every service has an s1.
        places = [f"{service}/{server}" for service in self.services for server in SERVERS]
        (self.options.scratch / "map").write_text("".join(f"{place}={place}\n" for place in places))
        self.start("act", BINARY, "act", "--brokers", self.brokers, "--haproxy", self.proxy.path, "--map-file",
                   self.options.scratch / "map", "--state", self.options.scratch / "act", "-o", "json")

    def is_ready(self):
        return status(self.ports["http"], "/readyz") == 200

    def follows(self, since):
        """Whether `act` has read and turned since: then it asks HAProxy who it is."""
        return any(at > since and order == "show info" for at, order, _ in list(self.proxy.told))

    def kill(self, name):
        """Kills a process, starts it again, and waits until it works again."""
        process, at = self.processes.pop(name), time.time()
        process.kill()
        process.wait()
        (self.start_run if name == "run" else self.start_act)()
        until = time.monotonic() + 30
        while not (self.is_ready() if name == "run" else self.follows(at)):
            expect(time.monotonic() < until, f"`evenkeel {name}` did not come back within 30 s")
            time.sleep(0.005)
        self.blind[name].append(time.time() - at)
        self.killed[name] += 1

    def wait(self, what, within_s, probe):
        """As that of all parts, but a process may be between two lives."""
        until = time.monotonic() + within_s
        while not (found := probe()):
            for name, process in list(self.processes.items()):
                expect(process.poll() is None or self.options.kills, f"`{name}` ended with {process.returncode} while waiting for {what}")
            expect(time.monotonic() < until, f"{what}: not within {within_s} s")
            expect(not self.options.failures, f"{what}: not waited for any longer")
            time.sleep(0.1)
        return found

    def start(self, name, *command, **environment):
        previous = self.scratch / f"{name}.log"
        if previous.exists():
            previous.rename(self.scratch / f"{name}.{time.time_ns()}.log")
        super().start(name, *command, **environment)


class Fault:
    """One server of one service that fails and heals."""

    def __init__(self, world, service, server, mode):
        self.world, self.service, self.server, self.mode = world, service, server, mode
        self.place, self.began = f"{service}/{server}", time.time()
        control(world.ports[service, server], mode)

    def heal(self):
        control(self.world.ports[self.service, self.server], "ok")
        self.healed = time.time()

    def orders(self, order, since=0.0):
        return [at for at, said in self.world.proxy.orders(self.place, max(self.began, since)) if said == order]

    def is_back(self):
        trips, back = self.orders("state drain"), self.orders("weight 100", self.healed)
        return bool(back) and back[-1] > trips[-1]

    def judge(self):
        """Seconds from the first failure that a user saw to the drain; failures with and without evenkeel."""
        world, drains = self.world, self.orders("state drain")
        until = world.proxy.orders(self.place, self.healed)[-1][0]
        seen = world.users.failures(self.service, self.began, until)
        alone = world.users.failures(f"alone-{self.service}", self.began, until)
        expect(seen, f"{self.place}: nobody saw it fail")
        before = [answer for answer in seen if answer[0] < drains[0]]
        drained_s = drains[0] - min(answer[0] for answer in seen)
        # What HAProxy was told again after it was reloaded is no trial that failed.
        failed = len(drains) - 1 - sum(drains[0] < at < drains[-1] + 1 for at in world.reloads)
        tried = max(self.orders("state ready"))
        say(f"{self.place} ({self.mode}): drained {drained_s * 1000:.0f} ms after the first failure, {failed} trials failed; "
            f"{len(seen)} failures with evenkeel ({len(before)} before the drain), {len(alone)} without; back "
            f"{until - self.healed:.0f} s after it healed, of which {until - tried:.0f} s on trial")
        return drained_s, len(seen), len(alone)


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def play(world, options, dice):
    """So many faults, some at once; returns what came of each."""
    results, modes = [], ["500", "garbage"]
    while len(results) < options.faults:
        count = min(options.at_once, options.faults - len(results))
        held = world.users.hold(world.ports[world.services[0]], options.connections, 12_000) if options.connections else None
        faults = []
        for service in world.services[:count]:
            time.sleep(dice.uniform(0, 0.9))  # wherever the second is cut
            faults.append(Fault(world, service, dice.choice(SERVERS), modes[(len(results) + len(faults)) % 2]))
        for fault in faults:
            world.wait(f"{fault.place} to be drained", DRAINED_WITHIN_S + 40 * bool(options.kills), lambda: fault.orders("state drain"))
        if held:
            reload(world, faults[0])
            check_held(world, held, options)
            options.connections = 0
        time.sleep(max(0, faults[0].began + options.fault_s - time.time()))
        for fault in faults:
            fault.heal()
        for fault in faults:
            world.wait(f"{fault.place} to be brought back", BACK_WITHIN_S, fault.is_back)
        results += [fault.judge() for fault in faults]
        if len(results) < options.faults:
            # The next ones are faults of their own, not a part of these.
            world.wait("the incidents to resolve", 120, lambda: all_resolved(world))
    return results


def availability(name, blind):
    """What is left if a process crashes so often and is blind each time as it was: with the median and with the largest."""
    def left(blind_s, every_s):
        share = 1 - blind_s / every_s
        # Rounded down.
        return f"above {CLAIMED * 100:.2f} %" if share > CLAIMED else f"{int(share * 100_000) / 1000:.3f} %"

    for period, every_s in CRASHES.items():
        median_s, most_s = percentile(blind, 0.5), max(blind)
        say(f"  one crash of `evenkeel {name}` every {period}: available {left(median_s, every_s)} (p50), {left(most_s, every_s)} (largest), "
            f"blind {median_s * 31_536_000 / every_s:.0f} and {most_s * 31_536_000 / every_s:.0f} s a year")


def all_resolved(world):
    time.sleep(1)
    last = {row["incident_id"]: row["state"] for row in world.read_json("out.incidents.v1")}
    return all(state == "resolved" for state in last.values())


def reload(world, fault):
    """HAProxy forgets what it was told, in a new process, and has to be reminded."""
    drained, at = len(fault.orders("state drain")), time.time()
    world.processes["haproxy"].send_signal(signal.SIGUSR2)
    world.wait("HAProxy to be reminded", 10, lambda: len(fault.orders("state drain")) > drained)
    say(f"HAProxy reloaded; {fault.orders('state drain')[-1] - at:.1f} s later it was told again to drain {fault.place}")
    world.reloads.append(at)


def check_held(world, held, options):
    ends = world.users.finish(held)
    say(f"{options.connections} connections open over a drain and a reload: {dict(ends)}")
    lost = {end: count for end, count in ends.items() if end[1] not in (200, 500)}
    expect(not lost, f"connections were cut: {lost}")


def check_commands(world):
    """What HAProxy was told is what the applied commands amount to, each once; and every command was answered."""
    rows = world.read_json("out.commands.v1")
    answers = collections.defaultdict(list)
    for row in world.read_json("ops.acks.v1", "event_time_us"):
        answers[row["command_id"]].append(row)
    issued = [row for row in rows if row["state"] == "issued" and row["kind"] in ("trip_circuit", "half_open", "close_circuit")
              and row["target"] in SERVERS]
    lost = [row["command_id"] for row in issued if row["command_id"] not in answers]
    expect(not lost, f"commands that nobody answered: {lost}")
    refused = [answer[0] for answer in answers.values() if answer[0]["status"] != "applied"]
    expected, told = collections.defaultdict(list), collections.defaultdict(list)
    state, weight = collections.defaultdict(lambda: "ready"), collections.defaultdict(lambda: 100)
    reloads = list(world.reloads)
    for row in sorted(issued, key=lambda row: (answers[row["command_id"]][0]["event_time_us"], row["fence"])):
        place, answer = f"{row['service']}/{row['target']}", answers[row["command_id"]][0]
        if answer["status"] != "applied":
            continue
        if reloads and answer["event_time_us"] > reloads[0] * 1e6:
            # It forgot everything, and was reminded of what was not as configured.
            reloads.pop()
            for other in expected:
                expected[other] += [f"weight {weight[other]}"] * (state[other] == "ready" and weight[other] != 100)
                expected[other] += ["state drain"] * (state[other] == "drain")
                weight[other] = 100 if state[other] == "drain" else weight[other]
        wants = {"trip_circuit": ("drain", weight[place]), "half_open": ("ready", 20), "close_circuit": ("ready", 100)}[row["kind"]]
        if weight[place] != wants[1]:
            expected[place].append(f"weight {wants[1]}")
        if state[place] != wants[0]:
            expected[place].append(f"state {wants[0]}")
        state[place], weight[place] = wants
    for _, order, answer in world.proxy.told:
        if order.startswith("set server "):
            place, what = order.removeprefix("set server ").split(" ", 1)
            told[place].append(what)
            expect(not answer, f"HAProxy answered {answer!r} to {order!r}")
    for place, orders in told.items():
        expect(orders == expected[place], f"{place} was told {orders}, the commands amount to {expected[place]}")
    doubled = sum(len(answer) - 1 for answer in answers.values())
    say(f"{len(issued)} commands, each carried out once: {sum(map(len, told.values()))} orders to HAProxy; {len(refused)} refused "
        f"{[answer['detail'] for answer in refused]}; {doubled} answers said again")


def kill_at_random(world, options, dice, done):
    """Kills one of the two, again and again, until enough were killed or all is done."""
    try:
        while sum(world.killed.values()) < options.kills and not done.is_set():
            time.sleep(dice.uniform(0.2, options.kill_every))
            world.kill(dice.choice(["act", "run"]))
    except Failure as failure:
        options.failures.append(failure)


def run(options):
    dice = random.Random(options.seed)
    with contextlib.ExitStack() as stack:
        world = Loop(stack, options)
        stack.callback(signal.alarm, 0)
        for service in world.services:
            world.users.load(service, world.ports[service])
            world.users.load(f"alone-{service}", world.ports["alone", service])
        say(f"all is up; {options.rate} requests a second to each of {2 * len(world.services)} fronts")
        time.sleep(WARM_S)
        expect(not any(world.users.failures(front, 0, time.time()) for front in list(world.users.answers)), "failures before any fault")
        done = threading.Event()
        killer = threading.Thread(target=kill_at_random, args=(world, options, dice, done), daemon=True)
        killer.start()
        results = play(world, options, dice)
        done.set()
        killer.join(60)
        if options.failures:
            raise options.failures[0]
        drained, seen, alone = zip(*results)
        say(f"{len(results)} faults: drained p50 {percentile(drained, 0.5) * 1000:.0f} ms, p99 {percentile(drained, 0.99) * 1000:.0f} ms, largest "
            f"{max(drained) * 1000:.0f} ms after the first failure; {sum(seen)} failed requests with evenkeel, {sum(alone)} without: "
            f"{sum(alone) / sum(seen):.1f} times fewer")
        for name, blind in world.blind.items():
            say(f"{world.killed[name]} kills of `evenkeel {name}`: blind p50 {percentile(blind, 0.5):.2f} s, largest {max(blind):.2f} s")
            availability(name, blind)
        time.sleep(2)
        check_commands(world)
        if not options.kills:
            expect(sum(alone) >= LEAST * sum(seen), f"less than {LEAST} times fewer failures")
            if sum(alone) < GOAL * sum(seen):
                say(f"the goal of {GOAL} times fewer failures is missed; is the machine busy?")
        world.users.stopping = True
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=2, help="so many services, and faults at a time")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--kill-every", type=float, default=6.0, help="at most so many seconds between two kills")
    parser.add_argument("--rate", type=int, default=200, help="requests a second to each front")
    parser.add_argument("--fault-s", type=float, default=45)
    parser.add_argument("--connections", type=int, default=1000, help="held open over the first fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}; build it (cargo build --release) or set EVENKEEL_BIN")
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    signal.alarm(120 + 240 * -(-options.faults // options.at_once))
    options.scratch, options.failures = Path(tempfile.mkdtemp(prefix="evenkeel-closed-")), []
    try:
        run(options)
    except (Failure, OSError, subprocess.SubprocessError) as reason:
        say(f"FAIL: {reason}")
        for log in sorted(options.scratch.glob("*.log")):
            print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-8:], sep="\n")
        return 1
    say("ok")
    if not options.keep:
        subprocess.run(["rm", "-rf", options.scratch])
    return 0


if __name__ == "__main__":
    sys.exit(main())
