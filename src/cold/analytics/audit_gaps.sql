-- Places where the audit log's numbers do not go up by one: none, unless somebody took entries away or put some in.
-- Run in a cold directory: duckdb -f audit_gaps.sql
WITH lines AS (
    SELECT *, row_number() OVER () AS line
    FROM read_json('manifest.jsonl', format = 'newline_delimited', columns = {dataset: 'VARCHAR', partition: 'INTEGER',
        first: 'UBIGINT', last: 'UBIGINT', file: 'VARCHAR', dropped: 'BOOLEAN'})
    WHERE dataset = 'audit'
), begins AS (
    -- What retention dropped is not missing: the first entry that is left follows the last dropped one.
    SELECT partition, coalesce(max(last) FILTER (dropped IS TRUE) + 1, 0) AS seq FROM lines GROUP BY partition
), standing AS (
    -- A file counts until a later line speaks for its entries: what a crash left beside is no second copy of them.
    SELECT file FROM lines WHERE dropped IS NOT TRUE AND NOT EXISTS (
        FROM lines AS later WHERE later.line > lines.line AND later.partition = lines.partition
            AND later.first <= lines.first AND later.last >= lines.last)
), numbered AS (
    SELECT partition, seq, lag(seq) OVER (PARTITION BY partition ORDER BY seq) AS before
    FROM read_parquet('audit/*/*/*.parquet', hive_partitioning = true, filename = true)
    WHERE filename IN (FROM standing)
)
SELECT numbered.partition, coalesce(before + 1, begins.seq) AS expected, numbered.seq AS found
FROM numbered JOIN begins USING (partition)
WHERE numbered.seq IS DISTINCT FROM coalesce(before + 1, begins.seq)
ORDER BY partition, found;
