#!/usr/bin/env python3
"""Registers a cold directory's Parquet files as Iceberg tables, without copying a byte.

    iceberg.py COLD WAREHOUSE

Every dataset becomes the table evenkeel.DATASET in the SQLite catalog WAREHOUSE/catalog.db; its newest snapshot holds the files
that COLD/manifest.jsonl names. Run it after every compaction: what was added, merged or dropped since is one snapshot, so that a
reader sees every row once. Snapshots from before a merge name files that are gone. Needs pip install "pyiceberg[sql-sqlite]" pyarrow.

Decision: a script, not a crate. The Iceberg crate brings an older Arrow beside ours; what is registered here are names, sizes
and statistics. Truth stays with the manifest and the audit chain: Iceberg does not notice a file that was put in another's place.
"""
import json
import sys
from pathlib import Path

import pyarrow.parquet
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO, parquet_file_to_data_file, pyarrow_to_schema
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

NAMESPACE = "evenkeel"


def datasets(cold):
    """The files that count: {dataset: [path]}. A line of the manifest takes the place of those whose rows it holds."""
    streams, files = {}, {}
    for row in map(json.loads, (cold / "manifest.jsonl").read_text().splitlines()):
        held = streams.setdefault((row["dataset"], row["partition"]), [])
        held[:] = [old for old in held if not (row["first"] <= old["first"] and old["last"] <= row["last"])] + [row]
    for (dataset, _), held in streams.items():
        files.setdefault(dataset, []).extend(f"file://{cold / row['file']}" for row in held if not row.get("dropped"))
    return files


def table_name(dataset):
    """`audit`, or `records_req_events_v1` for the records of a topic."""
    return dataset.replace("/topic=", "_").replace(".", "_")


def create(catalog, name, arrow_schema):
    """An empty table whose fields have the numbers that they have in the files; a catalog's own way numbers them anew."""
    schema, location = pyarrow_to_schema(arrow_schema), f"{catalog.properties['warehouse']}/{name[-1]}"
    metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, location, {})
    metadata = metadata.model_copy(update={"schemas": [schema], "last_column_id": schema.highest_field_id})
    path = f"{location}/metadata/00000-{metadata.table_uuid}.metadata.json"
    ToOutputFile.table_metadata(metadata, PyArrowFileIO().new_output(path))
    return catalog.register_table(name, path)


def register(catalog, dataset, files):
    """Makes the newest snapshot of a dataset's table hold exactly these files; returns how many came and went."""
    name = (NAMESPACE, table_name(dataset))
    if catalog.table_exists(name):
        table = catalog.load_table(name)
    elif files:
        table = create(catalog, name, pyarrow.parquet.read_schema(files[-1].removeprefix("file://")))
    else:
        return 0, 0
    held = {task.file.file_path: task.file for task in table.scan().plan_files()}
    gone, new = [held[path] for path in held if path not in files], [path for path in files if path not in held]
    if gone or new:
        with table.transaction() as transaction:
            with transaction.update_snapshot().overwrite() as snapshot:
                for file in gone:
                    snapshot.delete_data_file(file)
                for path in new:
                    snapshot.append_data_file(parquet_file_to_data_file(table.io, transaction.table_metadata, path))
    return len(new), len(gone)


def main(cold, warehouse):
    warehouse.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("evenkeel", uri=f"sqlite:///{warehouse / 'catalog.db'}", warehouse=f"file://{warehouse}")
    catalog.create_namespace_if_not_exists(NAMESPACE)
    for dataset, files in sorted(datasets(cold).items()):
        new, gone = register(catalog, dataset, files)
        print(f"{NAMESPACE}.{table_name(dataset):<32}{len(files):>6} files, {new} new, {gone} gone")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()) if len(sys.argv) == 3 else __doc__)
