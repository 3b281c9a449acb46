-- How much of its error budget each service used, by hour. SET VARIABLE objective = 0.995 for another one than 0.999.
-- Run in a cold directory: duckdb -f error_budget.sql
WITH newest AS (
    FROM read_parquet('rollups/*/*/*.parquet', hive_partitioning = true)
    WHERE route IS NULL AND node IS NULL AND version IS NULL AND region IS NULL
    QUALIFY row_number() OVER (PARTITION BY service, event_at ORDER BY "offset" DESC) = 1
)
SELECT service, date_trunc('hour', event_at) AS hour, sum(requests)::BIGINT AS requests, sum(errors)::BIGINT AS errors,
       sum(errors) / (sum(requests) * (1 - coalesce(getvariable('objective'), 0.999)::DOUBLE)) AS budgets_used
FROM newest GROUP BY service, hour ORDER BY service, hour;
