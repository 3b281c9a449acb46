#!/usr/bin/env python3
"""Memory under load (law L11): generate | run, resident memory once a second, flat or not.

    soak.py [--seconds 600] [--rate 100000] [--keys 10000]
    soak.py --kafka [--encoding arrow] [--per-record 100] …

On the embedded log, or on a broker of its own (or of KAFKA_BOOTSTRAP), which keeps two gigabytes a partition; there the laws
are held to what was committed afterwards, as in kill.py.

Flat: the median of the last fifth is at most a tenth above the median of the third fifth (windows of an hour go on
filling, so the first fifths grow by design). Also fails if the pipeline falls behind by more than 5 s.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import kill

BINARY = kill.BINARY
HTTP = "127.0.0.1:29464"


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def metric(name):
    with urllib.request.urlopen(f"http://{HTTP}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + " "))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=600)
    arguments.add_argument("--rate", type=int, default=100_000)
    arguments.add_argument("--keys", type=int, default=10_000)
    arguments.add_argument("--kafka", action="store_true")
    arguments.add_argument("--encoding", default="json")
    arguments.add_argument("--per-record", type=int, default=1)
    wanted = arguments.parse_args()
    scratch = tempfile.mkdtemp(prefix="evenkeel-soak-")
    try:
        samples, worst_s = (on_kafka if wanted.kafka else embedded)(wanted, scratch)
    finally:
        shutil.rmtree(scratch)
    fifth = max(1, len(samples) // 5)
    third, last = (statistics.median(part) for part in (samples[2 * fifth:3 * fifth], samples[-fifth:]))
    flat = last <= 1.1 * third
    print(f"third fifth {third:.0f} MB, last fifth {last:.0f} MB, worst lag {worst_s:.1f} s")
    print("ok: flat" if flat and worst_s < 5 else "FAIL: not flat, or behind")
    return 0 if flat and worst_s < 5 else 1


def traffic(wanted):
    return ["--calm", "--keys", str(wanted.keys), "--encoding", wanted.encoding, "--events-per-record", str(wanted.per_record)]


def embedded(wanted, data):
    log = open(os.path.join(data, "run.log"), "w")
    run = subprocess.Popen([BINARY, "run", "--data", data, "--http", HTTP], stderr=log)
    load = subprocess.Popen(
        [BINARY, "generate", "--data", data, "--rate", str(wanted.rate), "--seconds", str(wanted.seconds), *traffic(wanted)],
        stdout=log, stderr=log,
    )
    try:
        return watch(run, load)
    finally:
        for process in (load, run):
            process.terminate()
            process.wait(timeout=60)


def on_kafka(wanted, scratch):
    os.environ.setdefault("KAFKA_PROPERTIES", "log.retention.bytes=2000000000\nlog.segment.bytes=250000000\nlog.retention.check.interval.ms=10000")
    wanted.processes, wanted.seed, wanted.run, wanted.generate = 1, 1, ["--http", HTTP], traffic(wanted)
    with contextlib.ExitStack() as stack:
        world = kill.World(stack, pathlib.Path(scratch), kill.Broker(stack, pathlib.Path(scratch)), wanted)
        watched = watch(world.runs[0], world.load)
        presents, topics = kill.check(world, kill.finish(world))
        print(f"laws hold: {world.sent['records']} records in {len(presents)} epochs, {len(topics['audit.log.v1'])} audit entries")
        return watched


def watch(run, load):
    samples, worst_s, started = [], 0.0, time.monotonic()
    while load.poll() is None:
        time.sleep(1)
        if run.poll() is not None:
            sys.exit(f"evenkeel run ended with {run.returncode}")
        samples.append(resident_mb(run.pid))
        behind_s = metric("evenkeel_behind_microseconds") / 1e6
        if time.monotonic() - started > 10:
            worst_s = max(worst_s, behind_s)
        if len(samples) % 30 == 0:
            records = metric("evenkeel_records_total")
            print(f"{len(samples):>5} s  {samples[-1]:>6.0f} MB  {records:>10} records  lag {behind_s:.2f} s", flush=True)
    return samples, worst_s


if __name__ == "__main__":
    sys.exit(main())
