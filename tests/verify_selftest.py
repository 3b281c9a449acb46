#!/usr/bin/env python3
"""Tests verify.py on logs, cold folders and record lines made here: whole ones pass, every damage is found."""
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path

import verify

HERE = Path(__file__).parent


def lp(data):
    return struct.pack(">I", len(data)) + data


def chain(partition, count, origin="evenkeel"):
    """`count` records of one partition."""
    records, head = [], verify.genesis(origin, partition)
    for seq in range(count):
        envelope = b"audit/v1\0" + struct.pack(">IQQq", partition, 7, seq, 1795246458716866 + seq)
        envelope += b"".join(map(lp, [b"command", b"commands", b"restart_node", b"evenkeel", b"app-1", b'{"n":%d}' % seq]))
        head = hashlib.sha256(envelope + head).digest()
        records.append(envelope + head)
    return records


def frame(partition, record, dataset=verify.AUDIT):
    body = struct.pack("<BHqI", dataset, partition, 5, 3) + b"key" + record
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def flip(data, at):
    """`data` with one bit of the byte at `at` changed."""
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]


def follow_log(*segments):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number:020}.seg") for number in range(len(segments))]
        for path, segment in zip(paths, segments):
            path.write_bytes(segment)
        return verify.follow(verify.log_records(paths), "evenkeel")


class Log(unittest.TestCase):
    def setUp(self):
        # Two partitions and another dataset, interleaved.
        self.rows = [row for pair in zip(chain(0, 4), chain(1, 4)) for row in pair]
        self.frames = [frame(number % 2, row) for number, row in enumerate(self.rows)]
        self.frames.insert(3, frame(9, b"no audit record", dataset=2))

    def caught(self, frames):
        with self.assertRaises(verify.Tampered):
            follow_log(b"".join(frames))

    def test_whole(self):
        heads = follow_log(b"".join(self.frames[:4]), b"".join(self.frames[4:]))
        self.assertEqual(heads, {0: (4, self.rows[-2][-32:]), 1: (4, self.rows[-1][-32:])})

    def test_every_flipped_byte(self):
        log = b"".join(self.frames)
        for at in range(len(log)):
            self.caught([flip(log, at)])

    def test_every_flipped_byte_with_the_checksum_mended(self):
        for number, row in enumerate(self.rows):
            for at in range(len(row)):
                rows = self.rows[:number] + [flip(row, at)] + self.rows[number + 1:]
                self.caught([frame(place % 2, row) for place, row in enumerate(rows)])

    def test_dropped_row(self):
        for at in (0, 1, 2, 4, 5, 6):  # each that has another of its partition behind it
            self.caught(self.frames[:at] + self.frames[at + 1:])

    def test_cut_tail_shows_in_the_head(self):
        self.assertNotEqual(follow_log(b"".join(self.frames[:-1])), follow_log(b"".join(self.frames)))

    def test_swapped_rows(self):
        self.caught(self.frames[:4] + [self.frames[6], self.frames[5], self.frames[4]] + self.frames[7:])

    def test_repeated_row(self):
        self.caught(self.frames + self.frames[-1:])

    def test_other_partition(self):
        self.caught([frame(1, self.rows[0])])

    def test_torn_tail(self):
        log = b"".join(self.frames)
        for end in range(len(log) - len(self.frames[-1]) + 1, len(log)):
            self.caught([log[:end]])

    def test_golden_record_of_the_contract(self):
        golden = json.loads((HERE.parent / "schemas/golden/audit.v1.json").read_text())
        records = [bytes.fromhex(entry["envelope_hex"] + entry["hash_hex"]) for entry in golden["entries"]]
        lines = (record.hex() + "\n" for record in records)
        heads = verify.follow(verify.hex_records(lines), golden["origin"])
        self.assertEqual(heads, {golden["partition"]: (len(records), records[-1][-32:])})


class Cold(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.manifest = []
        genesis, heads = verify.genesis("evenkeel", 0).hex(), [record[-32:].hex() for record in chain(0, 9)]
        self.add("audit", 0, 3, prev_head=genesis, head=heads[3])
        self.add("incidents", 700, 709, rows=3)
        self.add("audit", 4, 8, prev_head=heads[3], head=heads[8])
        self.add("incidents", 710, 710)

    def add(self, dataset, first, last, **others):
        file = f"{dataset}/partition=0/date=2026-11-21/seg-{first}-{last}.parquet"
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
        sha256 = hashlib.sha256(file.encode()).hexdigest()
        row = dict(dataset=dataset, partition=0, first=first, last=last, rows=last - first + 1, file=file, sha256=sha256,
                   bytes=len(file))
        self.manifest.append(row | others)

    def run_verify(self):
        text = "".join(json.dumps(row) + "\n" for row in self.manifest)
        (self.folder / "manifest.jsonl").write_text(text)
        return self.exit_code()

    def exit_code(self):
        command = [sys.executable, HERE / "verify.py", "cold", self.folder]
        return subprocess.run(command, stdout=subprocess.DEVNULL).returncode

    def test_whole(self):
        self.assertEqual(self.run_verify(), 0)

    def test_every_flipped_byte_of_a_file(self):
        path = self.folder / self.manifest[0]["file"]
        data = path.read_bytes()
        for at in range(0, len(data), 8):
            path.write_bytes(flip(data, at))
            self.assertEqual(self.run_verify(), 1)

    def test_dropped_by_retention(self):
        for number in (0, 1):
            (self.folder / self.manifest[number]["file"]).unlink()
        self.assertEqual(self.run_verify(), 1)  # without a mark
        for number in (0, 1):
            self.manifest[number]["dropped"] = True
        self.assertEqual(self.run_verify(), 0)
        self.manifest[0]["head"] = self.manifest[0]["prev_head"]
        self.assertEqual(self.run_verify(), 1)

    def test_dropped_amid_what_is_kept(self):
        (self.folder / self.manifest[2]["file"]).unlink()
        self.manifest[2]["dropped"] = True
        self.assertEqual(self.run_verify(), 1)

    def test_marked_as_dropped_and_still_there(self):
        self.manifest[0]["dropped"] = True
        self.assertEqual(self.run_verify(), 1)

    def test_many_requests_in_a_record(self):
        self.add("requests", 7, 8, rows=90)
        self.assertEqual(self.run_verify(), 0)

    def test_lost_stray_and_swapped_files(self):
        one, other = (self.folder / self.manifest[number]["file"] for number in (0, 2))
        stray = one.with_name("stray.parquet")
        one.rename(stray)
        self.assertEqual(self.run_verify(), 1)
        stray.rename(one)
        stray.write_bytes(b"")
        self.assertEqual(self.run_verify(), 1)
        stray.unlink()
        data = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
        self.assertEqual(self.run_verify(), 1)

    def test_every_row_of_the_manifest(self):
        whole = self.manifest
        for number in range(len(whole)):
            self.manifest = whole[:number] + whole[number + 1:]
            self.assertEqual(self.run_verify(), 1, f"row {number} dropped")
        self.manifest = [whole[2], whole[1], whole[0], whole[3]]
        self.assertEqual(self.run_verify(), 1, "rows swapped")
        # Left out is what only the rows of a file, or an older copy of the manifest, can tell.
        told = {0: "first last rows bytes sha256 prev_head head", 1: "last bytes sha256",
                2: "first last rows bytes sha256 prev_head", 3: "first rows bytes sha256"}
        for number, fields in told.items():
            for field in fields.split():
                old = whole[number][field]
                changed = {**whole[number], field: old + 1 if isinstance(old, int) else "0" * 64}
                self.manifest = whole[:number] + [changed] + whole[number + 1:]
                self.assertEqual(self.run_verify(), 1, f"{field} of row {number} changed")

    def test_unusable(self):
        (self.folder / "manifest.jsonl").unlink(missing_ok=True)
        self.assertEqual(self.exit_code(), 2, "no manifest")


if __name__ == "__main__":
    unittest.main()
