#!/usr/bin/env python3
"""Policies on a live run, on the embedded log or, with KAFKA_BOOTSTRAP, on Kafka: applied under load, gone back from, refused.

1. The policies that ship are applied while requests come in: in force within seconds, and `diff` has nothing to say then.
2. A second version, and the one before it again: versions count up, each with its author.
3. A broken policy, and one that somebody else was faster than, change nothing.
4. The log of the run: replayed by 1, 2 and 4 workers it is what was committed; every version is in the audit log, as it
   came and as it was decided.
Exit 0: all held, 1: not.
"""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
KAFKA = os.environ.get("KAFKA_BOOTSTRAP")
SCRATCH = Path(tempfile.mkdtemp(prefix="evenkeel-policy-"))
PLACE = ["--brokers", KAFKA, "--topic-prefix", f"policy.{os.getpid()}."] if KAFKA else ["--data", str(SCRATCH / "data")]


def expect(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def evenkeel(*words, exits=0):
    done = subprocess.run([EVENKEEL, *words, "-o", "json", "--log", "warn"], capture_output=True, text=True)
    expect(done.returncode == exits, f"{' '.join(words)}: exit {done.returncode}, not {exits}: {done.stdout}{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def apply(path, by, exits=0):
    started = time.monotonic()
    said = evenkeel("policy", "apply", str(path), *PLACE, "--by", by, exits=exits)
    return said, time.monotonic() - started


def orders(mine):
    """An order past the command: a version that is in force already."""
    settings = json.dumps({"mode": "observe"})
    order = {"order": "apply_policy", "event_time_us": int(time.time() * 1e6), "by": "late", "version": mine,
             "sha256": hashlib.sha256(b"[]").hexdigest(), "documents": "[]", "settings": settings}
    ship = [EVENKEEL, "ship", "-", "--topic", "ops.control.v1", *PLACE]
    subprocess.run(ship, input=json.dumps(order) + "\n", text=True, check=True)


def replays():
    where = [*PLACE] if KAFKA else [str(SCRATCH / "data")]
    hashes = {evenkeel("replay", *where, "--workers", workers, "--check")[0]["hash"] for workers in ["1", "2", "4"]}
    expect(len(hashes) == 1, f"1, 2 and 4 workers: {hashes}")
    return hashes.pop()


def main():
    shop = SCRATCH / "shop"
    shutil.copytree(HERE / "policies/shop", shop)
    run = subprocess.Popen([EVENKEEL, "run", *PLACE, "--log", "warn"])
    load = subprocess.Popen([EVENKEEL, "generate", *PLACE, "--rate", "1000", "--seconds", "30", "--seed", "5", "-o", "json"],
                            stdout=subprocess.DEVNULL)
    try:
        time.sleep(6)
        expect(run.poll() is None, "the run ended")
        evenkeel("policy", "lint", str(shop))
        evenkeel("policy", "diff", str(shop), *PLACE, exits=1)
        said, took = apply(shop, "ci")
        expect(said[0]["version"] == 1 and said[0]["by"] == "ci", f"the first version: {said}")
        evenkeel("policy", "diff", str(shop), *PLACE)
        documents = evenkeel("policy", "get", *PLACE)
        expect({it["kind"] for it in documents} == {"Detector", "SLO", "RecoveryPolicy", "Roster", "Maintenance",
                                                   "Receiver", "Silence", "Signal", "MaskRule"}, f"{documents}")

        recovery = shop / "recovery.yaml"
        recovery.write_text(recovery.read_text().replace("cooldown: 60s", "cooldown: 45s"))
        changed = evenkeel("policy", "diff", str(shop), *PLACE, exits=1)[0]
        expect(changed["settings"] == {"recovery.cooldown_s": {"from": 60, "to": 45}}, f"{changed}")
        apply(shop, "ann")
        evenkeel("policy", "rollback", *PLACE, "--by", "bob")

        recovery.write_text(recovery.read_text().replace("cooldown: 45s", "cooldown: 45"))
        apply(shop, "ann", exits=1)
        orders(3)
        time.sleep(2)
        versions = evenkeel("policy", "get", "--versions", *PLACE)
        expect([(it["version"], it["by"]) for it in versions] == [(1, "ci"), (2, "ann"), (3, "bob")], f"{versions}")
        expect(versions[0]["sha256"] == versions[2]["sha256"] != versions[1]["sha256"], f"{versions}")
        expect(versions[0]["epoch"] < versions[1]["epoch"] < versions[2]["epoch"], f"{versions}")
        expect(load.wait(60) == 0, "the load")
        time.sleep(3)
    finally:
        load.kill()
        run.send_signal(signal.SIGTERM)
        expect(run.wait(30) == 0, "the run ends well")
    came = replays()
    if not KAFKA:
        evenkeel("verify", str(SCRATCH / "data"))
        raw = b"".join(path.read_bytes() for path in sorted((SCRATCH / "data/outputs").glob("*.seg")))
        words = [b'"refused":null', b'"refused":"version 3: the next one is 4"']
        counts = [raw.count(word) for word in words]
        expect(counts == [3, 1], f"entries: {counts}")
    print(f"well: in force {took:.1f} s after it was applied, three versions and two refusals; replayed alike: {came}")


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
