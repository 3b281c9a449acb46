"""Pathway: latencies by key and second first, then what sixty of those hold; its own operators do the grouping.

Sliding windows straight over the requests (`windowby(…, window=pw.temporal.sliding(…))`) would copy each request sixty
times. The seconds are spread over the windows that hold them by `flatten`, which is what `sliding` does, but only to
those windows that count.
"""

import pathway as pw

from job import BROKERS, END_S, FILES, OUT, ROUTE, TOPIC, WINDOW_S, middle, bucket_of, rank_p99


class Request(pw.Schema):
    event_time_us: int
    service: str
    route: str
    status: int
    latency_us: int


def requests():
    if BROKERS:
        settings = {"bootstrap.servers": BROKERS, "group.id": TOPIC + "-pathway", "auto.offset.reset": "earliest"}
        return pw.io.kafka.read(settings, TOPIC, schema=Request, format="json", mode="static")
    tables = [pw.io.jsonlines.read(path, schema=Request, mode="static") for path in FILES]
    return tables[0].concat_reindex(*tables[1:])


def ends(second):
    """The ends of the windows that hold a second."""
    return tuple(range(second + 1, min(second + WINDOW_S, END_S) + 1))


def p99(seconds):
    counts = {}
    for second in seconds:
        for latency_us in second:
            bucket = bucket_of(latency_us)
            counts[bucket] = counts.get(bucket, 0) + 1
    total = sum(counts.values())
    above = total - rank_p99(total)
    for bucket in sorted(counts, reverse=True):
        above -= counts[bucket]
        if above < 0:
            return middle(bucket)
    return 0


def main():
    it = requests()
    it = it.select(
        it.service, it.route, it.latency_us, second=it.event_time_us // 1_000_000, error=pw.cast(int, it.status >= 500)
    )
    seconds = it.groupby(it.service, it.route, it.second).reduce(
        it.service,
        it.route,
        it.second,
        requests=pw.reducers.count(),
        errors=pw.reducers.sum(it.error),
        latencies_us=pw.reducers.tuple(it.latency_us),
    )
    seconds = seconds.select(*pw.this, end_s=pw.apply_with_type(ends, tuple[int, ...], pw.this.second))
    seconds = seconds.flatten(pw.this.end_s)
    windows = seconds.groupby(pw.this.service, pw.this.route, pw.this.end_s).reduce(
        pw.this.service,
        pw.this.route,
        pw.this.end_s,
        requests=pw.reducers.sum(pw.this.requests),
        errors=pw.reducers.sum(pw.this.errors),
        latencies_us=pw.reducers.tuple(pw.this.latencies_us),
    )
    windows = windows.select(*pw.this.without("latencies_us"), p99_us=pw.apply_with_type(p99, int, pw.this.latencies_us))
    if ROUTE:
        windows = windows.filter(pw.this.route == ROUTE)
    with open(OUT, "w") as out:

        def write(key, row, time, is_addition):
            if is_addition:
                numbers = f"{row['requests']},{row['errors']},{row['p99_us']}"
                out.write(f"{row['end_s']},{row['service']},{row['route']},{numbers}\n")

        pw.io.subscribe(windows, on_change=write)
        pw.run(monitoring_level=pw.MonitoringLevel.NONE)


main()
