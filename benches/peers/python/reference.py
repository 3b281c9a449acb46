"""The answers, computed in the plainest way: every line parsed, every window of every key sorted as far as its p99.

    reference.py FILES OUT

The p99 is the nearest-rank order statistic: of n latencies in ascending order the ⌈0.99 n⌉-th. Rows are for every whole
second of event time up to that of the last request, for keys that have requests in the minute before it.
"""

import sys
from collections import defaultdict

import numpy
import orjson

from job import END_S, ROUTE, WINDOW_S, rank_p99


def main(files, out):
    keys = defaultdict(lambda: ([], [], []))
    needle = f'"{ROUTE}"'.encode()
    for path in files.split(":"):
        with open(path, "rb") as lines:
            for line in lines:
                if ROUTE and needle not in line:
                    continue  # only its rows are compared
                request = orjson.loads(line)
                times_us, latencies_us, errors = keys[request["service"], request["route"]]
                times_us.append(request["event_time_us"])
                latencies_us.append(request["latency_us"])
                errors.append(request["status"] >= 500)
    first_s = min(times_us[0] for times_us, _, _ in keys.values()) // 1_000_000
    with open(out, "w") as rows:
        for (service, route), (times_us, latencies_us, errors) in keys.items():
            times_us, latencies_us, errors = map(numpy.array, (times_us, latencies_us, errors))
            for end_s in range(first_s + 1, END_S + 1):
                window = slice(*numpy.searchsorted(times_us, [(end_s - WINDOW_S) * 1_000_000, end_s * 1_000_000]))
                count = window.stop - window.start
                if count:
                    rank = rank_p99(count) - 1
                    p99_us = numpy.partition(latencies_us[window], rank)[rank]
                    rows.write(f"{end_s},{service},{route},{count},{errors[window].sum()},{p99_us}\n")


main(*sys.argv[1:])
