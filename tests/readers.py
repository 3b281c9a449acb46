#!/usr/bin/env python3
"""Reads a folder of evenkeel's Parquet files with DuckDB, Polars and PyArrow, and compares what they see.

    readers.py DIR [--spark]

For every dataset and partition the three must read as many rows as manifest.jsonl says, under the same column names; of the
audit log also every `seq` from the manifest's first to its last, once. Exit 0: they agree, 1: they do not, 2: nothing to read.
The three come from PyPI into a virtual environment in the user's cache. READERS_SKIP=1, or no PyPI: a line that says so, exit 0.
--spark: with Spark instead, which brings 450 MB and needs Java 17.
"""
import collections
import json
import shutil
import sys
import time
from pathlib import Path

import verify
import virtual

PACKAGES = ["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1"]
SPARK = ["--no-binary=pyspark", "pyspark==4.3.0", "pyarrow==26.0.1"]  # it comes as sources: jars and Python


def with_duckdb(folder):
    import duckdb

    return duckdb.sql(f"from read_parquet('{folder}/**/*.parquet', hive_partitioning = true)").to_arrow_table()


def with_polars(folder):
    import polars

    return polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).to_arrow()


def with_pyarrow(folder):
    import pyarrow.dataset

    return pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table()


def with_spark(folder):
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = spark.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    spark = spark.config("spark.ui.showConsoleProgress", "false").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark.read.parquet(str(folder)).toArrow()


# Each reads every column, so that a page it cannot decode is noticed.
READERS = {"duckdb": with_duckdb, "polars": with_polars, "pyarrow": with_pyarrow}


def expected_rows(folder):
    """What the manifest says: {dataset: {partition: [rows, first, last]}}."""
    datasets = collections.defaultdict(dict)
    for row in verify.standing(map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())):
        if row.get("dropped"):
            continue
        total = datasets[row["dataset"]].setdefault(row["partition"], [0, row["first"], row["last"]])
        total[0] += row["rows"]
        total[2] = row["last"]
    return datasets


def complaints(dataset, partitions, table):
    """What a reader's table of a dataset has that the manifest does not say, or the other way round."""
    rows = collections.Counter(table["partition"].to_pylist())
    said = {partition: count for partition, (count, _, _) in partitions.items()}
    if rows != said:
        yield f"rows by partition {dict(rows)}, the manifest says {said}"
    if dataset != "audit":
        return
    seen = collections.defaultdict(list)
    for partition, seq in zip(table["partition"].to_pylist(), table["seq"].to_pylist()):
        seen[partition].append(seq)
    for partition, (_, first, last) in partitions.items():
        if sorted(seen[partition]) != list(range(first, last + 1)):
            yield f"partition {partition}: not every seq from {first} to {last} once"


def check(folder, dataset, partitions, readers):
    """Reads one dataset with each; prints a line; returns whether all is as it should be."""
    found, columns, wrong = [], set(), []
    for name, read in readers.items():
        try:
            table = read(folder / dataset)
        except Exception as error:  # of whatever kind: each library has its own
            wrong.append(f"{name}: {type(error).__name__}: {error}")
            found.append("-")
            continue
        found.append(table.num_rows)
        # A topic is in the folder's name above the files that are read, which not every library looks at.
        columns.add(tuple(sorted(set(table.column_names) - {"topic"})))
        wrong += [f"{name}: {text}" for text in complaints(dataset, partitions, table)]
    if len(columns) > 1:
        wrong.append(f"the readers see different columns: {sorted(columns)}")
    manifest = sum(rows for rows, _, _ in partitions.values())
    print(f"{dataset:<37}{len(partitions):>11}{manifest:>11}", *(f"{rows:>10}" for rows in found))
    for text in wrong:
        print(f"  {text}")
    return not wrong


def main(folder, readers):
    began = time.monotonic()
    try:
        datasets = expected_rows(folder)
    except (OSError, ValueError, KeyError) as error:
        print(f"nothing to read: {type(error).__name__}: {error}")
        return 2
    print(f"{'dataset':<37}{'partitions':>11}{'manifest':>11}", *(f"{name:>10}" for name in readers))
    results = [check(folder, dataset, partitions, readers) for dataset, partitions in sorted(datasets.items())]
    print(f"{time.monotonic() - began:.1f} s")
    return 2 if not results else 0 if all(results) else 1


def start(folder, spark):
    """Checks the folder, in the virtual environment."""
    if virtual.inside():
        # PyArrow says what columns Spark should see.
        return main(folder, {"spark": with_spark, "pyarrow": with_pyarrow} if spark else READERS)
    if spark and shutil.which("java") is None:
        print("skipped: Spark needs Java")
        return 0
    run = virtual.runner("venv-spark", SPARK) if spark else virtual.runner("venv", PACKAGES)
    return run(__file__, folder, *(["--spark"] if spark else [])) if run else 0


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--spark"]
    sys.exit(start(Path(arguments[0]), "--spark" in sys.argv) if len(arguments) == 1 else __doc__)
