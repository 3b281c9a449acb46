#!/usr/bin/env python3
"""An hour at 10,000 requests a second, generated and counted at full speed on the embedded log, then compacted.

    hour.py [--rate N] [--seconds N] [--keys N] [--dir DIR]

Prints how long each step took and how much memory it held at most. Exit 0 if every request is in Parquet once, no file but the
last of each stream and date is below 8 MiB, and `verify` finds all of it whole. Needs 7 GB in DIR (the system's temporary
directory) for the 36 million requests, in Arrow streams of 100; Parquet takes another 1 to 2.
"""
import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import verify

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("EVENKEEL_BIN", str(ROOT / "target/release/evenkeel"))
HTTP = os.environ.get("HOUR_HTTP", "127.0.0.1:29520")
MIN_FILE_BYTES = 8 << 20


def step(name, *arguments):
    """Runs a command; prints its time and its largest memory, which is returned with what it printed."""
    began = time.monotonic()
    process = subprocess.Popen([BINARY, "--log", "warn", *arguments], stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    reader.join()
    print(f"{name}: {time.monotonic() - began:.0f} s, {usage.ru_maxrss / 1024:.0f} MB at most; {lines[-1].strip()}", flush=True)
    if status != 0:
        raise SystemExit(f"{name} failed: {status}")
    return usage.ru_maxrss / 1024, "".join(lines)


def metric(name):
    with urllib.request.urlopen(f"http://{HTTP}/metrics", timeout=5) as answer:
        values = (line.split() for line in answer.read().decode().splitlines() if line.startswith(name))
        return sum(float(parts[-1]) for parts in values)


def count(data):
    """Lets the pipeline read all there is."""
    began, done = time.monotonic(), (0.0, 0)
    run = subprocess.Popen([BINARY, "--log", "warn", "run", "--data", data, "--http", HTTP])
    try:
        while done[1] < 5:
            time.sleep(1)
            try:
                records = metric("evenkeel_records_total")
            except OSError:
                continue
            done = (records, done[1] + 1 if records == done[0] and records > 0 else 0)
    finally:
        run.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(run.pid, 0)
    print(f"run: {time.monotonic() - began - 5:.0f} s, {usage.ru_maxrss / 1024:.0f} MB at most; {done[0]:.0f} records", flush=True)


def check(cold, wanted):
    """Prints a line a dataset; yields what is wrong."""
    lines = list(verify.standing(map(json.loads, (cold / "manifest.jsonl").read_text().splitlines())))
    streams = collections.defaultdict(list)
    for line in lines:
        streams[line["dataset"], line["partition"], line["file"].split("/date=")[1][:10]].append(line)
    datasets = collections.defaultdict(lambda: [0, 0, 0, 0])
    for (dataset, partition, date), files in streams.items():
        small = [line for line in files[:-1] if line["bytes"] < MIN_FILE_BYTES]
        if small:
            yield f"{dataset} {partition} {date}: {len(small)} of {len(files)} files are below 8 MiB"
        for line in files:
            of = datasets[dataset]
            of[0], of[1], of[2] = of[0] + 1, of[1] + line["rows"], of[2] + line["bytes"]
            of[3] += line["bytes"] < MIN_FILE_BYTES
    print(f"{'dataset':<36}{'files':>7}{'small':>7}{'rows':>12}{'MB':>9}")
    for dataset, (files, rows, size, small) in sorted(datasets.items()):
        print(f"{dataset:<36}{files:>7}{small:>7}{rows:>12}{size / 1e6:>9.1f}")
    if datasets["requests"][1] != wanted:
        yield f"{datasets['requests'][1]} requests in Parquet, {wanted} were generated"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--dir")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="evenkeel-hour-", dir=arguments.dir))
    data, cold = str(scratch / "data"), scratch / "cold"
    try:
        _, said = step("generate", "-o", "json", "generate", "--data", data, "--backlog", "--calm", "--encoding", "arrow",
                       "--malformed-per-million", "0", "--rate", str(arguments.rate), "--seconds", str(arguments.seconds),
                       "--keys", str(arguments.keys))
        wanted = json.loads(said.splitlines()[-1])["requests"]
        count(data)
        step("compact", "compact", "--data", data, "--cold", str(cold), "--requests", "full")
        wrong = list(check(cold, wanted))
        step("verify", "verify", str(cold))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
