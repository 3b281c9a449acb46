#!/usr/bin/env python3
"""The cold store in S3: compacted, verified, replayed and restored; killed amid its work; and two compactors at once.

    objects.py DATA

Everything goes through evenkeel-objects to versitygw, an S3 server with conditional writes, on a port of its own (S3_PORT,
29510); it is built from Go's module proxy into the user's cache, or taken from VERSITYGW. DATA is the directory of a demo. Exit
0: what is in the bucket is what a calm run puts there, each time. Without Go or its proxy: a line that says so, exit 0.
EVENKEEL_BIN and EVENKEEL_OBJECTS_BIN say which programs. --seed N, default 1: when processes are killed.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen
from urllib.error import HTTPError, URLError

import verify

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
ROOT = Path(__file__).resolve().parent.parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(ROOT / "target/release/evenkeel"))
OBJECTS = os.environ.get("EVENKEEL_OBJECTS_BIN", str(Path(EVENKEEL).parent / "evenkeel-objects"))
PORT = int(os.environ.get("S3_PORT", "29510"))
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "evenkeel", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
KILLS, PAIRS = 20, 12


def server_program():
    """The path of versitygw, built if need be; None if it cannot be had."""
    if "VERSITYGW" in os.environ:
        return os.environ["VERSITYGW"]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenkeel" / f"versitygw-{VERSION}"
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if not (home / "versitygw").exists():
        if go is None or subprocess.run([go, "install", MODULE], env={**os.environ, "GOBIN": str(home)}).returncode != 0:
            return None
    return str(home / "versitygw")


class Server:
    """versitygw over a directory, which holds the buckets as folders."""

    def __init__(self, program, folder):
        self.buckets, meta = folder / "buckets", folder / "meta"
        (self.buckets / "cold").mkdir(parents=True)
        meta.mkdir()
        self.log = open(folder / "server.log", "w")
        command = [program, "--access", CREDENTIALS["AWS_ACCESS_KEY_ID"], "--secret", CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                   "--port", f"127.0.0.1:{PORT}", "--quiet", "posix", "--sidecar", str(meta), str(self.buckets)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{PORT}/", timeout=1)
            except HTTPError:  # it answers: unsigned requests are refused
                return
            except (URLError, OSError):
                time.sleep(0.1)
        raise SystemExit("versitygw does not answer: " + (folder / "server.log").read_text()[-2000:])

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def url(prefix):
    return f"s3://cold/{prefix}?endpoint=http://127.0.0.1:{PORT}&region=us-east-1"


def start(*arguments):
    return subprocess.Popen([OBJECTS, "--log", "warn", *arguments], env={**os.environ, **CREDENTIALS}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*arguments, program=OBJECTS):
    done = subprocess.run([program, "--log", "warn", *arguments], env={**os.environ, **CREDENTIALS}, text=True,
                          capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def compaction(data, prefix):
    return ["compact", "--data", data, "--cold", url(prefix), "--records", "--requests", "full"]


def rows(server, prefix):
    """Rows of each dataset and partition by the manifest, after making sure that it names every file, and no other is there."""
    folder, found = server.buckets / "cold" / prefix, collections.Counter()
    standing = list(verify.standing(map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())))
    for line in standing:
        found[line["dataset"], line["partition"]] += line["rows"]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}
    assert files == {line["file"] for line in standing}, files ^ {line["file"] for line in standing}
    return found


def hash_of(text):
    return next(line for line in text.splitlines() if line.startswith("hash "))


def check(server, data, prefix, expected):
    """The store under a prefix is whole, and what a calm run makes."""
    run("verify", url(prefix))
    found = rows(server, prefix)
    assert found == expected, f"{prefix}: {found - expected} too many, {expected - found} missing"


def calm(server, data, scratch):
    began = time.monotonic()
    print(run(*compaction(data, "calm")).splitlines()[-1], f"({time.monotonic() - began:.1f} s)")
    assert run(*compaction(data, "calm")).splitlines()[-1].startswith("0 segments written, 0 merged"), "a rerun did something"
    print(run("verify", url("calm")).splitlines()[0])
    live, cold = hash_of(run("replay", data, program=EVENKEEL)), hash_of(run("replay", "--from", url("calm")))
    print(f"live {live}, from S3 {cold}")
    assert live == cold, "the replay from S3 gives another hash"
    restored = str(scratch / "restored")
    run("restore", "--from", url("calm"), "--data", restored)
    print("restored:", run("verify", restored, program=EVENKEEL).splitlines()[0])
    return rows(server, "calm")


def killed(server, data, expected, chance):
    survived, began = 0, time.monotonic()
    run(*compaction(data, "timed"))
    whole_s = time.monotonic() - began
    for _ in range(KILLS):
        process = start(*compaction(data, "killed"))
        time.sleep(chance.uniform(0.0, whole_s))
        survived += process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    run(*compaction(data, "killed"))
    check(server, data, "killed", expected)
    live, cold = hash_of(run("replay", data, program=EVENKEEL)), hash_of(run("replay", "--from", url("killed")))
    assert live == cold, "the replay from S3 gives another hash"
    # Each time on a store of its own, so that there is something left to be interrupted.
    for number in range(KILLS):
        process = start(*compaction(data, f"killed-{number}"))
        time.sleep(whole_s * (number + chance.random()) / KILLS)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        run(*compaction(data, f"killed-{number}"))
        check(server, data, f"killed-{number}", expected)
    print(f"{2 * KILLS} kills, {KILLS - survived} of the first {KILLS} amid work: no row missing or twice, no file left over")


def at_once(server, data, expected, chance):
    fenced = 0
    for number in range(PAIRS):
        pair = [start(*compaction(data, f"pair-{number}"))]
        time.sleep(chance.uniform(0.0, 0.2))
        pair.append(start(*compaction(data, f"pair-{number}")))
        endings = [(process.communicate()[1], process.returncode) for process in pair]
        for said, code in endings:
            assert code == 0 or (code == 2 and "took over" in said), (code, said)
        codes = [code for _, code in endings]
        assert 0 in codes, f"neither came to an end: {endings}"
        fenced += 2 in codes
        run(*compaction(data, f"pair-{number}"))
        check(server, data, f"pair-{number}", expected)
    print(f"{PAIRS} pairs at once: one was fenced in {fenced}, no row missing or twice")
    assert fenced > 0, "no two of them ever met"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    program = server_program()
    if program is None:
        print(f"skipped: {MODULE} cannot be built here: no Go, or no module proxy")
        return
    scratch = Path(tempfile.mkdtemp(prefix="evenkeel-objects-"))
    server, chance = Server(program, scratch), random.Random(arguments.seed)
    try:
        print(f"versitygw {VERSION}, seed {arguments.seed}")
        expected = calm(server, arguments.data, scratch)
        killed(server, arguments.data, expected, chance)
        at_once(server, arguments.data, expected, chance)
    finally:
        server.stop()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
