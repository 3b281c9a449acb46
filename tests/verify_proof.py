#!/usr/bin/env python3
"""Checks proofs of audit entries with nothing but Python's standard library: a second opinion on `evenkeel audit prove`.

    verify_proof.py FILE.tlog-proof --key KEY [--witness KEY]... [--quorum N]
    verify_proof.py --vectors schemas/audit/vectors.json

Exit 0: proven (the entry is printed), 1: not proven (says why), 2: unusable. KEY is `<name>+<hash>+<base64>` and comes from
another place than the proof. Formats: C2SP tlog-proof, tlog-checkpoint, signed-note, tlog-cosignature; trees: RFC 6962;
signatures: RFC 8032.
"""
import argparse
import base64
import json
import struct
import sys
from hashlib import sha256, sha512
from pathlib import Path

LOG, WITNESS = 1, 4  # types of keys
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


class Refused(Exception):
    """Why something proves nothing."""


def require(holds, why):
    if not holds:
        raise Refused(why)


# Ed25519: points in extended coordinates (x, y, z, t), RFC 8032, section 5.1.

def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % P, y * z % P, x * y % P, w * z % P


def times(scalar, point):
    product = (0, 1, 1, 0)
    while scalar:
        product = add(product, point) if scalar & 1 else product
        point, scalar = add(point, point), scalar >> 1
    return product


def point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * ROOT_OF_MINUS_1 % P
    require(y < P and x * x % P == square and not (x == 0 and sign), "not a point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = point(bytes([0x58] + [0x66] * 31))


def is_signed(key, message, signature):
    if len(signature) != 64:
        return False
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    h = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = times(s, BASE), add(r, times(h, a))
    equal = (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0
    return s < ORDER and equal


def decode(text, what):
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        decoded = None
    require(decoded is not None and base64.b64encode(decoded).decode() == text, f"{what} is not base64")
    return decoded


def decimal(text, what):
    require(text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 2**64, f"{what} is no number")
    return int(text)


class Key:
    def __init__(self, text):
        parts = text.strip().split("+", 2)
        require(len(parts) == 3, f"{text!r} is no key")
        self.name, digits, encoded = parts
        bytes_ = decode(encoded, "the key")
        self.kind, self.public = bytes_[0], bytes_[1:]
        self.id = sha256(self.name.encode() + b"\n" + bytes_).digest()[:4]
        require(self.id.hex() == digits and len(self.public) == 32, "the hash is not that of the key")

    def signed(self, text, signatures):
        """Whether it signed the text; a false signature of its own is refused."""
        for name, signature in signatures:
            if name == self.name and signature[:4] == self.id:
                message, signature = text, signature[4:]
                if self.kind == WITNESS:
                    require(len(signature) > 8, "a cosignature without a time")
                    time_s = struct.unpack(">Q", signature[:8])[0]
                    message, signature = f"cosignature/v1\ntime {time_s}\n{text}", signature[8:]
                require(is_signed(self.public, message.encode(), signature), f"the signature of {name} is false")
                return True
        return False


def read_note(note):
    text, blank, lines = note.rpartition("\n\n")
    require(blank and lines.endswith("\n"), "no signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        require(len(parts) == 3 and parts[0] == "—", f"{line!r} is no signature line")
        signatures.append((parts[1], decode(parts[2], "a signature")))
    return text + "\n", signatures


def read_checkpoint(note, key, witnesses, quorum):
    text, signatures = read_note(note)
    require(key.kind == LOG and key.signed(text, signatures), f"not signed by {key.name}")
    lines = text.split("\n")
    require(len(lines) >= 4 and lines[0] == key.name, f"not a checkpoint of {key.name}")
    cosigned = sum(witness.kind == WITNESS and witness.signed(text, signatures) for witness in witnesses)
    require(cosigned >= quorum, f"cosigned by {cosigned} witnesses, {quorum} are needed")
    return decimal(lines[1], "the size"), decode(lines[2], "the root")


def leaf_hash(data):
    return sha256(b"\0" + data).digest()


def node_hash(left, right):
    return sha256(b"\1" + left + right).digest()


def root_from_path(index, size, leaf, path):
    """RFC 9162, section 2.1.3.2."""
    require(index < size, f"leaf {index} is not in a tree of {size}")
    require(len(path) <= 63, "a path of more than 63 hashes")
    last, found = size - 1, leaf
    for sibling in path:
        require(last, "the path is too long")
        if index & 1 or index == last:
            found = node_hash(sibling, found)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        index, last = index >> 1, last >> 1
    require(last == 0, "the path is too short")
    return found


def tree_root(leaves):
    """RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return leaf_hash(leaves[0]) if leaves else sha256().digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(tree_root(leaves[:half]), tree_root(leaves[half:]))


def read_envelope(envelope):
    require(envelope.startswith(b"audit/v1\0") and len(envelope) >= 37, "no audit/v1 envelope")
    partition, epoch, seq, ts_us = struct.unpack(">IQQq", envelope[9:37])
    entry, at = {"partition": partition, "epoch": epoch, "seq": seq, "ts_us": ts_us}, 37
    for name in ("event_type", "table", "op", "actor", "entity", "payload"):
        require(at + 4 <= len(envelope), "a short envelope")
        end = at + 4 + struct.unpack(">I", envelope[at:at + 4])[0]
        require(end <= len(envelope), "a short envelope")
        try:
            entry[name], at = envelope[at + 4:end].decode(), end
        except UnicodeDecodeError:
            require(name == "payload", f"{name} is not UTF-8")
            entry[name], at = envelope[at + 4:end].hex(), end
    require(at == len(envelope), "a long envelope")
    return entry


def verify(proof, key, witnesses, quorum):
    """The entry that the proof proves."""
    head, _, checkpoint = proof.partition("\n\n")
    lines = head.split("\n")
    require(len(lines) >= 3 and lines[0] == "c2sp.org/tlog-proof@v1", "no tlog-proof@v1")
    require(lines[1].startswith("extra ") and lines[2].startswith("index "), "no extra line, or no index")
    size, root = read_checkpoint(checkpoint, key, witnesses, quorum)
    extra = json.loads(decode(lines[1][6:], "extra"))
    path = [decode(line, "a path's hash") for line in lines[3:]]
    leaf, index = extra["leaf"].encode(), decimal(lines[2][6:], "the index")
    require(root_from_path(index, size, leaf_hash(leaf), path) == root, "the seal is not in that log")

    seal, record, previous = json.loads(leaf), decode(extra["record"], "the record"), bytes.fromhex(extra["previous"])
    require(seal["seal"] == "batch", "the seal is not of a batch")
    envelope, link = record[:-32], record[-32:]
    require(sha256(envelope + previous).digest() == link, "the entry's hash is not that of its bytes and the hash before")
    entry = read_envelope(envelope)
    index = entry["seq"] - seq if (seq := seal["first_seq"]) <= entry["seq"] else seal["count"]
    require(entry["partition"] == seal["partition"], "the batch is of another partition")
    path = [decode(text, "a batch's hash") for text in extra["batch_path"]]
    found = root_from_path(index, seal["count"], leaf_hash(link), path)
    require(found.hex() == seal["root"], "the entry is not in that batch")
    return entry


def try_verify(*proof):
    try:
        return verify(*proof), None
    except Refused as why:
        return None, str(why)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"malformed: {error}"


def check_vectors(path):
    vectors = json.loads(path.read_text())
    for case in vectors["proofs"]:
        witnesses = [Key(text) for text in case["witnesses"]]
        entry, why = try_verify(case["proof"], Key(case["key"]), witnesses, case["quorum"])
        require((entry is not None) == case["holds"], f"{case['name']}: {why or 'should not hold'}")
        require("entry" not in case or entry == case["entry"], f"{case['name']}: another entry")
    leaves = [bytes.fromhex(leaf) for leaf in vectors["leaves"]]
    for count, root in enumerate(vectors["roots"]):
        require(tree_root(leaves[:count]).hex() == root, f"the root of {count} leaves")
    print(f"{len(vectors['proofs'])} proofs and {len(vectors['roots'])} roots are as they should be")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proof", nargs="?", type=Path)
    parser.add_argument("--key")
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--quorum", type=int)
    parser.add_argument("--vectors", type=Path)
    options = parser.parse_args()
    try:
        if options.vectors:
            check_vectors(options.vectors)
            return 0
        if not options.proof or not options.key:
            parser.error("a proof and --key, or --vectors")
        witnesses = [Key(text) for text in options.witness]
        quorum = len(witnesses) if options.quorum is None else options.quorum
        key, proof = Key(options.key), options.proof.read_text(encoding="utf-8")
    except Refused as why:
        print(f"not as it should be: {why}")
        return 1 if options.vectors else 2
    except (OSError, ValueError) as error:
        print(f"unusable: {error}")
        return 2
    entry, why = try_verify(proof, key, witnesses, quorum)
    print(json.dumps(entry, indent=1, ensure_ascii=False) if entry else f"NOT PROVEN: {why}")
    return 0 if entry else 1


if __name__ == "__main__":
    sys.exit(main())
