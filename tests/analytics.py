#!/usr/bin/env python3
"""Runs the queries in src/cold/analytics on a data directory's Parquet files and compares with its log (law L9).

    analytics.py DATA

DATA is a data directory with what `evenkeel compact --data DATA` made of it in DATA/cold. What the queries say must be what
is computed here from the outputs in the log, every row of every table must be the output it was made of, and conditions on
times and partitions must spare files and row groups. Exit 0: all so, 1: not, 2: nothing to compare. DuckDB and PyArrow come
from PyPI into a virtual environment in the user's cache. READERS_SKIP=1, or no PyPI: a line that says so, exit 0.
"""
import collections
import datetime
import json
import os
import re
import struct
import sys
from pathlib import Path

import virtual

PACKAGES = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1"]  # those of readers.py: one environment
QUERIES = Path(__file__).resolve().parent.parent / "src/cold/analytics"
DATASETS = ["baselines", "verdicts", "incidents", "commands", "rollups", "rejections", "audit"]  # by number
DIMENSIONS = ["service", "route", "node", "version", "region", "tenant"]
HOUR_US = 3_600_000_000


def outputs(data):
    """Every output in the log: {dataset: [(partition, now_us, value)]}; a frame: u32 length, u32 CRC-32, body."""
    found = collections.defaultdict(list)
    for path in sorted((data / "outputs").glob("*.seg")):
        log, at = path.read_bytes(), 0
        while at < len(log):
            (length,) = struct.unpack_from("<I", log, at)
            body = log[at + 8:at + 8 + length]
            dataset, partition, now_us, key_length = struct.unpack("<BHqI", body[:15])
            found[DATASETS[dataset]].append((partition, now_us, body[15 + key_length:]))
            at += 8 + length
    return found


def entry(record):
    """The fields of an audit record's envelope: event_type, table, op, actor, entity, payload, and its seq."""
    (seq,) = struct.unpack_from(">Q", record, 21)
    fields, at = [], 37
    while len(fields) < 6:
        (length,) = struct.unpack_from(">I", record, at)
        fields.append(record[at + 4:at + 4 + length])
        at += 4 + length
    return seq, fields


def microseconds(value):
    """Times as µs, everything else as it is."""
    if isinstance(value, datetime.datetime):
        since = value - datetime.datetime(1970, 1, 1, tzinfo=value.tzinfo and datetime.timezone.utc)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return value


def middle_us(bucket):
    if bucket < 64:
        return bucket
    power, step = divmod(bucket - 64, 64)
    return ((64 + step) << power) + (1 << power) // 2


def quantile(histogram, per_mille):
    rank, seen = max((sum(histogram.values()) * per_mille + 999) // 1000, 1), 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return middle_us(bucket)


def newest_rollups(found, dimensions):
    """The last word about each minute of the keys with exactly these dimensions."""
    newest = {}
    for _, _, value in found["rollups"]:
        rollup = json.loads(value)
        if set(rollup["key"]) == dimensions:
            newest[tuple(sorted(rollup["key"].items())), rollup["start_us"]] = rollup
    return newest.values()


def latency(found):
    histograms = collections.defaultdict(collections.Counter)
    for rollup in newest_rollups(found, {"service", "route"}):
        key = (rollup["key"]["service"], rollup["key"]["route"], rollup["start_us"] // HOUR_US * HOUR_US)
        histograms[key].update(dict(rollup["histogram"]))
    return [(*key, sum(of.values()), quantile(of, 500), quantile(of, 990)) for key, of in sorted(histograms.items())]


def error_budget(found):
    totals = collections.defaultdict(lambda: [0, 0])
    for rollup in newest_rollups(found, {"service"}):
        total = totals[rollup["key"]["service"], rollup["start_us"] // HOUR_US * HOUR_US]
        total[0] += rollup["requests"]
        total[1] += rollup["errors"]
    return [(*key, requests, errors, errors / (requests * (1 - 0.999))) for key, (requests, errors) in sorted(totals.items())]


def outcomes(found):
    """Every outcome in the audit log: [(partition, seq, now_us, outcome)]."""
    for partition, now_us, record in found["audit"]:
        seq, (event_type, *_, payload) = entry(record[:-32])
        if event_type == b"outcome":
            yield partition, seq, now_us, json.loads(payload)


def command_outcomes(found):
    answers = {}
    for _, seq, now_us, outcome in outcomes(found):
        known = answers.get(outcome["command_id"], ((0, -1), None))
        answers[outcome["command_id"]] = max(known, ((now_us, seq), outcome), key=lambda answer: answer[0])
    groups = collections.defaultdict(list)
    first = {}
    for command in (json.loads(value) for _, _, value in found["commands"]):
        first.setdefault(command["command_id"], command)
    for command in first.values():
        answer = answers.get(command["command_id"], (None, None))[1]
        groups[command["service"], command["kind"]].append((command, answer))
    for (service, kind), pairs in sorted(groups.items()):
        status = collections.Counter(answer and answer["status"] for _, answer in pairs)
        took = sorted(answer["event_time_us"] - command["at_us"] for command, answer in pairs if answer)
        median = (took[(len(took) - 1) // 2] + took[len(took) // 2]) / 2 if took else None
        yield service, kind, len(pairs), status["applied"], status["failed"], status["refused"], status[None], median


def row(dataset, now_us, value):
    """What a table must say of an output."""
    said = json.loads(value)
    expected = {"arrived_at": now_us, **{name: said.get("key", {}).get(name) for name in DIMENSIONS if "key" in said}}
    renamed = {"at_us": "event_at", "start_us": "event_at", "since_us": "since", "opened_us": "opened", "expires_us": "expires",
               "decided_us": "decided", "amended_us": "amended", "topic": "input_topic",
               "partition": "input_partition", "offset": "input_offset"}
    for name, field in said.items():
        if name == "key":
            continue
        if name == "cause":
            cause = {"key": {}, **field}
            expected.update({f"cause_{dimension}": cause["key"].get(dimension) for dimension in DIMENSIONS})
            expected.update({f"cause_{part}": cause[part] for part in ("detector", "nodes", "evidence", "verdicts")})
            expected["cause_since"] = cause["since_us"]
        elif name in ("candidates", "changes", "shared", "params"):
            expected[name] = json.dumps(field, separators=(",", ":"), ensure_ascii=False)
        elif name == "histogram":
            expected["buckets"], expected["counts"] = [bucket for bucket, _ in field], [count for _, count in field]
        elif name == "windows":
            expected["windows"] = [window for window, _ in field]
            for number in ("requests", "errors", "mean_us", "p50_us", "p90_us", "p99_us", "p999_us"):
                expected[number] = [of[number] for _, of in field]
        else:
            expected[renamed.get(name, name)] = field
    return expected


def compare_tables(database, found):
    """Every row of every table is the output it was made of; yields what is not."""
    for dataset in [name for name in DATASETS if name != "audit" and found[name]]:
        table = database.sql(f"""from read_parquet('{dataset}/*/*/*.parquet', hive_partitioning = false)
            order by "offset\"""").to_arrow_table().to_pylist()
        expected = [row(dataset, now_us, value) for _, now_us, value in found[dataset]]
        actual = [{name: microseconds(value) for name, value in of.items() if name != "offset"} for of in table]
        print(f"{dataset:<12}{len(actual):>9} rows, {len(expected):>9} outputs")
        if actual != expected:
            pairs = zip(actual + [None] * len(expected), expected + [None] * len(actual))
            yield f"{dataset}: %s, but the log says %s" % next(pair for pair in pairs if pair[0] != pair[1])
    heard = sorted((partition, seq, now_us, *map(outcome.get, ("event_time_us", "command_id", "service", "status", "detail")))
                   for partition, seq, now_us, outcome in outcomes(found))
    table = database.sql("""select partition, seq, arrived_at, event_at, command_id, service, status, detail
        from read_parquet('outcomes/*/*/*.parquet', hive_partitioning = true) order by partition, seq""")
    actual = [tuple(map(microseconds, of.values())) for of in table.to_arrow_table().to_pylist()]
    print(f"{'outcomes':<12}{len(actual):>9} rows, {len(heard):>9} entries")
    if actual != heard:
        yield f"outcomes: {actual[:3]}, but the log says {heard[:3]}"


def query(database, name):
    for statement in (QUERIES / f"{name}.sql").read_text().split(";\n"):
        if statement.strip():
            result = database.sql(statement)
    return [tuple(map(microseconds, of.values())) for of in result.to_arrow_table().to_pylist()]


def close(one, other):
    """Equal, but for the last digits of doubles."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other), 1)
    return one == other


def compare_queries(database, found):
    for name, expect in {"latency_by_route_and_hour": latency, "error_budget": error_budget,
                         "command_outcomes": command_outcomes}.items():
        actual, expected = query(database, name), [tuple(of) for of in expect(found)]
        if name == "command_outcomes":  # DuckDB rounds the median to whole µs
            actual = [(*of[:-1], None if of[-1] is None else float(of[-1])) for of in actual]
            expected = [(*of[:-1], None if of[-1] is None else float(round(of[-1]))) for of in expected]
        print(f"{name}: {len(actual)} rows")
        same = len(actual) == len(expected) > 0 and all(map(close, a, e) for a, e in zip(actual, expected))
        if not same or not all(close(x, y) for a, e in zip(actual, expected) for x, y in zip(a, e)):
            yield f"{name}: {actual[:3]}, computed from the log {expected[:3]}"
    gaps = query(database, "audit_gaps")
    if gaps:
        yield f"audit_gaps: {gaps[:3]}"
    hashed = query(database, "audit_rehash")
    print(f"audit_rehash: {len(hashed)} segments, {sum(of[3] for of in hashed)} entries")
    if not hashed or not all(of[4] is True for of in hashed):
        yield f"audit_rehash: {hashed}"


def scanned(database, dataset, condition):
    """How many files a query opens, and of how many."""
    plan = database.sql(f"""explain select seq, entity from read_parquet('{dataset}/*/*/*.parquet', hive_partitioning = true)
        where {condition}""").to_arrow_table()[1][0].as_py()
    return int(re.search(r"Scanning Files: (\d+)/", plan)[1])


def compare_pruning(database, cold):
    """Conditions spare files by their folder, and row groups by their statistics."""
    import pyarrow.compute as compute
    import pyarrow.dataset

    audit = len(list((cold / "audit").rglob("*.parquet")))
    one = scanned(database, "audit", "partition = 0")
    print(f"pruning: {one} of {audit} audit files for one partition")
    if not one < audit:
        yield f"partition = 0 opens {one} of {audit} audit files"
    files = list((cold / "requests").rglob("*.parquet"))
    if not files:
        print("pruning: no requests are kept, row groups were not looked at")
        return
    requests = pyarrow.dataset.dataset(cold / "requests", format="parquet", partitioning="hive")
    groups = [group for fragment in requests.get_fragments() for group in fragment.split_by_row_group()]
    first = requests.to_table(columns=["arrived_at"])["arrived_at"]
    first, last = compute.min(first).as_py(), compute.max(first).as_py()
    condition = pyarrow.dataset.field("arrived_at") < first + (last - first) / 20
    kept = [group for fragment in requests.get_fragments() for group in fragment.split_by_row_group(condition)]
    print(f"pruning: {len(kept)} of {len(groups)} row groups of requests for the first twentieth of the time")
    if len(groups) > len(list(requests.get_fragments())) and not len(kept) < len(groups):
        yield "a condition on arrived_at spares no row group of requests"


def main(data):
    import duckdb

    cold, found = data / "cold", outputs(data)
    if not (cold / "manifest.jsonl").exists() or not found["rollups"]:
        print(f"nothing to compare in {data}: no outputs, or no cold/manifest.jsonl")
        return 2
    os.chdir(cold)  # the queries name files below a cold directory
    database = duckdb.connect()
    database.sql("set timezone = 'UTC'")
    wrong = [*compare_tables(database, found), *compare_queries(database, found), *compare_pruning(database, Path("."))]
    for text in wrong:
        print(f"  {text}")
    return 1 if wrong else 0


def start(data):
    """Compares, in the virtual environment."""
    if virtual.inside():
        return main(Path(data))
    run = virtual.runner("venv", PACKAGES)
    return run(__file__, data) if run else 0


if __name__ == "__main__":
    sys.exit(start(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
