"""evenkeel and its peers do one job on the same requests, side by side: who is how fast, and do their answers agree?

The job: requests as JSON lines in the order of event time; for every key of service and route, for every second of event
time, how many requests and errors (status 500 and above) the minute before it holds, and the 99th percentile of their
latency (nearest rank: of n in ascending order the ceil(0.99 n)-th). Windows end with the last whole second of the input.

How it is measured:
* Two files, or a topic of two partitions, of about 226 bytes a request, 126,000 of them to a second of event time.
* Every engine has two cores and two workers, as its documentation advises. Wall time, CPU time and memory are those of
  all its processes. What it takes to start, measured with a thousand events, is taken off for everybody.
* Engines that would take too long read a prefix. That is in their favour: their windows are not full yet.
* Rows are compared with a plain recomputation: counts to the integer, p99 to 0.79 % (half a histogram's bucket). With
  100,000 keys every window is computed, and the rows of one route in a hundred are written and compared.
* The broker is Apache Kafka on the same two cores; its time is nobody's.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time

import check
import measure
from engines import FEW_KEYS, HERE, MANY_KEYS, TARGET, chosen, evenkeel
from install import install

START_S, PER_S, PARTITIONS = 1_767_225_600, 126_000, 2
ROUTE_OF_MANY = "/api/v1/r007"
STARTING = 1_000  # events of the run that shows what starting takes
WITHIN_S = 900
MOST_NOISE = 0.05  # of a run; less than that beyond its start is no measurement
DATA, OUT = TARGET / "data", TARGET / "out"
KAFKA = HERE.parent.parent / "tests" / "kafka"


def arguments():
    parser = argparse.ArgumentParser(
        prog="benches/peers/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="engines, separated by commas (default: all)")
    parser.add_argument("--events", type=int, help="events for every engine (default: each its own size)")
    parser.add_argument("--keys", default=f"{FEW_KEYS},{MANY_KEYS}", help="numbers of keys (default: %(default)s)")
    parser.add_argument("--input", choices=["file", "kafka", "both"], default="both", help="(default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the median one counts (default: 1)")
    parser.add_argument("--results", default=HERE / "results.json", help="where they go (default: %(default)s)")
    options = parser.parse_args()
    options.results = os.path.abspath(options.results)
    return options


def job(keys, events):
    """What every engine and every helper is told."""
    files = [DATA / f"{keys}-{events}-{part}.jsonl" for part in range(PARTITIONS)]
    return {
        **os.environ,
        "PEERS_KEYS": str(keys),
        "PEERS_EVENTS": str(events),
        "PEERS_FILES": ":".join(map(str, files)),
        "PEERS_END_S": str(START_S + (events - 1) // PER_S),
        "PEERS_ROUTE": ROUTE_OF_MANY if keys >= 10_000 else "",
        "PYTHONPATH": str(HERE / "python"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def make(name, env, command):
    print(f"making {name}", file=sys.stderr)
    subprocess.run(command, env=env, check=True)


def requests(keys, events):
    """Files are written once; the stamp says that they are whole."""
    env, whole = job(keys, events), DATA / f"{keys}-{events}.whole"
    if not all(map(os.path.exists, [whole, *env["PEERS_FILES"].split(":")])):
        make(f"{events} requests of {keys} keys", env, evenkeel("generate"))
        whole.touch()
    return env


def reference(keys, events):
    """The answers for the first so many events; those for fewer are the first of them."""
    out, part = DATA / f"{keys}-{events}.csv", DATA / f"{keys}-{events}.part"
    if not out.exists():
        env, compute = requests(keys, events), [TARGET / "venv-batch/bin/python", HERE / "python/reference.py"]
        make(out.name, env, [*compute, env["PEERS_FILES"], part])
        part.rename(out)
    return out


class Broker:
    """A broker of our own, unless KAFKA_BOOTSTRAP names one."""

    def __init__(self):
        self.env = {"KAFKA_PORT": "29701", "KAFKA_DATA": str(TARGET / "kafka"), **os.environ}
        self.own = "KAFKA_BOOTSTRAP" not in os.environ
        up = [KAFKA / "up.sh"]
        self.address = os.environ.get("KAFKA_BOOTSTRAP") or subprocess.check_output(up, env=self.env, text=True).strip()

    def topic(self, keys, events):
        """A new topic with the requests: what one run committed is not for the next to go on from."""
        env = requests(keys, events)
        env.update(PEERS_BROKERS=self.address, PEERS_TOPIC=f"peers.{keys}.{time.time_ns()}.req.events.v1")
        subprocess.run(evenkeel("fill"), env=env, check=True)
        return env

    def stop(self):
        if self.own:
            subprocess.run([KAFKA / "down.sh", "--wipe"], env=self.env, check=True)


def run(engine, env, tag):
    """One run of an engine; None if it failed."""
    out = OUT / f"{engine.name}-{tag}.csv"
    for old in OUT.glob(out.name + "*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    env = {**env, **engine.env, "PEERS_OUT": str(out)}
    measured = measure.run(engine.command(), env, OUT / f"{engine.name}-{tag}.log", WITHIN_S)
    return measured and {**measured, "out": str(out)}


def compare(engine, source, keys, options, broker, most):
    """All runs of an engine on one input; a line of the table. The answers are at hand for `most` events."""
    events = engine.events(keys, source, options.events)
    base = {"engine": engine.name, "title": engine.title, "input": source, "keys": keys, "events": events}

    def prepared(count):
        return broker.topic(keys, count) if source == "kafka" else requests(keys, count)

    started = run(engine, prepared(STARTING), f"{source}-{keys}-start")
    runs = [run(engine, prepared(events), f"{source}-{keys}") for _ in range(options.repeat)]
    if not started or not all(runs):
        return {**base, "agrees": False, "answers": f"failed; see target/peers/out/{engine.name}-{source}-{keys}*.log"}
    agrees, words = check.compare(reference(keys, most), runs[0]["out"], START_S + (events - 1) // PER_S, engine.revises)
    median = sorted(runs, key=lambda it: it["wall_s"])[len(runs) // 2]
    wall_s, cpu_s = (median[what] - started[what] for what in ("wall_s", "cpu_s"))
    if min(wall_s, cpu_s) < MOST_NOISE * median["wall_s"]:
        return {**base, "agrees": agrees, "answers": f"{words}; too few events to measure"}
    return {
        **base,
        "events_per_s": round(events / wall_s),
        "events_per_cpu_s": round(events / cpu_s),
        "peak_mb": round(median["peak_mb"]),
        "wall_s": round(median["wall_s"], 2),
        "cpu_s": round(median["cpu_s"], 2),
        "start_wall_s": round(started["wall_s"], 2),
        "start_cpu_s": round(started["cpu_s"], 2),
        "load": round(os.getloadavg()[0], 1),
        "agrees": agrees,
        "answers": words,
        "note": engine.note,
    }


def table(results):
    """Ratios are evenkeel's events per CPU second over the engine's."""
    yield "| engine | input | keys | events | events/s | per CPU second | evenkeel's is | peak MB | load | answers |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    own = {(it["input"], it["keys"]): it for it in results if it["engine"] == "evenkeel"}
    for it in results:
        cells = [it["title"], it["input"], f"{it['keys']:,}", f"{it['events']:,}"]
        if "events_per_s" in it:
            base = own.get((it["input"], it["keys"]), {}).get("events_per_cpu_s")
            ratio = f"{base / it['events_per_cpu_s']:.1f} ×" if base else "–"
            cells += [f"{it['events_per_s']:,}", f"{it['events_per_cpu_s']:,}", ratio, f"{it['peak_mb']:,}", it["load"]]
        else:
            cells += ["–"] * 5
        yield f"| {' | '.join(map(str, cells))} | {'agree' if it['agrees'] else 'DO NOT AGREE'}: {it['answers']} |"


def versions():
    lines = [line for file in HERE.glob("python/requirements-*.txt") for line in file.read_text().split()]
    pins = dict(line.split("==") for line in lines)
    pom = (HERE / "jvm" / "pom.xml").read_text()
    flink = pom.partition("<flink.version>")[2].partition("<")[0]
    streams = pom.partition("<artifactId>kafka-streams</artifactId>")[2].partition("<version>")[2].partition("<")[0]
    return {"flink": flink, "kafka-streams": streams, "python": platform.python_version(), **pins}


def write(path, results):
    found = {"cores": os.cpu_count(), "versions": versions(), "results": results}
    with open(path, "w") as out:
        out.write(json.dumps(found, indent=1) + "\n")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    engines = chosen([name for name in options.only.split(",") if name])
    sources = ["file", "kafka"] if options.input == "both" else [options.input]
    install(engines)
    for directory in (DATA, OUT):
        directory.mkdir(exist_ok=True)
    os.chdir(HERE / "python")
    broker = Broker() if "kafka" in sources else None
    results = []
    try:
        for source in sources:
            for keys in map(int, options.keys.split(",")):
                able = [engine for engine in engines if source in engine.inputs]
                most = max(engine.events(keys, one, options.events) for engine in engines for one in engine.inputs)
                for engine in able:
                    results.append(compare(engine, source, keys, options, broker, most))
                    print(list(table(results))[-1], file=sys.stderr)
                    write(options.results, results)
    finally:
        if broker:
            broker.stop()
    print("\n".join(table(results)))
    print(f"{os.cpu_count()} cores; versions {versions()}")
    chart = options.results.removesuffix(".json") + ".svg"
    subprocess.run([TARGET / "venv-batch/bin/python", HERE / "chart.py", options.results, chart], check=True)
    sys.exit(not all(it["agrees"] for it in results))


main()
