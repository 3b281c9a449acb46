#!/usr/bin/env python3
"""Law L2 on a real Kafka: `evenkeel run` is killed 20 times and the broker 5 times under load, and nothing shows.

    kill.py [--seed N] [--rate 2000] [--kills 20] [--broker-kills 5] [--processes 1] [--seconds 40]

Each kill is a SIGKILL 0.5 to 4 s after the one before, and what was killed is started again at once. With several processes it
is any of them, the one that leads as well as those that follow; at the end they stop, one process goes on alone, and then all
of them again, on the same topics. Then everything is read as a read-committed consumer sees it: epochs without gap or double,
every record of the load in exactly one of them, whole audit chains, every command and incident once, with its audit entry in
its own epoch; and one process that replays the records says the same, output by output.

Needs kcat, and Java with Maven unless KAFKA_BOOTSTRAP names a broker; that one is killed only if KAFKA_RESTART is a shell
command that crashes it and starts it again. EVENKEEL_BIN names the binary to try (default: target/release/evenkeel).
Exit 0: as expected; 1: not, and why. About 4 minutes, at most 10.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("EVENKEEL_BIN", HERE.parent / "target/release/evenkeel")).resolve()
PAUSE_S, FLOWS_WITHIN_S, CAUGHT_UP_WITHIN_S, STOPS_WITHIN_S, ALL_WITHIN_S = (0.5, 4.0), 60, 90, 30, 595
STARTED = time.monotonic()


class Failure(Exception):
    """What was expected and did not happen."""


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def expect(holds, otherwise):
    if not holds:
        raise Failure(otherwise)


def free_ports(count):
    """The first of `count` consecutive ports that nobody listens on, below those the system gives to clients."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise Failure(f"found no {count} free ports")


class Broker:
    """The one of KAFKA_BOOTSTRAP, or one of its own that is stopped when the stack unwinds."""

    def __init__(self, stack, scratch):
        self.address, self.restart = os.environ.get("KAFKA_BOOTSTRAP"), os.environ.get("KAFKA_RESTART")
        self.settings = dict(os.environ)
        if not self.address:
            self.settings |= {"KAFKA_PORT": str(free_ports(2)), "KAFKA_DATA": str(scratch / "kafka")}
            self.restart = None
            stack.callback(subprocess.run, [HERE / "kafka/down.sh"], env=self.settings)
            self.address = self.script("up.sh")
            self.pid_file = Path(self.script("up.sh", "--pid-file"))

    def script(self, *command):
        done = subprocess.run([HERE / "kafka" / command[0], *command[1:]], env=self.settings, stdout=subprocess.PIPE, text=True)
        expect(done.returncode == 0, f"{' '.join(command)} failed, see above")
        return done.stdout.strip()

    def can_be_killed(self):
        return bool(self.restart) or "KAFKA_BOOTSTRAP" not in os.environ

    def kill(self):
        if self.restart:
            expect(subprocess.run(["bash", "-c", self.restart], stdout=subprocess.DEVNULL).returncode == 0, "KAFKA_RESTART failed")
        else:
            os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
            time.sleep(1)
            self.script("up.sh")


class World:
    """The processes under test, on topics of their own."""

    def __init__(self, stack, scratch, broker, options):
        self.stack, self.broker, self.options = stack, broker, options
        self.prefix = f"kill-{os.getpid()}-{options.seed}."
        self.log = stack.enter_context(open(scratch / "run.log", "ab"))
        self.hosts = scratch / "hosts"
        first = free_ports(options.processes)
        self.hosts.write_text("".join(f"127.0.0.1:{first + number}\n" for number in range(options.processes)))
        self.start()
        stack.callback(lambda: [stop(run) for run in self.runs])  # whichever run by then
        self.sent, self.loads, self.load = collections.Counter(), 0, None
        stack.callback(lambda: self.load and stop(self.load))
        self.start_load()
        say(f"{options.rate} requests a second to {broker.address}, topics {self.prefix}*")

    def where(self):
        return ["--brokers", self.broker.address, "--topic-prefix", self.prefix]

    def start(self, processes=None):
        self.processes = processes or self.options.processes
        self.runs = [self.start_one(number) for number in range(self.processes)]

    def start_one(self, number):
        command = [BINARY, "run", *self.where(), "--transactional-id", f"{self.prefix}test", *self.options.run]
        if self.processes > 1:
            command += ["--process", f"{number}/{self.processes}", "--hosts", self.hosts]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def stop(self):
        """Asks all of them to stop, whichever first."""
        for run in random.sample(self.runs, len(self.runs)):
            run.terminate()
        for run in self.runs:
            expect(run.wait(STOPS_WITHIN_S) in (0, -signal.SIGTERM), f"asked to stop, `evenkeel run` ended with {run.returncode}")

    def start_load(self):
        """Starts the next load, and waits until it flows: before that it needs the broker."""
        before, until = self.end_offset(), time.monotonic() + FLOWS_WITHIN_S
        command = [BINARY, "generate", *self.where(), "--rate", str(self.options.rate), "--seconds", str(self.options.seconds), "--seed",
                   str(self.options.seed + self.loads), "-o", "json", *self.options.generate]
        self.load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        self.loads += 1
        while self.end_offset() <= before:
            expect(self.load.poll() is None, f"`evenkeel generate` ended with {self.load.returncode}")
            expect(time.monotonic() < until, f"no record of the load within {FLOWS_WITHIN_S} s")
            time.sleep(0.2)

    def end_offset(self):
        """The end of the first partition of the requests; 0 if it is not there yet."""
        command = ["kcat", "-Q", "-b", self.broker.address, "-t", f"{self.prefix}req.events.v1:0:-1"]
        found = re.search(r"offset (\d+)", subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
        return int(found[1]) if found else 0

    def finish_load(self):
        """Waits for the load, and adds up what it says it sent."""
        report, _ = self.load.communicate()
        expect(self.load.returncode == 0, f"`evenkeel generate` ended with {self.load.returncode}")
        self.sent.update({name: json.loads(report)[name] for name in ("records", "malformed")})

    def check_alive(self):
        for number, run in enumerate(self.runs):
            expect(run.poll() is None, f"`evenkeel run`, process {number}, ended by itself with {run.returncode}")

    def kill(self, number):
        self.check_alive()
        self.runs[number].kill()
        self.runs[number].wait()
        self.runs[number] = self.start_one(number)

    def read(self, topic, since="beginning"):
        """The records of a topic that a read-committed consumer sees now, by partition and in order."""
        form = "%p %o %K %S %h\\n%k%s\\n"
        command = ["kcat", "-C", "-q", "-e", "-b", self.broker.address, "-t", self.prefix + topic, "-o", since,
                   "-X", "isolation.level=read_committed", "-f", form]
        kcat = subprocess.run(command, capture_output=True, timeout=120)
        expect(kcat.returncode == 0, f"kcat could not read {topic}: {kcat.stderr.decode(errors='replace').strip()}")
        records, text, at = [], kcat.stdout, 0
        while at < len(text):
            end = text.index(b"\n", at)
            partition, offset, key_length, length, headers = text[at:end].decode().split(" ")
            key_length, length = max(int(key_length), 0), max(int(length), 0)
            at = end + 1 + key_length
            headers = dict(header.split("=", 1) for header in headers.split(","))
            records.append(Record(int(partition), int(offset), int(headers["epoch"]), int(headers["now_us"]),
                                  text[end + 1:at], text[at:at + length]))
            at += length + 1
        return sorted(records)


Record = collections.namedtuple("Record", "partition offset epoch now_us key value")


def stop(process):
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_all(world, broker, options):
    dice = random.Random(options.seed)
    # Every process in its turn, so that few kills try each of them.
    targets = [number % options.processes for number in range(options.kills)]
    targets += ["broker"] * options.broker_kills * broker.can_be_killed()
    dice.shuffle(targets)
    for target in targets:
        time.sleep(dice.uniform(*PAUSE_S))
        if world.load.poll() is not None:
            world.finish_load()
            world.start_load()
        broker.kill() if target == "broker" else world.kill(target)
    counts = collections.Counter("broker" if target == "broker" else "run" for target in targets)
    killed = ", ".join(f"{'' if target == 'broker' else 'process '}{target} {count}" for target, count in
                       sorted(collections.Counter(targets).items(), key=str))
    say(f"killed evenkeel {counts['run']} times and the broker {counts['broker']} times ({killed})")
    if options.processes > 1:
        for processes in (1, options.processes):
            time.sleep(dice.uniform(*PAUSE_S))
            world.check_alive()
            world.stop()
            world.start(processes)
            say(f"goes on with {processes} process{'es' * (processes > 1)}")
    return counts


def finish(world):
    """Waits for the load, and until all of it is committed, and stops; returns what was sent."""
    world.finish_load()
    sent, ended_us, until = world.sent, time.time_ns() // 1000, time.monotonic() + CAUGHT_UP_WITHIN_S
    say(f"the load ended: {sent['records']} records")
    while True:
        world.check_alive()
        # The last few offsets, for those of markers hold no record.
        last = [json.loads(record.value) for record in world.read("evenkeel.bindings.v1", since="-40")][-1:]
        if last and last[0]["now_us"] > ended_us + 2_000_000 and sum(offset for _, _, offset in last[0]["upper"]) >= sent["records"]:
            break
        expect(time.monotonic() < until, f"not everything committed within {CAUGHT_UP_WITHIN_S} s; the last binding: {last}")
        time.sleep(1)
    say("all of it is committed")
    world.stop()
    return sent


def check_bindings(world, sent):
    """Epochs 0 to n, each once and in order; returns the present of each."""
    records = world.read("evenkeel.bindings.v1")
    bindings = [json.loads(record.value) for record in records]
    epochs = [binding["epoch"] for binding in bindings]
    wrong = next((at for at, epoch in enumerate(epochs) if at != epoch), None)
    expect(wrong is None, f"binding {wrong} is of epoch {epochs[wrong or 0]}: a gap or a double")
    expect(all(r.epoch == b["epoch"] and r.now_us == b["now_us"] for r, b in zip(records, bindings)), "a header differs from its binding")
    cuts = [{(topic, partition): offset for topic, partition, offset in binding["upper"]} for binding in bindings]
    for at in range(1, len(bindings)):
        expect(bindings[at - 1]["now_us"] <= bindings[at]["now_us"], f"the present goes back in epoch {at}")
        expect(all(cuts[at].get(key, 0) >= offset for key, offset in cuts[at - 1].items()), f"a cut goes back in epoch {at}")
    # `run` itself says there how it is configured.
    read = sum(offset for (topic, _), offset in cuts[-1].items() if topic != "audit.events.v1")
    expect(read == sent["records"], f"the load sent {sent['records']} records, the last cut holds {read}")
    return [binding["now_us"] for binding in bindings]


def check_outputs(world, presents):
    """Every output lies in its epoch, epochs ascend; returns the records by topic."""
    names = ["baselines", "verdicts", "incidents", "commands", "rollups", "dlq"]
    topics = {topic: world.read(topic) for topic in [f"out.{name}.v1" for name in names] + ["audit.log.v1", "evenkeel.state.v1"]}
    for topic, records in topics.items():
        for before, record in zip([None, *records], records):
            where = f"{topic}/{record.partition}/{record.offset}"
            expect(record.epoch < len(presents), f"{where}: epoch {record.epoch} has no binding")
            expect(record.now_us == presents[record.epoch], f"{where}: its present is not that of epoch {record.epoch}")
            ascends = before is None or before.partition != record.partition or before.epoch <= record.epoch
            expect(ascends, f"{where}: epoch {record.epoch} after {before and before.epoch}")
    for name in ("verdicts", "incidents", "commands", "dlq"):
        counts = collections.Counter((record.key, record.value) for record in topics[f"out.{name}.v1"])
        twice = next((row for row, count in counts.items() if count > 1), None)
        expect(twice is None, f"twice in out.{name}.v1: {twice}")
    keys = collections.Counter(record.key for name in ("commands", "dlq") for record in topics[f"out.{name}.v1"])
    expect(not keys or max(keys.values()) == 1, f"a command or a rejection twice: {keys.most_common(1)}")
    return topics


def unpack_entry(value):
    """Partition, epoch, seq, event type and payload of an audit record."""
    partition, epoch, seq = struct.unpack_from(">IQQ", value, 9)
    fields, at = [], 37
    for _ in range(6):
        (length,) = struct.unpack_from(">I", value, at)
        fields.append(value[at + 4:at + 4 + length])
        at += 4 + length
    return partition, epoch, seq, fields[0].decode(), fields[5]


def check_audit(topics):
    """Whole chains, and the same decisions in an epoch as in the outputs of that epoch."""
    records, next_seq, audited = topics["audit.log.v1"], collections.Counter(), collections.Counter()
    for record in records:
        partition, epoch, seq, event_type, payload = unpack_entry(record.value)
        where = f"audit.log.v1/{record.partition}/{record.offset}"
        expect((partition, epoch) == (record.partition, record.epoch), f"{where}: its envelope names {partition}, epoch {epoch}")
        expect(seq == next_seq[partition], f"{where}: seq {seq} instead of {next_seq[partition]}")
        next_seq[partition] += 1
        audited[event_type, epoch, payload] += 1
    for name in ("verdict", "incident", "command"):
        said = collections.Counter((name, record.epoch, record.value) for record in topics[f"out.{name}s.v1"]
                                   if b'"decision":"hold"' not in record.value)
        entries = collections.Counter({row: count for row, count in audited.items() if row[0] == name})
        expect(said == entries, f"{name}s and their audit entries differ: {list(((said - entries) + (entries - said)).items())[:2]}")
    lines = "\n".join(record.value.hex() for record in records)
    verify = subprocess.run([sys.executable, HERE / "verify.py", "kafka"], input=lines, text=True, stdout=subprocess.PIPE)
    expect(verify.returncode == 0, f"verify.py kafka: {verify.stdout.strip()}")


def check(world, sent):
    """The laws, as what was committed shows them; returns the present of each epoch, and the records by topic."""
    presents = check_bindings(world, sent)
    topics = check_outputs(world, presents)
    rejected = len(topics["out.dlq.v1"])
    expect(rejected == sent["malformed"], f"of the load {sent['malformed']} records are no events, {rejected} were rejected")
    check_audit(topics)
    return presents, topics


def check_replay(world):
    """One process computes the same from the records and bindings."""
    command = [BINARY, "replay", *world.where(), "--check", "-o", "json"]
    replay = subprocess.run(command, stdout=subprocess.PIPE, stderr=world.log, text=True)
    expect(replay.returncode in (0, 1), f"`evenkeel replay` ended with {replay.returncode}")
    expect(replay.returncode == 0, f"replayed by one process: {replay.stdout.strip()}")


def run(scratch, options):
    expect(os.access(BINARY, os.X_OK), f"no program at {BINARY}; build it (cargo build --release) or set EVENKEEL_BIN")
    with contextlib.ExitStack() as stack:
        broker = Broker(stack, scratch)
        world = World(stack, scratch, broker, options)
        counts = kill_all(world, broker, options)
        sent = finish(world)
        presents, topics = check(world, sent)
        check_replay(world)
        signal.alarm(0)  # stopping what was started takes the time it takes
    sizes = ", ".join(f"{len(records)} {re.sub('^out.|.v1$', '', topic)}" for topic, records in topics.items())
    say(f"ok: seed {options.seed}, {counts['run']} + {counts['broker']} kills, {sent['records']} records in {len(presents)} epochs: {sizes}")


def interrupt(number, _):
    raise Failure(f"took more than {ALL_WITHIN_S} s" if number == signal.SIGALRM else f"stopped by signal {number}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    for name, default in (("--rate", 2000), ("--kills", 20), ("--broker-kills", 5), ("--processes", 1), ("--seconds", 40)):
        parser.add_argument(name, type=int, default=default)
    parser.set_defaults(run=[], generate=[])
    options = parser.parse_args()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    signal.alarm(ALL_WITHIN_S)
    scratch = Path(tempfile.mkdtemp(prefix="evenkeel-kill-"))
    say(f"seed {options.seed}, in {scratch}")
    try:
        run(scratch, options)
    except (Failure, OSError, subprocess.SubprocessError) as reason:
        say(f"FAIL: {reason}")
        for log in sorted(scratch.glob("*.log")):
            print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
