-- Follows the hash chain through the newest segments of each audit partition, from the head before them to the head after
-- them, with nothing but sha256(). `holds` is true unless an entry was touched. SET VARIABLE segments = 100 for more.
-- Run in a cold directory: duckdb -f audit_rehash.sql

-- A length of 32 bits, big-endian, and the bytes.
CREATE OR REPLACE MACRO lp(bytes) AS unhex(printf('%08x', octet_length(bytes))) || bytes;

CREATE OR REPLACE MACRO envelope(partition, epoch, seq, ts_us, event_type, of, op, actor, entity, payload) AS
    'audit/v1\x00'::BLOB || unhex(printf('%08x', partition)) || unhex(printf('%016x', epoch::BIGINT))
    || unhex(printf('%016x', seq::BIGINT)) || unhex(printf('%016x', ts_us))
    || lp(encode(event_type)) || lp(encode(of)) || lp(encode(op)) || lp(encode(actor)) || lp(encode(entity)) || lp(payload);

WITH lines AS (
    SELECT *, row_number() OVER () AS line
    FROM read_json('manifest.jsonl', format = 'newline_delimited', columns = {dataset: 'VARCHAR', partition: 'INTEGER',
        first: 'UBIGINT', last: 'UBIGINT', file: 'VARCHAR', prev_head: 'VARCHAR', head: 'VARCHAR', dropped: 'BOOLEAN'})
    WHERE dataset = 'audit'
), segments AS (
    -- A line counts until a later one speaks for its entries.
    FROM lines WHERE dropped IS NOT TRUE AND NOT EXISTS (
        FROM lines AS later WHERE later.line > lines.line AND later.partition = lines.partition
            AND later.first <= lines.first AND later.last >= lines.last)
    QUALIFY row_number() OVER (PARTITION BY partition ORDER BY first DESC) <= coalesce(getvariable('segments'), 3)
), entries AS (
    SELECT partition, seq,
           envelope(partition, epoch, seq, epoch_us(ts), event_type, "table", op, actor, entity, payload) AS bytes
    FROM read_parquet('audit/*/*/*.parquet', hive_partitioning = true, filename = true)
    WHERE filename IN (SELECT file FROM segments)
)
SELECT segment.partition, segment.first, segment.last, count(*) AS entries,
       unhex(segment.head) = list_reduce(list(entry.bytes ORDER BY entry.seq),
           lambda head, bytes: unhex(sha256(bytes || head)), unhex(segment.prev_head)) AS holds
FROM segments AS segment
JOIN entries AS entry ON entry.partition = segment.partition AND entry.seq BETWEEN segment.first AND segment.last
GROUP BY segment.partition, segment.first, segment.last, segment.head, segment.prev_head
ORDER BY segment.partition, segment.first;
