#!/usr/bin/env python3
"""Personal data: lines that are full of it are shipped with masks; none of it is in any file then, in no form.

    masks.py    needs PyPI's pyarrow

3,000 lines of seeded requests, plain texts and broken JSON carry addresses of e-mail, cards, addresses, wallets and names of
customers, some of them with escapes. They go through `ship --masks`, `run` and `compact`; every file that is left is searched,
Parquet by its values. The same lines without masks show that the search finds what is there. Exit 0: all held, 1: not.
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import virtual

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
PACKAGES = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1"]  # those of readers.py: one environment
LINES, SEED = 3_000, int(os.environ.get("EVENKEEL_SEED", "7"))


def expect(holds, what):
    if not holds:
        sys.exit(f"FAIL: {what}")


def card(random):
    """A Visa number whose check digit is right."""
    digits = [4] + [random.randrange(10) for _ in range(14)]
    doubled = [2 * digit - 9 * (digit > 4) if at % 2 == 0 else digit for at, digit in enumerate(digits)]
    return "".join(map(str, digits)) + str(-sum(doubled) % 10)


def corpus(random):
    """The raw values, none twice, and the lines that carry them."""
    raw, lines, now_us = set(), [], int(time.time() * 1e6)
    for number in range(LINES):
        tag = f"{number:05}{random.getrandbits(40):010x}"
        value = {
            0: f"{random.choice(['ann', 'bob.lee', 'c_d+shop'])}{tag}@mail{number % 7}.example.com",
            1: card(random),
            2: f"2001:db8:{random.getrandbits(16) | 0x1000:x}:{random.getrandbits(16) | 0x1000:x}::{random.getrandbits(16) | 0x1000:x}",
            3: "0x" + random.randbytes(20).hex(),
            4: f"Customer {tag}",
            5: f"PN-{random.randrange(10**8):08}",
        }[number % 6]
        raw.add(value)
        request = {"event_time_us": now_us + number, "service": f"shop{number % 5}", "route": f"/pay/{value}", "status": 200,
                   "latency_us": 900, "node": "a", "user": "somebody"}
        if number % 6 == 4:
            request |= {"route": "/pay", "user": value, "tenant": "t"}
        text = json.dumps(request)
        if number % 4 == 1:
            text = text.replace("@", "\\u0040").replace("/pay", "\\/pay")
        if number % 10 == 3:
            text = text[:-1] if number % 6 == 4 else f"{value} did something at {number}: {value}"
        lines.append(text)
    return raw, lines


def shipped(lines, home, masks):
    """What the directory holds once the lines were shipped, judged and compacted."""
    data, (key, file) = home / "data", (home / "mask.key", home / "lines")
    home.mkdir()
    key.write_text(random.Random(SEED).randbytes(32).hex())
    file.write_text("\n".join(lines) + "\n")
    words = ["--masks", str(HERE / "policies/shop/masks.yaml"), "--mask-key", str(key)] if masks else []
    started = time.monotonic()
    ship = [EVENKEEL, "ship", "--file", str(file), "--topic", "req.events.v1", "--data", str(data), *words]
    done = subprocess.run(ship, capture_output=True, text=True)
    expect(done.returncode == 0, f"ship: {done.stderr}")
    took = time.monotonic() - started
    file.unlink()
    run = subprocess.Popen([EVENKEEL, "run", "--data", str(data), "--log", "warn"])
    time.sleep(6)
    run.send_signal(signal.SIGTERM)
    expect(run.wait(30) == 0, "the run ended ill")
    subprocess.run([EVENKEEL, "compact", "--data", str(data), "--records", "--requests", "full"], check=True,
                   stdout=subprocess.DEVNULL)
    return data, done.stderr, took


def texts(data):
    """Every file's bytes; of Parquet its values."""
    import pyarrow.parquet as parquet
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        if path.suffix == ".parquet":
            yield path, str(parquet.read_table(path).to_pydict()).encode()
        yield path, path.read_bytes()


def left(raw, data):
    """Which raw values are in which files: exactly, and in their escaped form."""
    found = {}
    for path, text in texts(data):
        there = {value for value in raw if value.encode() in text or value.replace("@", "\\u0040").encode() in text}
        if there:
            found[path.relative_to(data)] = there
    return found


def main():
    if not virtual.inside():
        run = virtual.runner("venv", PACKAGES)
        return 0 if run is None else run(__file__)
    print(f"seed {SEED}")
    raw, lines = corpus(random.Random(SEED))
    with tempfile.TemporaryDirectory(prefix="evenkeel-masks-") as scratch:
        data, _, plain_s = shipped(lines, Path(scratch) / "plain", False)
        found = left(raw, data)
        seen = set().union(*found.values())
        expect(len(seen) == len(raw), f"without masks the search sees {len(seen)} of {len(raw)} values")
        expect(any(path.suffix == ".parquet" for path in found), "nor does Parquet have them")
        data, said, masked_s = shipped(lines, Path(scratch) / "masked", True)
        found = left(raw, data)
        expect(not found, f"left: { {str(path): list(there)[:3] for path, there in found.items()} }")
        counts = {it["fields"]["rule"]: it["fields"]["found"] for it in map(json.loads, said.splitlines()) if "rule" in it["fields"]}
        expect(len(counts) == 6 and sum(counts.values()) >= len(lines) and all(counts[name] for name in counts if name != "wallets"),
               f"counts: {counts}")
        print(f"{len(raw)} values in {len(lines)} lines: {len(seen)} found in the files without masks, 0 with; by rule: {counts}")
        print(f"shipped in {plain_s:.1f} s without masks, {masked_s:.1f} s with")
    return 0


if __name__ == "__main__":
    sys.exit(main())
