#!/usr/bin/env python3
"""The mirror of the audit log in SQL, end to end: copied exactly once and in order, and no change of it goes unseen.

PostgreSQL -> Debezium -> Kafka -> `evenkeel run` -> audit.log.v1 -> `evenkeel-mirror` -> the table public.audit_log, itself
captured by Debezium. Expected: over a SIGKILL of the mirror the table is what the log is, followed by SQL alone, and its copies
are not audited again; an UPDATE, a DELETE, an INSERT and a TRUNCATE of it are each an incident that names the row; the goal is
two seconds after the statement (what capture sees: one), and what takes longer is said; with capture turned off, the rows are hashed again and tell.

Needs what loop.py needs, and `evenkeel-mirror` beside the binary. Exit 0: all as expected; 1: not, and why. Under 4 minutes.
"""
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from kill import BINARY, expect, say, stop  # noqa: E402
from loop import Changes, Database, Parts, Reader, check_replay, perform, wait  # noqa: E402

MIRROR, TABLE = BINARY.with_name("evenkeel-mirror"), "public.audit_log"
CAPTURED_WITHIN_S, FOUND_WITHIN_S, VERIFY_EVERY_S, ALL_WITHIN_S = 1.0, 2.0, 3, 235


class Mirror:
    """The process, and what the table holds."""

    def __init__(self, parts, stack):
        self.parts, self.database = parts, Database(parts)
        self.start()
        stack.callback(lambda: stop(self.process))  # whichever by then
        wait("the table", 20, lambda: self.database.do(f"select to_regclass('{TABLE}')") != [""])

    def start(self, *options):
        url = f"postgres://postgres@127.0.0.1:{self.parts.postgres_port}/app"
        self.command = [MIRROR, "--brokers", self.parts.brokers, "--postgres", url, "--table", TABLE]
        self.process = subprocess.Popen([*self.command, "--verify-every-s", str(VERIFY_EVERY_S)], stdin=subprocess.DEVNULL,
                                        stdout=self.parts.log, stderr=self.parts.log)

    def rows(self):
        return int(self.database.do(f"select count(*) from {TABLE}")[0])

    def broken(self):
        """Rows that do not follow the chain, as SQL alone sees it."""
        psql = ["psql", "-q", "-X", "-A", "-t", "-F", "/", "-h", "127.0.0.1", "-p", str(self.parts.postgres_port), "-U", "postgres", "-d", "app",
                "-v", "origin=evenkeel", "-v", f"table={TABLE}", "-v", "ON_ERROR_STOP=1", "-f", HERE.parents[1] / "src/postgres/mirror/follow.sql"]
        done = subprocess.run(psql, capture_output=True, text=True)
        expect(done.returncode == 0, f"follow.sql: {done.stderr.strip()}")
        return done.stdout.split()


def copies(parts, mirror):
    """Changes, with the mirror killed among them; then the table is the log."""
    changes = Changes()
    changes.make(database := Database(parts), 200)
    mirror.process.kill()
    mirror.process.wait()
    changes.make(database, 100)
    # A text that PostgreSQL cannot hold as it is.
    strange = json.dumps({"event_time_us": time.time_ns() // 1000, "event_type": "access", "op": "read", "actor": "a\\\0b", "entity": "\0"})
    subprocess.run(["kcat", "-P", "-b", parts.brokers, "-t", "audit.events.v1"], input=strange.encode(), check=True)
    mirror.start()
    changes.make(database, 100)
    database.close()
    wait("402 entries", 30, lambda: len(parts.read("audit.log.v1")) >= 402)
    wait("as many rows as entries", 30, lambda: mirror.rows() == len(parts.read("audit.log.v1")))
    time.sleep(2)  # what is copied would be audited by now, and that copied
    log = sorted(struct.unpack(">IQQ", value[9:29])[::2] + (value[-32:].hex(),) for value in parts.read("audit.log.v1"))
    rows = mirror.database.do(f"select partition, seq, encode(current_hash, 'hex') from {TABLE} order by 1, 2")
    rows = [tuple(row.split("|")) for row in rows]
    expect([(int(partition), int(seq), link) for partition, seq, link in rows] == log, "the table is not what the log is")
    # 400 changes, one access, and how evenkeel is configured.
    expect(len(log) == 402, f"402 events went in, {len(log)} entries came out: were copies audited?")
    expect(not mirror.broken(), f"follow.sql finds {mirror.broken()[:3]}")
    say(f"{len(log)} entries, {len(rows)} rows, the same over a kill of the mirror; no copy was audited; SQL alone follows the chain")


class Watch:
    """Waits for an incident that names a row."""

    def __init__(self, parts, stack):
        self.reader = Reader(parts.brokers, "out.incidents.v1")
        stack.callback(self.reader.stop)

    def expect(self, what, node, within_s, since):
        def told():
            for value, at in list(self.reader.seen):
                if at >= since and node in json.loads(value)["cause"]["nodes"]:
                    return at - since
            return None

        after_s = wait(f"an incident that names {node} after {what}", within_s + 20, told)
        goal = "" if after_s <= within_s else f", later than the goal of {within_s:.0f} s"
        say(f"{what}: incident names {node} after {after_s * 1000:.0f} ms{goal}")


def forge(mirror):
    """A row that nobody copied, and that follows the last one of its partition: values for an insert."""
    partition, seq, head = mirror.database.do(
        f"select partition, seq, encode(current_hash, 'hex') from {TABLE} order by seq desc limit 1")[0].split("|")
    partition, seq, head = int(partition), int(seq) + 1, bytes.fromhex(head)
    envelope = b"audit/v1\0" + struct.pack(">IQQq", partition, 9, seq, 1)
    for text in (b"access", b"t", b"read", b"nobody", b"nothing", b"{}"):
        envelope += struct.pack(">I", len(text)) + text
    link = sha256(envelope + head).hexdigest()
    return partition, seq, (f"({partition}, {seq}, 9, 1, 'access', 't', 'read', 'nobody', 'nothing', '{{}}', "
                            f"'\\x{head.hex()}', '\\x{link}')")


def tamper(mirror, watch):
    """Each kind of change, told by capture; and one that only the log can tell."""
    captured = "app.public.audit_log"
    for what, statement, row in [
        ("an UPDATE", f"update {TABLE} set actor = 'nobody' where partition = 1 and seq = 3", "1/3"),
        ("a DELETE", f"delete from {TABLE} where partition = 2 and seq = 5", "2/5"),
        ("an INSERT", f"insert into {TABLE} select 3, 1000000, epoch, ts_us, event_type, table_name, op, actor, entity, payload, "
                      f"previous_hash, current_hash from {TABLE} where partition = 3 and seq = 1", "3/1000000"),
    ]:
        since = time.monotonic()
        mirror.database.do(statement)
        watch.expect(what, f"{captured}/{row}", CAPTURED_WITHIN_S, since)
    mirror.database.do(f"delete from {TABLE} where seq = 1000000")
    partition, seq, values = forge(mirror)
    since = time.monotonic()
    mirror.database.do(f"insert into {TABLE} values {values}")
    watch.expect("an INSERT that follows the chain", f"{TABLE}/{partition}/{seq}", FOUND_WITHIN_S, since)
    # Unseen by capture; the mirror looks at every row now and then.
    mirror.database.do(f"alter publication evenkeel drop table {TABLE}")
    since = time.monotonic()
    mirror.database.do(f"update {TABLE} set payload = 'x' where partition = 0 and seq = 2")
    watch.expect("an UPDATE behind the back of capture", f"{TABLE}/0/2", VERIFY_EVERY_S + 1, since)
    expect("0/2" in mirror.broken(), "follow.sql does not find it")
    mirror.database.do(f"alter publication evenkeel add table {TABLE}")
    since = time.monotonic()
    mirror.database.do(f"truncate {TABLE}")
    watch.expect("a TRUNCATE", f"{captured}/*", CAPTURED_WITHIN_S, since)


def anew(parts, mirror):
    """An empty table is filled again from the log, whatever was done to it."""
    stop(mirror.process)
    # It may have copied an entry about the truncation by then, and with a hole before it the table is not empty.
    mirror.database.do(f"truncate {TABLE}")
    once = subprocess.run([*mirror.command, "--once"], stdout=subprocess.DEVNULL, stderr=parts.log)
    expect(once.returncode == 0, f"evenkeel-mirror --once ended with {once.returncode}")
    expect(not mirror.broken(), f"follow.sql finds {mirror.broken()[:3]}")
    mirror.database.do(f"update {TABLE} set op = 'x' where partition = 1 and seq = 4")
    once = subprocess.run([*mirror.command, "--once"], stdout=subprocess.DEVNULL, stderr=parts.log)
    expect(once.returncode == 1, f"of an edited table evenkeel-mirror --once ended with {once.returncode}")
    say("the table was filled again from the log; --once says whether it is whole")


def run(scratch):
    expect(os.access(MIRROR, os.X_OK), f"no program at {MIRROR}; build it: cargo build --release -p evenkeel-postgres")
    with contextlib.ExitStack() as stack:
        parts = Parts(stack, scratch, DEBEZIUM_TABLES=f"public.orders,{TABLE}")
        stack.callback(signal.alarm, 0)  # stopping what was started takes the time it takes
        config = scratch / "evenkeel.toml"
        config.write_text('[tuning]\nmirror_table = "app.public.audit_log"\n')
        parts.script("kafka", "up.sh")
        parts.start_run("--config", config)
        parts.script("debezium", "up.sh", "postgres")
        mirror = Mirror(parts, stack)
        parts.script("debezium", "up.sh")
        say("PostgreSQL, Debezium, Kafka, evenkeel and its mirror are up")
        copies(parts, mirror)
        tamper(mirror, Watch(parts, stack))
        anew(parts, mirror)
        check_replay(parts, "--config", config)


if __name__ == "__main__":
    sys.exit(perform("evenkeel-mirror-", ALL_WITHIN_S, run) if len(sys.argv) == 1 else __doc__)
