#!/usr/bin/env python3
"""Checks evenkeel's audit chain with nothing but Python's standard library: a second opinion that shares no code with it.

    verify.py log FILE…     segments of a closed embedded log, oldest first
    verify.py cold DIR      a folder of Parquet files, against its manifest.jsonl
    verify.py kafka         record values of audit.log.v1 on standard input, one in hex a line

Exit 0: whole, 1: tampered (the first bad record is named), 2: unusable. No chain can show that its newest entries were cut
off: compare the heads that are printed with ones seen before. `--origin NAME` if the chain has another than "evenkeel".
"""
import argparse
import json
import struct
import sys
import zlib
from hashlib import sha256
from pathlib import Path

AUDIT = 6  # the number of the audit dataset in a frame


class Tampered(Exception):
    """What is wrong, and where."""


def log_records(paths, wanted=AUDIT):
    """The audit records (or another dataset's) in the frames of segment files; a frame: u32 length, u32 CRC-32, body."""
    for path in paths:
        data, at = Path(path).read_bytes(), 0
        while at < len(data):
            where = f"{path} byte {at}"
            length, crc = struct.unpack("<II", data[at:at + 8].ljust(8, b"\xff"))
            body = data[at + 8:at + 8 + length]
            if len(body) < max(length, 15) or zlib.crc32(body) != crc:
                raise Tampered(f"{where}: no whole frame")
            dataset, partition, _, key_length = struct.unpack("<BHqI", body[:15])
            if dataset == wanted:
                yield where, partition, body[15 + key_length:]
            at += 8 + length


def hex_records(lines):
    for number, line in enumerate(lines, 1):
        yield f"line {number}", None, bytes.fromhex(line)


def genesis(origin, partition):
    name = origin.encode()
    return sha256(b"evenkeel/audit/v1\0" + struct.pack(">I", len(name)) + name + struct.pack(">I", partition)).digest()


def follow(records, origin):
    """Follows the chain of every partition; returns {partition: (next seq, head)}."""
    heads = {}
    for where, outer, record in records:
        envelope, stored = record[:-32], record[-32:]
        if len(envelope) < 37 or not envelope.startswith(b"audit/v1\0"):
            raise Tampered(f"{where}: no audit/v1 envelope")
        partition, _epoch, seq = struct.unpack(">IQQ", envelope[9:29])
        expected, head = heads.get(partition, (0, genesis(origin, partition)))
        where = f"{where}: partition {partition} seq {seq}"
        if outer not in (None, partition):
            raise Tampered(f"{where}: lies in partition {outer}")
        if seq != expected:
            raise Tampered(f"{where}: expected seq {expected}")
        if sha256(envelope + head).digest() != stored:
            raise Tampered(f"{where}: its hash is not that of its bytes and the hash before")
        heads[partition] = (seq + 1, stored)
    return heads


def standing(lines):
    """The segments that count. A line takes the place of those whose rows it holds: merged ones, or itself before it was dropped."""
    segments = []
    for row in lines:
        old = [held for held in segments if (held["dataset"], held["partition"]) == (row["dataset"], row["partition"])
               and row["first"] <= held["first"] and held["last"] <= row["last"]]
        if old:
            same = (old[0]["first"], old[-1]["last"], sum(held["rows"] for held in old))
            if same != (row["first"], row["last"], row["rows"]) or any(held.get("dropped") for held in old):
                raise Tampered(f"{row['file']}: its line takes the place of other rows")
            if len(old) == 1 and not row.get("dropped"):
                raise Tampered(f"{row['file']}: its line is repeated")
        at = segments.index(old[0]) if old else len(segments)
        segments = [held for held in segments if held not in old]
        segments.insert(at, row)
    return segments


def follow_manifest(folder, origin):
    """Checks every file against the manifest, and the ranges and heads in the manifest against each other."""
    heads, ends, named, kept = {}, {}, set(), set()
    for row in standing(map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())):
        path, partition, first, last = folder / row["file"], row["partition"], row["first"], row["last"]
        is_audit, stream = row["dataset"] == "audit", (row["dataset"], partition)
        if row.get("dropped"):
            # Retention took the file and left the line: the oldest of a stream, and the chain goes on from its head.
            if stream in kept:
                raise Tampered(f"{path}: marked as dropped, but an older one is not")
        else:
            data = path.read_bytes() if path.is_file() else b""
            if (len(data), sha256(data).hexdigest()) != (row["bytes"], row["sha256"]):
                raise Tampered(f"{path}: not the file that the manifest names")
            kept.add(stream)
            named.add(path)
        # Audit entries are numbered without gaps; of the rest, first and last are offsets in the log, with gaps. A record
        # may hold many requests, which have one offset.
        least, rows = ends.get(stream, 0), last - first + 1
        most = row["rows"] if row["dataset"] == "requests" else rows
        if (first != least or row["rows"] != rows) if is_audit else (first < least or not 0 < row["rows"] <= most):
            raise Tampered(f"{path}: {row['rows']} rows from {first} to {last}, expected from {least}")
        if is_audit:
            _, head = heads.get(partition, (0, genesis(origin, partition)))
            if row["prev_head"] != head.hex():
                raise Tampered(f"{path}: does not follow the head before")
            heads[partition] = (last + 1, bytes.fromhex(row["head"]))
        ends[stream] = last + 1
    for stranger in sorted(set(folder.rglob("*.parquet")) - named):
        raise Tampered(f"{stranger}: not in the manifest")
    return heads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--origin", default="evenkeel")
    inputs = parser.add_subparsers(dest="input", required=True)
    inputs.add_parser("log").add_argument("file", nargs="+")
    inputs.add_parser("cold").add_argument("dir", type=Path)
    inputs.add_parser("kafka")
    options = parser.parse_args()
    try:
        if options.input == "cold":
            heads = follow_manifest(options.dir, options.origin)
        else:
            heads = follow(log_records(options.file) if options.input == "log" else hex_records(sys.stdin), options.origin)
    except Tampered as reason:
        print(f"tampered: {reason}")
        return 1
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"unusable: {type(error).__name__}: {error}")
        return 2
    for partition, (entries, head) in sorted(heads.items()):
        print(f"whole: partition {partition}, {entries} entries, head {head.hex()}")
    if not heads:
        print("unusable: it holds no audit entry")
    return 0 if heads else 2


if __name__ == "__main__":
    sys.exit(main())
