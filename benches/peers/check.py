"""Compares the rows of a peer with the reference's."""

import glob

# What a log-linear histogram of 64 buckets to a power of two may be off by: half a bucket, 1/128, and rounding.
MOST_OFF = 0.0079


def rows_of(paths, end_s=None):
    rows, doubles = {}, 0
    for path in paths:
        with open(path) as lines:
            for line in lines:
                end, service, route, *numbers = line.rstrip("\n").split(",")
                if end_s is None or int(end) <= end_s:
                    doubles += (end, service, route) in rows
                    rows[end, service, route] = tuple(int(float(number)) for number in numbers)
    return rows, doubles


def compare(reference, out, end_s, revises):
    """Returns (agrees, in words) for the rows of `out` (and `out.*`) against those of the reference up to `end_s`; a peer
    that `revises` may say a window more than once, and its last word counts."""
    expected, _ = rows_of([reference], end_s)
    said, doubles = rows_of(glob.glob(out) + glob.glob(out + ".[0-9]"))
    doubles = 0 if revises else doubles
    missing, surplus = len(expected.keys() - said.keys()), len(said.keys() - expected.keys())
    both = [(expected[key], said[key]) for key in expected.keys() & said.keys()]
    counts = sum(one[:2] != other[:2] for one, other in both)
    off = max((abs(other[2] - one[2]) / one[2] for one, other in both), default=0.0)
    agrees = bool(both) and not (missing or surplus or doubles or counts) and off <= MOST_OFF
    words = f"{len(both)} rows, p99 off by {100 * off:.2f} % at most"
    if missing or surplus or doubles or counts:
        words += f"; {missing} missing, {surplus} too many, {doubles} doubled, {counts} with wrong counts"
    return agrees, words
