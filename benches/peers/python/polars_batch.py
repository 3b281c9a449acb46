"""Polars, a bound and no peer: it has the whole file before it, loads it once, and groups one slice of it a second."""

import polars

from job import END_S, FILES, OUT, ROUTE, WINDOW_S

SCHEMA = {
    "event_time_us": polars.Int64,
    "service": polars.String,
    "route": polars.String,
    "status": polars.Int64,
    "latency_us": polars.Int64,
}


def main():
    second = (polars.col("event_time_us") // 1_000_000).alias("second")
    names = polars.col("service", "route").cast(polars.Categorical)
    columns = [names, "latency_us", (polars.col("status") >= 500).alias("is_error"), second]
    requests = polars.scan_ndjson(FILES, schema=SCHEMA).select(columns).collect().sort("second")
    seconds, first_s = requests["second"], requests["second"][0]
    # "equiprobable" is the nearest rank.
    p99_us = polars.col("latency_us").quantile(0.99, interpolation="equiprobable").cast(polars.Int64)
    with open(OUT, "w") as out:
        for end_s in range(first_s + 1, END_S + 1):
            start, end = seconds.search_sorted(end_s - WINDOW_S), seconds.search_sorted(end_s)
            windows = requests.slice(start, end - start).group_by("service", "route")
            windows = windows.agg(polars.len(), polars.col("is_error").sum().alias("errors"), p99_us)
            if ROUTE:
                windows = windows.filter(polars.col("route") == ROUTE)
            windows.select(polars.lit(end_s), polars.all()).write_csv(out, include_header=False)


main()
