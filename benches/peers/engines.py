"""Who is compared: how each is started, on how many events, and what has to be said about it.

Not here, because the package registries (PyPI, npm, crates.io, Maven Central, Debian) hold no engine that starts without
Docker: RisingWave (clients; on crates.io a placeholder), Feldera (a client; its library `dbsp` has circuits and no
connectors, and was not tried), Arroyo (a command that starts Docker), Denormalized (no package for this Python).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent.parent / "target" / "peers"
FEW_KEYS, MANY_KEYS = 1_000, 100_000

JAVA = ["java", "-Xms1g", "-Xmx8g", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
# What Flink needs to be allowed from Java 17 on.
JAVA += ["--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED"]


def java(name):
    return [*JAVA, "-cp", f"{TARGET}/jvm/classes:{TARGET}/jvm/lib/*", f"peers.{name}"]


def python(venv, *arguments):
    return [f"{TARGET}/venv-{venv}/bin/python", *arguments]


def script(venv, name):
    return python(venv, str(HERE / "python" / f"{name}.py"))


def evenkeel(command):
    return [(TARGET / "evenkeel").read_text(), command]


@dataclass
class Engine:
    name: str
    title: str
    command: object
    # Events by number of keys: as many as it does in about a minute, ten million at most.
    few: int
    many: int
    inputs: tuple = ("file", "kafka")
    env: dict = field(default_factory=dict)
    # It says a window again when it changes: the last word counts.
    revises: bool = False
    note: str = ""

    def events(self, keys, source, asked):
        most = asked or (self.few if keys < 10_000 else self.many)
        return most if source == "file" else min(most, asked or KAFKA_EVENTS)


# What the broker on the same two cores holds for everybody.
KAFKA_EVENTS = 3_000_000
M = 1_000_000

ENGINES = [
    Engine(
        "evenkeel", "evenkeel, 2 workers", lambda: evenkeel("run"), 10 * M, 10 * M,
        note="also keeps four windows, detectors, rollups, state to recover from and the audit chain; every window is an "
        "output; on Kafka all of it is committed in transactions",
    ),
    Engine(
        "flink-tuned", "Flink, hand-tuned", lambda: java("FlinkTuned"), 10 * M, 10 * M,
        note="KeyedProcessFunction, ring and running sum per key, timers, Jackson streaming, object reuse; "
        "no checkpoints",
    ),
    Engine(
        "flink-idiomatic", "Flink, sliding windows", lambda: java("FlinkIdiomatic"), 1 * M, M // 2,
        note="SlidingEventTimeWindows with an AggregateFunction; no checkpoints",
    ),
    Engine(
        "kafka-streams", "Kafka Streams", lambda: java("StreamsRing"), 3 * M, 3 * M, inputs=("kafka",),
        note="processor with the same ring in a store of objects; no changelog",
    ),
    Engine(
        "bytewax", "Bytewax", lambda: python("stream", "-m", "bytewax.testing", "-p2", "bytewax_ring:flow"), 3 * M, 2 * M,
        note="ring by hand in stateful_batch, two processes; no recovery store",
    ),
    Engine(
        "pathway", "Pathway", lambda: script("stream", "pathway_windows"), 1 * M, M // 2,
        env={"PATHWAY_THREADS": "2"}, revises=True, note="seconds by key, spread over windows; no persistence",
    ),
    Engine(
        "quix", "Quix Streams", lambda: script("stream", "quix_ring"), 1 * M, 1 * M, inputs=("kafka",),
        note="ring by hand in memory, one process per partition",
    ),
    Engine(
        "duckdb", "DuckDB (batch)", lambda: script("batch", "duckdb_batch"), 10 * M, 10 * M, inputs=("file",),
        note="not a stream: all events are loaded, then one query a second; exact p99",
    ),
    Engine(
        "polars", "Polars (batch)", lambda: script("batch", "polars_batch"), 10 * M, 10 * M, inputs=("file",),
        note="not a stream: all events are loaded, then one group-by a second; exact p99",
    ),
]


def chosen(names):
    known = {engine.name: engine for engine in ENGINES}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown engine {unknown[0]}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else ENGINES
