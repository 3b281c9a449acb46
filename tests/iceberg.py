#!/usr/bin/env python3
"""Registers a cold directory as Iceberg tables (src/cold/iceberg.py) and reads them with PyIceberg and Polars.

    iceberg.py COLD

Both must read, of every table, the rows that PyArrow reads from the files that the manifest names; a condition on a time must
leave out files; and when files were merged or dropped, registering again must leave every row there once. Works on a copy.
Exit 0: all so. READERS_SKIP=1, or no PyPI: a line that says so, exit 0.
"""
import contextlib
import importlib.util
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import virtual

PACKAGES = ["pyiceberg[sql-sqlite]==0.12.0", "pyarrow==26.0.1", "polars==2.1.0"]
EXPORTER = Path(__file__).resolve().parent.parent / "src/cold/iceberg.py"


def exporter():
    spec = importlib.util.spec_from_file_location("exporter", EXPORTER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(table):
    """Rows in an order that does not depend on the reader; unsigned numbers are signed ones in Iceberg."""
    return sorted(json.dumps(row, default=str) for row in table.to_pylist())


def compare(catalog, export, cold):
    """Yields what a reader reads that the files do not say."""
    import polars
    import pyarrow.parquet

    for dataset, files in sorted(export.datasets(cold).items()):
        name = f"{export.NAMESPACE}.{export.table_name(dataset)}"
        if not catalog.table_exists(name):
            continue
        table, paths = catalog.load_table(name), [path.removeprefix("file://") for path in files]
        if dataset.startswith(("records", "requests")):  # large: counted
            expected = sum(pyarrow.parquet.read_metadata(path).num_rows for path in paths)
            found = {"pyiceberg": table.scan().to_arrow().num_rows,
                     "polars": polars.scan_iceberg(table).select(polars.len()).collect().item()}
        else:
            expected = sorted(row for path in paths for row in rows_of(pyarrow.parquet.ParquetFile(path).read()))
            found = {"pyiceberg": rows_of(table.scan().to_arrow()), "polars": rows_of(polars.scan_iceberg(table).collect().to_arrow())}
        print(f"{name:<40}{expected if isinstance(expected, int) else len(expected):>9} rows")
        for reader, rows in found.items():
            if rows != expected:
                yield f"{reader} reads other rows of {name}: {rows if isinstance(rows, int) else rows[:1]}"


def spares_files(catalog, export):
    """Whether a condition on `seq` leaves out files of the audit table, by the statistics that were registered."""
    table = catalog.load_table(f"{export.NAMESPACE}.audit")
    every, some = len(list(table.scan().plan_files())), len(list(table.scan("partition == 0").plan_files()))
    print(f"{some} of {every} audit files for one partition")
    return some < every


def main(cold):
    from pyiceberg.catalog.sql import SqlCatalog

    os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"  # else it recommends another package
    logging.disable(logging.WARNING)  # of columns without statistics, which payloads are
    export = exporter()
    with tempfile.TemporaryDirectory() as scratch:
        copy, warehouse = Path(scratch) / "cold", Path(scratch) / "warehouse"
        shutil.copytree(cold, copy)
        quiet = lambda: contextlib.redirect_stdout(io.StringIO())  # noqa: E731
        with quiet():
            export.main(copy, warehouse)
        catalog = SqlCatalog("evenkeel", uri=f"sqlite:///{warehouse / 'catalog.db'}", warehouse=f"file://{warehouse}")
        wrong = list(compare(catalog, export, copy))
        if not spares_files(catalog, export):
            wrong.append("a condition on the partition leaves out no file")
        # Retention drops a file, and the next one is registered anew.
        lines = [json.loads(line) for line in (copy / "manifest.jsonl").read_text().splitlines()]
        dropped = next(line for line in lines if line["dataset"] == "audit")
        dropped["dropped"] = True
        (copy / dropped["file"]).unlink()
        (copy / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for _ in range(2):
            with quiet():
                export.main(copy, warehouse)
            wrong += compare(catalog, export, copy)
    for text in wrong:
        print(f"  {text}")
    return 1 if wrong else 0


def start(cold):
    """Runs in the virtual environment."""
    if virtual.inside():
        return main(Path(cold))
    run = virtual.runner("venv-iceberg", PACKAGES)
    return run(__file__, cold) if run else 0


if __name__ == "__main__":
    sys.exit(start(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
