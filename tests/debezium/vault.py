#!/usr/bin/env python3
"""Personal data and their erasure, end to end: PostgreSQL -> Debezium -> raw.db.changes.v1 -> `evenkeel-vault` -> `evenkeel run`.

Expected: over a SIGKILL of the vault's process every change is in the chain, and no personal value is; the vault opens a
commitment; after the person was erased it does not, the chain is whole as before, and says who asked for it.

Needs what loop.py needs, and `evenkeel-vault` beside the binary. Exit 0: all as expected; 1: not, and why. Under 2 minutes.
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from kill import BINARY, expect, say, stop, unpack_entry  # noqa: E402
from loop import Changes, Database, Parts, changes_in, check_replay, perform, wait  # noqa: E402

VAULT, ALL_WITHIN_S = BINARY.with_name("evenkeel-vault"), 115


class Vault:
    """The process, and its commands."""

    def __init__(self, parts, stack):
        self.parts = parts
        self.where = ["--brokers", parts.brokers, "--vault", f"postgres://postgres@127.0.0.1:{parts.postgres_port}/vault"]
        self.start()
        stack.callback(lambda: stop(self.process))  # whichever by then

    def start(self):
        command = [VAULT, "run", *self.where, "--personal", "public.orders:id:customer"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.parts.log, stderr=self.parts.log)

    def ask(self, *words):
        """Exit code and lines of a command."""
        done = subprocess.run([VAULT, *words, *self.where], stdout=subprocess.PIPE, stderr=self.parts.log, text=True)
        return done.returncode, done.stdout.splitlines()


def lp(data):
    return len(data).to_bytes(4, "big") + data


def entries(parts):
    return [(value, 0) for value in parts.read("audit.log.v1")]


def rows_in(values):
    """What the chain has of the rows: {(kind, row): its payloads}."""
    found = {}
    for (key, _), payload in zip(changes_in(values), (p for *_, kind, p in map(unpack_entry, (v for v, _ in values)) if kind == "change")):
        found.setdefault(key, []).append(json.loads(payload))
    return found


def check_hidden(parts, vault, changes):
    """Every change is there, no name is; returns a commitment and what is behind it."""
    wait("every change in audit.log.v1", 40, lambda: {key for key, _ in changes_in(entries(parts))} >= changes.acknowledged)
    values = entries(parts)
    leaks = [value for value, _ in values if b'"customer":"n' in value or b'"customer":"u' in value]
    expect(not leaks, f"a name is in the log: {leaks[:1]}")
    rows = rows_in(values)
    customers = {key: {json.dumps([(row or {}).get("customer") for row in (p["before"], p["after"])]) for p in found} for key, found in rows.items()}
    twice = sum(len(found) > 1 for found in rows.values())
    expect(all(len(found) == 1 for found in customers.values()), "a change that went on twice has two commitments")
    commitment = rows["c", 7][0]["after"]["customer"]
    code, lines = vault.ask("open", commitment, "--by", "ada")
    expect(code == 0 and lines[0] == 'public.orders customer of 7: "n7"', f"open: {lines}")
    salt = bytes.fromhex(lines[1].split()[1])
    proof = sha256(b"evenkeel/vault/v1\0" + b"".join(map(lp, (b"public.orders", b"customer", salt, b'"n7"')))).hexdigest()
    expect(commitment == f"commitment/v1:{proof}" and len(salt) == 32, "the commitment is not what its definition says")
    say(f"{len(changes.acknowledged)} changes in the chain, {twice} of them twice with the same commitments; no name among them; "
        "the vault opens a commitment, and the salt proves it")
    return commitment


def check_erased(parts, vault, commitment):
    before = parts.read("audit.log.v1")
    code, lines = vault.ask("erase", "7", "--by", "ada")
    expect(code == 0, f"erase: {lines}")
    erasures = wait("the erasure in audit.log.v1", 20, lambda: (lambda found: len(found) == 2 and found)(
        [json.loads(p) for *_, kind, p in map(unpack_entry, parts.read("audit.log.v1")) if kind == "erasure"]))
    expect([(it["op"], it["actor"], it["entity"]) for it in erasures] == [("erase_asked", "ada", "7"), ("erased", "ada", "7")], erasures)
    code, _ = vault.ask("open", commitment, "--by", "ada")
    expect(code == 1, "what was erased can be opened")
    after = parts.read("audit.log.v1")
    expect(set(before) <= set(after), "an entry changed")
    verify = subprocess.run([sys.executable, HERE.parent / "verify.py", "kafka"], input="\n".join(value.hex() for value in after), text=True,
                            stdout=subprocess.PIPE)
    expect(verify.returncode == 0, f"verify.py kafka: {verify.stdout.strip()}")
    say(f"erased: {lines[0]}; the commitment opens no more, the chain is whole, and names who asked")


def run(scratch):
    expect(os.access(VAULT, os.X_OK), f"no program at {VAULT}; build it: cargo build --release -p evenkeel-postgres")
    with contextlib.ExitStack() as stack:
        parts, changes = Parts(stack, scratch, TOPIC_PREFIX="raw."), Changes()
        stack.callback(signal.alarm, 0)  # stopping what was started takes the time it takes
        parts.up()
        database = Database(parts)
        database.do("create database vault")
        vault = Vault(parts, stack)
        say("PostgreSQL, Debezium, Kafka, evenkeel and its vault are up")
        changes.make(database, 150)
        vault.process.kill()
        vault.process.wait()
        changes.make(database, 50)
        vault.start()
        changes.make(database, 100)
        commitment = check_hidden(parts, vault, changes)
        check_erased(parts, vault, commitment)
        check_replay(parts)


if __name__ == "__main__":
    sys.exit(perform("evenkeel-vault-", ALL_WITHIN_S, run) if len(sys.argv) == 1 else __doc__)
