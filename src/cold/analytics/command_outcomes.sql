-- What came of the commands, by service and kind, and how long actuators took to answer.
-- Run in a cold directory: duckdb -f command_outcomes.sql
WITH answers AS (
    FROM read_parquet('outcomes/*/*/*.parquet', hive_partitioning = true)
    QUALIFY row_number() OVER (PARTITION BY command_id ORDER BY arrived_at DESC, seq DESC) = 1
), decided AS (
    -- A command is said again with every state; the first word is the decision.
    FROM read_parquet('commands/*/*/*.parquet', hive_partitioning = true)
    QUALIFY row_number() OVER (PARTITION BY command_id ORDER BY "offset") = 1
)
SELECT command.service, command.kind, count(*) AS commands,
       count(*) FILTER (answer.status = 'applied') AS applied,
       count(*) FILTER (answer.status = 'failed') AS failed,
       count(*) FILTER (answer.status = 'refused') AS refused,
       count(*) FILTER (answer.status IS NULL) AS unanswered,
       median(epoch_us(answer.event_at) - epoch_us(command.event_at))::BIGINT AS median_answer_us
FROM decided AS command
LEFT JOIN answers AS answer ON answer.command_id = command.command_id
GROUP BY command.service, command.kind ORDER BY command.service, command.kind;
