-- Median and 99th percentile of latency by service, route and hour, from the histograms of the minutes: exact sums, so
-- the same as if every request had been kept, to the width of a bucket (0.8 %).
-- Run in a cold directory: duckdb -f latency_by_route_and_hour.sql

-- The middle of a bucket, µs: values below 64 have one each, above there are 64 to every power of two.
CREATE OR REPLACE MACRO middle_us(b) AS
    CASE WHEN b < 64 THEN b::BIGINT
         ELSE ((64 + (b - 64) % 64)::BIGINT << ((b - 64) // 64)::BIGINT) + ((1::BIGINT << ((b - 64) // 64)::BIGINT) // 2) END;

WITH newest AS (
    -- Late requests amend a minute: of its rows the last one holds. Other keys count the same requests another way.
    FROM read_parquet('rollups/*/*/*.parquet', hive_partitioning = true)
    WHERE route IS NOT NULL AND node IS NULL AND version IS NULL AND region IS NULL
    QUALIFY row_number() OVER (PARTITION BY service, route, event_at ORDER BY "offset" DESC) = 1
), counted AS (
    SELECT service, route, date_trunc('hour', event_at) AS hour, unnest(buckets) AS bucket, unnest(counts) AS requests
    FROM newest
), summed AS (
    SELECT service, route, hour, bucket, sum(requests)::BIGINT AS requests FROM counted GROUP BY ALL
), ranked AS (
    SELECT *, sum(requests) OVER (keys ORDER BY bucket) AS upto, sum(requests) OVER keys AS total
    FROM summed WINDOW keys AS (PARTITION BY service, route, hour)
)
SELECT service, route, hour, max(total)::BIGINT AS requests,
       min(middle_us(bucket)) FILTER (upto >= greatest((total * 500 + 999) // 1000, 1)) AS p50_us,
       min(middle_us(bucket)) FILTER (upto >= greatest((total * 990 + 999) // 1000, 1)) AS p99_us
FROM ranked GROUP BY service, route, hour ORDER BY service, route, hour;
