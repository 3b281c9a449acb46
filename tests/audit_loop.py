#!/usr/bin/env python3
"""A live evenkeel, its sealer, a witness and a watcher as processes of their own; then somebody tampers. Each attack has to
be found by the watcher, after how long is said, and to become an incident of the running evenkeel.

    audit_loop.py [--keep]

Attacks: a payload's byte in the log (its checksum made to fit); the sealer stopped (entries wait too long); the log of seals
rolled back to an older copy, checkpoint and all; a cold file swapped for another. Exit 0: all found, 1: not.
"""
import argparse
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import verify

HERE = Path(__file__).resolve().parent
EVENKEEL = os.environ.get("EVENKEEL_BIN", str(HERE.parent / "target/release/evenkeel"))
INCIDENTS = 2  # the number of the dataset in a frame
WITHIN_S, STALE_S = 20, 4


class Loop:
    def __init__(self, folder):
        self.folder, self.data, self.seals = folder, folder / "data", folder / "seals"
        self.processes = {}

    def start(self, name, *words):
        log = open(self.folder / f"{name}.log", "a")
        command = [EVENKEEL, *map(str, words)]
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, name):
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)

    def once(self, *words):
        return subprocess.run([EVENKEEL, *map(str, words)], check=True, capture_output=True, text=True).stdout

    def key(self, name, *words):
        path = self.folder / f"{name}.key"
        (self.folder / f"{name}.vkey").write_text(self.once("audit", "keygen", *words, "--out", path))
        return path, self.folder / f"{name}.vkey"

    def seal(self):
        witness = ["--witness", "http://127.0.0.1:28791", self.folder / "w.vkey"]
        self.start("seal", "audit", "seal", "--data", self.data, "--seals", self.seals, "--key", self.folder / "log.key",
                   "--cold", self.data / "cold", *witness)

    def watch(self):
        self.start("watch", "audit", "watch", "--data", self.data, "--seals", self.seals, "--key", self.folder / "log.vkey",
                   "--witness-key", self.folder / "w.vkey", "--cold", self.data / "cold", "--state", self.folder / "seen",
                   "--stale", STALE_S)

    def said(self):
        return (self.folder / "watch.log").read_text().splitlines() if (self.folder / "watch.log").exists() else []

    def incidents(self):
        """Entities of findings in the incidents that were opened."""
        try:
            records = list(verify.log_records(sorted((self.data / "outputs").glob("*.seg")), INCIDENTS))
        except verify.Tampered:  # its end is being written
            records = []
        return [json.loads(value) for _, _, value in records]

    def wait(self, what, within_s, holds):
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            if holds():
                return time.monotonic() - began
            time.sleep(0.02)
        print("\n".join(self.said()[-5:]))
        sys.exit(f"{what}: not within {within_s} s")

    def found(self, attack, word, since, incidents):
        took = self.wait(f"{attack}: found", WITHIN_S + STALE_S, lambda: any(word in line for line in self.said()[since:]))
        opened = self.wait(f"{attack}: an incident", WITHIN_S, lambda: len(self.incidents()) > incidents)
        print(f"{attack:<44} found after {took:.1f} s, incident {opened:.1f} s later: {self.said()[-1][:110]}")

    def attack(self, name, word, do, undo):
        since, incidents = len(self.said()), len(self.incidents())
        do()
        self.found(name, word, since, incidents)
        undo()
        self.wait(f"{name}: well again", 20, lambda: self.said()[-1].startswith("well"))


def edited(path, body_at, change):
    """Changes a frame's body in a segment file, and its checksum."""
    data = bytearray(path.read_bytes())
    length, _ = struct.unpack("<II", data[body_at - 8:body_at])
    body = bytearray(data[body_at:body_at + length])
    change(body)
    data[body_at - 8:body_at + length] = struct.pack("<II", length, zlib.crc32(body)) + body
    with open(path, "r+b") as file:
        file.seek(body_at - 8)
        file.write(data[body_at - 8:body_at + length])


def first_audit_body(path):
    data, at = path.read_bytes(), 0
    while data[at + 8] != verify.AUDIT:
        at += 8 + struct.unpack("<I", data[at:at + 4])[0]
    return at + 8


def flip_last(body):
    body[-40] ^= 1


def play(loop):
    loop.key("log", "--name", "example.com/loop")
    witness, _ = loop.key("w", "--witness", "--name", "example.org/w")
    loop.start("witness", "audit", "witness", "--listen", "127.0.0.1:28791", "--key", witness, "--state", loop.folder / "w",
               "--log-key", loop.folder / "log.vkey")
    loop.start("generate", "generate", "--data", loop.data, "--seconds", 300, "--rate", 300, "--calm")
    loop.start("run", "run", "--data", loop.data)
    first = loop.data / "outputs" / f"{0:020}.seg"
    loop.wait("the first outputs", 30, lambda: first.exists() and first.stat().st_size > 20_000)
    loop.once("compact", "--data", loop.data, "--cold", loop.data / "cold")
    loop.seal()
    cosigned = lambda: "example.org/w" in (loop.seals / "checkpoint").read_text()
    loop.wait("a checkpoint", 20, lambda: (loop.seals / "checkpoint").exists() and cosigned())
    older = loop.folder / "older"
    shutil.copytree(loop.seals, older)
    time.sleep(3)
    loop.watch()
    loop.wait("the watcher's memory", 20, lambda: (loop.folder / "seen").exists())

    at = first_audit_body(first)
    flip = lambda: edited(first, at, flip_last)
    loop.attack("a payload's byte in the log", "tampered", flip, flip)

    loop.attack("the sealer is stopped", "stale", lambda: loop.stop("seal"), loop.seal)

    aside = loop.folder / "aside"

    def roll_back():
        loop.stop("seal")
        loop.seals.rename(aside)
        shutil.copytree(older, loop.seals)

    def roll_forward():
        shutil.rmtree(loop.seals)
        aside.rename(loop.seals)
        loop.seal()

    loop.attack("the log of seals rolled back, checkpoint too", "rolled back", roll_back, roll_forward)

    one, other = sorted((loop.data / "cold/audit").rglob("*.parquet"))[:2]

    def swap():
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    loop.attack("a cold file swapped for its sibling", "not the file", swap, swap)
    stopped = [name for name in loop.processes if loop.processes[name].poll() is not None]
    if stopped:
        sys.exit(f"not running any more: {stopped}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the files")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-audit-"))
    loop = Loop(folder)
    try:
        play(loop)
        print("ok: every attack was found, and became an incident")
    finally:
        for process in loop.processes.values():
            process.kill()
        if options.keep:
            print(f"kept in {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
