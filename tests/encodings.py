#!/usr/bin/env python3
"""Writes the same requests with Google's protobuf, fastavro, PyArrow and Polars; evenkeel must read what JSON says.

    encodings.py                writes, then runs the test `peers_are_read` of tests/encodings.rs over the files
    encodings.py --golden DIR   writes the golden requests alone, one hex file a peer

`expected.jsonl` holds the events; `NAME.records` what a peer made of them: for each record its length in four bytes,
lowest first, and its bytes. What is in `refused-NAME.records` must be rejected, once a record. The generated code of
Protocol Buffers comes from schemas/request.proto, by protoc. The packages come from PyPI into a virtual environment in
the user's cache. READERS_SKIP=1, or no PyPI: a line that says so, exit 0.
"""
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import virtual

HERE = Path(__file__).resolve().parent
PACKAGES = ["polars==2.1.0", "pyarrow==26.0.1", "fastavro==1.13.1", "grpcio-tools==1.85.1"]
STRINGS = ["service", "route", "method", "node", "region", "version", "tenant", "trace_id", "upstream"]
COLUMNS = ["event_time_us", "status", "latency_us", *STRINGS]


def events(count, seed=7):
    """Requests: most are plain, some at the bounds of their fields."""
    dice = random.Random(seed)
    texts = ["", "a", "checkout", "/pay/{id}", "caf\u00e9 \u4e16\U0001f980", "x" * 63, "y" * 64, "z" * 256, "q\"\\\n\0"]
    for number in range(count):
        event = {name: "" for name in STRINGS}
        event |= {name: dice.choice(texts) for name in STRINGS if dice.random() < 0.4}
        event["service"] = dice.choice(texts[1:]) if number % 5 == 0 else f"service-{dice.randrange(20)}"
        if dice.random() < 0.1:
            event["tenant"] = "t" * dice.choice([127, 128, 129, 5000])
        event["event_time_us"] = dice.choice([946684800000000, 253402300799999999, 1795246458716866 + number])
        event["status"] = dice.choice([100, 200, 404, 503, 999])
        event["latency_us"] = dice.choice([0, 1, 127, 128, 1234, 2147483648, 3600000000])
        yield event


def protobuf(directory):
    """A writer of messages by the code that protoc generates."""
    from grpc_tools import protoc

    proto = HERE.parent / "schemas"
    if protoc.main(["protoc", f"-I{proto}", f"--python_out={directory}", str(proto / "request.proto")]) != 0:
        raise SystemExit("protoc does not take schemas/request.proto")
    spec = importlib.util.spec_from_file_location("request_pb2", Path(directory) / "request_pb2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda event: module.Request(**event).SerializeToString()


def avro():
    """A writer of single objects: marker, fingerprint, and the fields by fastavro."""
    import fastavro
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    text = json.loads((HERE.parent / "schemas/request.avsc").read_text())
    schema = fastavro.parse_schema(text)
    rabin = bytes.fromhex(fingerprint(to_parsing_canonical_form(text), "CRC-64-AVRO"))

    def write(event):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, event)
        return b"\xc3\x01" + rabin + out.getvalue()

    return write


def stream(batches, **options):
    import pyarrow as pa

    out = io.BytesIO()
    with pa.ipc.new_stream(out, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


def batch(rows, text="dictionary", time="int64", extra=False, nulls=False, order=COLUMNS):
    """A record batch of PyArrow."""
    import pyarrow as pa

    def strings(name):
        values = [row[name] for row in rows]
        if nulls and name != "service":
            values = [value or None for value in values]
        if text in ("dictionary", "int8"):
            index = pa.int8() if text == "int8" else pa.int32()
            return pa.array(values, pa.string()).dictionary_encode().cast(pa.dictionary(index, pa.string()))
        return pa.array(values, {"utf8": pa.string(), "large": pa.large_string(), "view": pa.string_view()}[text])

    times = pa.array([row["event_time_us"] for row in rows])
    columns = {name: strings(name) for name in STRINGS}
    columns["event_time_us"] = times if time == "int64" else times.cast(pa.timestamp("us", tz="UTC"))
    columns["status"] = pa.array([row["status"] for row in rows], pa.int32() if nulls else pa.uint16())
    columns["latency_us"] = pa.array([row["latency_us"] for row in rows], pa.int64() if nulls else pa.uint32())
    columns = {name: columns[name] for name in order}
    if nulls:
        columns["upstream"] = pa.nulls(len(rows)) if not any(row["upstream"] for row in rows) else columns["upstream"]
    if extra:
        nested = pa.array([[{"a": 1, "b": ["x" * 20, None]}] for _ in rows])
        more = {"tags": nested, "z": pa.array([1.5] * len(rows)), "cat": pa.array(["k"] * len(rows)).dictionary_encode()}
        more |= {"vs": pa.array(["v" * 20] * len(rows), pa.string_view()), "none": pa.nulls(len(rows))}
        columns = {**more, **columns, "b": pa.array([True] * len(rows))}
    return pa.record_batch(columns)


def with_pyarrow(rows, chunk):
    """Name and records of each way PyArrow writes."""
    chunks = [rows[at : at + chunk] for at in range(0, len(rows), chunk)]
    yield "pyarrow-dictionary", [stream([batch(part)]) for part in chunks]
    yield "pyarrow-utf8", [stream([batch(part, "utf8", "timestamp")]) for part in chunks]
    yield "pyarrow-large", [stream([batch(part, "large")]) for part in chunks]
    yield "pyarrow-view", [stream([batch(part, "view")]) for part in chunks]
    yield "pyarrow-int8", [stream([batch(part, "int8", nulls=True)]) for part in chunks]
    yield "pyarrow-extra", [stream([batch(part, extra=True, order=COLUMNS[::-1])]) for part in chunks]
    # Several batches in a stream, each with dictionaries of its own; slices of a longer batch.
    pairs = [[batch(part[: chunk // 3]), batch(part[chunk // 3 :])] for part in chunks if len(part) == chunk]
    yield "pyarrow-batches", [stream(pair) for pair in pairs]
    whole = batch(rows, "utf8", nulls=True)
    yield "pyarrow-slices", [stream([whole.slice(at, chunk)]) for at in range(0, len(rows), chunk)]
    for codec in ("zstd", "lz4"):
        yield f"refused-{codec}", [stream([batch(rows)], compression=codec)]


def with_polars(rows, chunk):
    """Name and records of each way Polars writes."""
    import polars

    def written(frame, **options):
        out = io.BytesIO()
        frame.write_ipc_stream(out, **options)
        return out.getvalue()

    frames = [polars.DataFrame(rows[at : at + chunk]) for at in range(0, len(rows), chunk)]
    categories = polars.col(STRINGS).cast(polars.Categorical)
    yield "polars-view", [written(frame) for frame in frames]
    yield "polars-oldest", [written(frame, compat_level=polars.CompatLevel.oldest()) for frame in frames]
    yield "polars-categorical", [written(frame.with_columns(categories)) for frame in frames]


def write(path, records):
    path.write_bytes(b"".join(len(record).to_bytes(4, "little") + record for record in records))


def write_all(directory):
    rows = list(events(2000))
    (directory / "expected.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write(directory / "protobuf.records", map(protobuf(directory), rows))
    write(directory / "fastavro.records", map(avro(), rows))
    for name, records in [*with_pyarrow(rows, 100), *with_polars(rows, 100)]:
        write(directory / f"{name}.records", records)
    print(f"{len(rows)} requests, {len(list(directory.glob('*.records')))} files")


def write_golden(directory):
    """The golden requests by every peer; a batch holds both."""
    rows = [json.loads((HERE.parent / f"schemas/golden/{name}.v1.json").read_text()) for name in ("request", "request-minimal")]
    rows = [{name: row.get(name, "") for name in COLUMNS} for row in rows]
    golden = {"request-protobuf": protobuf(tempfile.mkdtemp())(rows[0]), "request-avro": avro()(rows[0])}
    golden["request-minimal-protobuf"] = protobuf(tempfile.mkdtemp())({k: v for k, v in rows[1].items() if v != ""})
    golden["request-minimal-avro"] = avro()({k: v for k, v in rows[1].items() if v != ""})
    golden["requests-pyarrow"] = stream([batch(rows)])
    golden["requests-polars"] = dict(with_polars(rows, 2))["polars-view"][0]
    for name, record in golden.items():
        (directory / f"{name}.v1.hex").write_text(record.hex() + "\n")


def start(arguments):
    """Does what is asked, in the virtual environment."""
    if virtual.inside():
        [how, directory] = arguments
        return write_golden(Path(directory)) if how == "--golden" else write_all(Path(directory))
    run = virtual.runner("venv-encodings", PACKAGES)
    if run is None:
        return 0
    if arguments:
        return run(__file__, *arguments)
    with tempfile.TemporaryDirectory() as directory:
        written = run(__file__, "--files", directory)
        if written != 0:
            return written
        test = ["cargo", "test", "--release", "--workspace", "--test", "encodings", "--", "--exact", "--nocapture", "peers_are_read"]
        return subprocess.run(test, env={**os.environ, "EVENKEEL_PEERS": directory}, cwd=HERE.parent).returncode


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
