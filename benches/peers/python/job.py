"""What a peer is to do, as the environment says it (`run.py` sets it), and the rows it writes."""

import os

FILES = os.environ.get("PEERS_FILES", "").split(":")
BROKERS = os.environ.get("PEERS_BROKERS")  # none: the files are read, and not the topic
TOPIC = os.environ.get("PEERS_TOPIC")
EVENTS = int(os.environ.get("PEERS_EVENTS", "0"))
END_S = int(os.environ.get("PEERS_END_S", "0"))  # the end of the last window that counts, s
ROUTE = os.environ.get("PEERS_ROUTE", "")  # only rows of this route are written; empty: all
OUT = os.environ.get("PEERS_OUT", "")
WINDOW_S = 60


def bucket_of(value):
    """Of a log-linear histogram: 64 buckets to every power of two."""
    power = value.bit_length() - 1
    return value if power < 6 else 64 * (power - 5) + (value >> (power - 6) & 63)


def middle(bucket):
    """The middle of a bucket: off by at most 1/128."""
    if bucket < 64:
        return bucket
    power, step = divmod(bucket - 64, 64)
    return (64 + step << power) + (1 << power) // 2


def rank_p99(count):
    """The nearest rank of the 99th percentile, ⌈0.99 n⌉, from 1 on."""
    return (count * 99 + 99) // 100


def is_written(endS, route):
    return endS <= END_S and (not ROUTE or route == ROUTE)
