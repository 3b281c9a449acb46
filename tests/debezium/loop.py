#!/usr/bin/env python3
"""Real parts end to end: PostgreSQL -> Debezium -> Kafka -> `evenkeel run` -> audit.log.v1, read back with kcat.

    loop.py [--changes 1000] [--after 200]

First so many inserts, updates and deletes, each timed from before its statement is sent until a read-committed reader sees its
chained entry; the goal is 2 s for every one, and how many take longer is said. Then everything (evenkeel, Connect, the broker, PostgreSQL) is killed with SIGKILL while
changes go on, started again, and changes go on. Expected: every change that the database acknowledged is in the chain, in the
order of its row; what is there twice was sent twice by the connector, which after a crash begins where it last said so; the
chain is whole, and a replay says the same.

Needs psql, PostgreSQL 12 or newer, kcat, Java with Maven; EVENKEEL_BIN names the binary to try. Everything listens on loopback.
Exit 0: all as expected; 1: not, and why. Under 5 minutes.
"""
import argparse
import collections
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from kill import BINARY, Failure, expect, free_ports, interrupt, say, stop, unpack_entry  # noqa: E402

CHAINED_WITHIN_S, PAUSE_S, ALL_WITHIN_S = 2.0, 0.01, 290


class Parts:
    """The processes of the loop. What is started is stopped, newest first, when the stack unwinds."""

    def __init__(self, stack, scratch, **settings):
        self.scratch, self.run = scratch, None
        kafka, postgres, connect = free_ports(4), free_ports(1), free_ports(1)
        expect(len({kafka, kafka + 1, postgres, connect}) == 4, "the free ports found overlap; try again")
        self.postgres_port, self.brokers = postgres, f"127.0.0.1:{kafka}"
        self.settings = {**os.environ, "KAFKA_PORT": str(kafka), "KAFKA_DATA": str(scratch / "kafka"), "KAFKA_BOOTSTRAP": self.brokers,
                         "POSTGRES_PORT": str(postgres), "CONNECT_PORT": str(connect), "DEBEZIUM_DATA": str(scratch / "debezium"), **settings}
        self.log = stack.enter_context(open(scratch / "run.log", "ab"))
        for name in ("kafka", "debezium"):
            stack.callback(self.script, name, "down.sh")
        stack.callback(lambda: self.run and stop(self.run))

    def script(self, part, name, *arguments):
        done = subprocess.run([HERE.parent / part / name, *arguments], env=self.settings, stdout=subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"{part}/{name} failed, see above")
        return done.stdout.strip()

    def up(self, *options):
        """Starts what does not run, evenkeel with these options."""
        self.script("kafka", "up.sh")
        self.start_run(*options)
        self.script("debezium", "up.sh")

    def start_run(self, *options):
        command = [BINARY, "run", "--brokers", self.brokers, *options]
        self.run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def pids(self):
        """Of everything."""
        kafka = Path(self.script("kafka", "up.sh", "--pid-file"))
        debezium = self.scratch / "debezium"
        files = [kafka, debezium / "connect.pid", debezium / "postgres/postmaster.pid"]
        return [self.run.pid, *(int(path.read_text().split()[0]) for path in files)]

    def read(self, topic):
        """The values on a topic that a read-committed consumer sees now, as bytes."""
        reader = Reader(self.brokers, topic, "-e")
        reader.thread.join(60)
        return [value for value, _ in reader.seen]


class Reader:
    """Reads a topic with kcat as a read-committed consumer does; `seen` are values and when they came, s."""

    def __init__(self, brokers, topic, *options):
        command = ["kcat", "-C", "-q", "-u", "-b", brokers, "-t", topic, "-o", "beginning", "-X", "isolation.level=read_committed",
                   "-X", "reconnect.backoff.max.ms=500", "-f", "%R%s", *options]
        self.kcat, self.seen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL), []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        pipe = self.kcat.stdout
        while len(head := pipe.read(4)) == 4:  # %R: i32 big-endian length, -1 for none
            length = max(struct.unpack(">i", head)[0], 0)
            value = pipe.read(length)
            if len(value) == length:
                self.seen.append((value, time.monotonic()))
        self.kcat.wait()

    def stop(self):
        stop(self.kcat)
        self.thread.join(10)


class Database:
    """A session of psql that says when a statement is done."""

    def __init__(self, parts):
        command = ["psql", "-q", "-X", "-A", "-t", "-h", "127.0.0.1", "-p", str(parts.postgres_port), "-U", "postgres", "-d", "app"]
        self.psql = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def do(self, statement):
        """The lines of the answer; fails if the server did not say that it is done."""
        try:
            self.psql.stdin.write(f"{statement};\n\\echo :ERROR done\n")
            self.psql.stdin.flush()
        except BrokenPipeError as error:
            raise Failure("psql ended") from error
        lines = []
        while (line := self.psql.stdout.readline()) and not line.endswith(" done\n"):
            lines.append(line.rstrip("\n"))
        expect(line == "false done\n", f"psql: {statement}: {line!r}")
        return lines

    def close(self):
        self.psql.kill()
        self.psql.communicate()


class Changes:
    """Makes changes of rows, each row at most one insert, one update and one delete; `sent` is when each was begun, s."""

    def __init__(self):
        self.next, self.sent, self.acknowledged = 0, {}, set()

    def make(self, database, count):
        """Half of them inserts, three tenths updates and two tenths deletes of rows made before."""
        for number in range(count):
            kind, first = "cucdcuccud"[number % 10], self.next
            if kind == "c":
                self.next += 1
                row, statement = first, f"insert into orders (id, customer, amount) values ({first}, 'n{first}', {first % 1000}.25)"
            else:
                row = self.row_for(kind)
                statement = {"u": f"update orders set customer = 'u{row}' where id = {row}", "d": f"delete from orders where id = {row}"}[kind]
            self.sent[kind, row] = time.monotonic()
            database.do(statement)
            self.acknowledged.add((kind, row))
            time.sleep(PAUSE_S)

    def row_for(self, kind):
        """The newest row that had no change of this kind and is still there."""
        rows = range(self.next - 1, -1, -1)
        there = (row for row in rows if ("c", row) in self.acknowledged and ("d", row) not in self.sent and (kind, row) not in self.sent)
        return next(there)


def changes_in(entries):
    """The changes of `orders` in audit entries, in the order of the log: ((kind, row), when seen)."""
    found = []
    for value, seen in entries:
        _, _, _, event_type, payload = unpack_entry(value)
        if event_type == "change" and payload:
            change = json.loads(payload)
            if change["source"]["table"] == "orders" and change["op"] in "crud":
                found.append(((change["op"], (change["after"] or change["before"])["id"]), seen))
    return found


def wait(what, within_s, probe):
    until = time.monotonic() + within_s
    while not (found := probe()):
        expect(time.monotonic() < until, f"{what}: not within {within_s} s")
        time.sleep(0.05)
    return found


def measure(parts, changes, count):
    """Times every change to its entry in the chain."""
    reader, database = Reader(parts.brokers, "audit.log.v1"), Database(parts)
    changes.make(database, 20)
    wait("the first changes in audit.log.v1", 60, lambda: len(changes_in(reader.seen)) >= 20)
    before = set(changes.sent)
    changes.make(database, count)
    wait(f"{count} changes in audit.log.v1", 30, lambda: {key for key, _ in changes_in(list(reader.seen))} >= changes.acknowledged)
    reader.stop()
    database.close()
    seen = changes_in(reader.seen)
    taken_ms = sorted((at - changes.sent[key]) * 1000 for key, at in seen if key not in before)
    expect(len(seen) == len(changes.sent), f"{len(changes.sent)} changes were made, {len(seen)} are in the chain")
    p50, p99 = taken_ms[len(taken_ms) // 2], taken_ms[len(taken_ms) * 99 // 100]
    kinds = collections.Counter(kind for kind, _ in changes.sent if (kind, _) not in before)
    say(f"{len(taken_ms)} changes ({kinds['c']} inserts, {kinds['u']} updates, {kinds['d']} deletes), statement to chained and visible: "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, largest {taken_ms[-1]:.0f} ms")
    late = sum(taken > CHAINED_WITHIN_S * 1000 for taken in taken_ms)
    say(f"later than {CHAINED_WITHIN_S:.0f} s: {late}" + (", on a machine that had other work" if late else ""))


def kill_everything(parts, changes, count):
    """Kills every part while changes go on, and starts all of them again."""
    database, failed = Database(parts), []

    def go_on():
        try:
            changes.make(database, 10_000)
        except Failure as reason:
            failed.append(reason)

    writer = threading.Thread(target=go_on, daemon=True)
    writer.start()
    time.sleep(2)
    for pid in parts.pids():
        os.kill(pid, signal.SIGKILL)
    parts.run.wait()
    writer.join(30)
    database.close()
    expect(failed, "the database was killed, and changes went on")
    unknown = set(changes.sent) - changes.acknowledged
    say(f"killed everything after {len(changes.acknowledged)} changes; of {len(unknown)} nobody knows whether it was made")
    parts.up("--mode", "suggest")
    database = Database(parts)
    for kind, row in unknown:
        # It happened or it did not: the table tells, and the chain has to agree.
        rows = database.do(f"select customer from orders where id = {row}")
        if rows == {"c": [f"n{row}"], "u": [f"u{row}"], "d": []}[kind]:
            changes.acknowledged.add((kind, row))
    say("all of it runs again")
    changes.make(database, count)
    database.close()


def check_chain(parts, changes):
    """Every change in the order of its row, and a whole chain."""
    def all_there():
        entries = [(value, 0) for value in parts.read("audit.log.v1")]
        found = [key for key, _ in changes_in(entries)]
        return set(found) >= changes.acknowledged and (entries, found)

    entries, found = wait("every change in audit.log.v1", 60, all_there)
    expect(set(found) == changes.acknowledged, f"in the chain, and nobody made it: {set(found) - changes.acknowledged}")
    check_configurations([value for value, _ in entries])
    order = {kind: at for at, kind in enumerate("crud")}
    first = {}
    for at, key in enumerate(found):
        first.setdefault(key, at)
    for kind, row in first:
        later = [first[other, row] for other in "cud" if order[other] > order[kind] and (other, row) in first]
        expect(all(first[kind, row] < at for at in later), f"row {row}: {kind} is behind what came after it")
    lines = "\n".join(value.hex() for value, _ in entries)
    verify = subprocess.run([sys.executable, HERE.parent / "verify.py", "kafka"], input=lines, text=True, stdout=subprocess.PIPE)
    expect(verify.returncode == 0, f"verify.py kafka: {verify.stdout.strip()}")
    say(f"{len(changes.acknowledged)} changes, none missing; {len(found) - len(set(found))} of them twice, sent again after the crash; "
        f"{len(entries)} entries, the chain is whole")


def check_configurations(entries):
    """Each start that changed something said so, once."""
    opened = map(unpack_entry, entries)
    said = [json.loads(payload)["detail"]["changed"] for _, _, _, event_type, payload in opened if event_type == "configuration"]
    expect(said == [{}, {"mode": {"from": "observe", "to": "suggest"}}], f"configurations in the log: {said}")


def check_replay(parts, *options):
    expect(parts.run.poll() is None, f"`evenkeel run` ended with {parts.run.returncode}")
    stop(parts.run)
    replay = subprocess.run([BINARY, "replay", "--brokers", parts.brokers, "--check", *options], stdout=subprocess.PIPE, stderr=parts.log, text=True)
    expect(replay.returncode == 0, f"replay --check: {replay.stdout.strip()}")
    say("a replay says the same")


def run(scratch, options):
    expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}; build it (cargo build --release) or set EVENKEEL_BIN")
    with contextlib.ExitStack() as stack:
        parts, changes = Parts(stack, scratch), Changes()
        stack.callback(signal.alarm, 0)  # stopping what was started takes the time it takes
        parts.up()
        say(f"PostgreSQL, Debezium, Kafka at {parts.brokers} and evenkeel are up")
        measure(parts, changes, options.changes)
        kill_everything(parts, changes, options.after)
        check_chain(parts, changes)
        check_replay(parts)


def perform(prefix, within_s, body):
    """Runs a test in a scratch folder of its own; says why it failed."""
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    signal.alarm(within_s)
    # Not below a folder that only its owner may enter: PostgreSQL runs as another user if this is root.
    scratch = Path(tempfile.mkdtemp(prefix=prefix))
    scratch.chmod(0o755)
    try:
        body(scratch)
    except (Failure, OSError, subprocess.SubprocessError) as reason:
        say(f"FAIL: {reason}")
        for log in sorted([*scratch.glob("*.log"), *scratch.glob("debezium/connect.log")]):
            print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
        return 1
    say("ok")
    subprocess.run(["rm", "-rf", scratch])
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--after", type=int, default=200)
    options = parser.parse_args()
    return perform("evenkeel-debezium-", ALL_WITHIN_S, lambda scratch: run(scratch, options))


if __name__ == "__main__":
    sys.exit(main())
