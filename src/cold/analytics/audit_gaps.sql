-- Places where the audit log's numbers do not go up by one: none, unless somebody took entries away or put some in.
-- Run in a cold directory: duckdb -f audit_gaps.sql
WITH begins AS (
    -- What retention dropped is not missing: the first entry that is left follows the last dropped one.
    SELECT partition, coalesce(max(last) FILTER (dropped IS TRUE) + 1, 0) AS seq
    FROM read_json('manifest.jsonl', format = 'newline_delimited', columns = {dataset: 'VARCHAR', partition: 'INTEGER',
        last: 'UBIGINT', dropped: 'BOOLEAN'})
    WHERE dataset = 'audit' GROUP BY partition
), numbered AS (
    SELECT partition, seq, lag(seq) OVER (PARTITION BY partition ORDER BY seq) AS before
    FROM read_parquet('audit/*/*/*.parquet', hive_partitioning = true)
)
SELECT numbered.partition, coalesce(before + 1, begins.seq) AS expected, numbered.seq AS found
FROM numbered JOIN begins USING (partition)
WHERE numbered.seq IS DISTINCT FROM coalesce(before + 1, begins.seq)
ORDER BY partition, found;
