#!/usr/bin/env python3
"""Memory under load (law L11): generate | run on the embedded log, resident memory once a second, flat or not.

    soak.py [--seconds 600] [--rate 100000] [--keys 10000]

Flat: the median of the last fifth is at most a tenth above the median of the third fifth (windows of an hour go on
filling, so the first fifths grow by design). Also fails if the pipeline falls behind by more than 5 s.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

BINARY = os.environ.get("EVENKEEL_BIN", "target/release/evenkeel")
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
    wanted = arguments.parse_args()
    data = tempfile.mkdtemp(prefix="evenkeel-soak-")
    log = open(os.path.join(data, "run.log"), "w")
    run = subprocess.Popen([BINARY, "run", "--data", data, "--http", HTTP], stderr=log)
    load = subprocess.Popen(
        [BINARY, "generate", "--data", data, "--calm", "--rate", str(wanted.rate), "--keys", str(wanted.keys),
         "--seconds", str(wanted.seconds)],
        stdout=log, stderr=log,
    )
    try:
        samples, worst_s = watch(run, load)
    finally:
        for process in (load, run):
            process.terminate()
            process.wait(timeout=60)
        shutil.rmtree(data)
    fifth = max(1, len(samples) // 5)
    third, last = (statistics.median(part) for part in (samples[2 * fifth:3 * fifth], samples[-fifth:]))
    flat = last <= 1.1 * third
    print(f"third fifth {third:.0f} MB, last fifth {last:.0f} MB, worst lag {worst_s:.1f} s")
    print("ok: flat" if flat and worst_s < 5 else "FAIL: not flat, or behind")
    return 0 if flat and worst_s < 5 else 1


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
