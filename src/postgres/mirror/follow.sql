-- Follows the chain over the whole table, in SQL alone: the rows whose hash is not that of their columns and the hash before,
-- and those after a gap. None is a whole chain; whether it ends where the log does, only the log can tell.
-- psql -v origin=evenkeel -v table=public.audit_log -f follow.sql
with lengths as (
  select *, convert_to('evenkeel/audit/v1', 'UTF8') || '\x00' || int4send(octet_length(convert_to(:'origin', 'UTF8')))
    || convert_to(:'origin', 'UTF8') || int4send(partition) as first,
    -- Texts have an escape for NUL and the backslash, which `decode` reads.
    (select string_agg(int4send(octet_length(bytes)) || bytes, '' order by position) from (
      select position, decode(text, 'escape') as bytes
      from unnest(array[event_type, table_name, op, actor, entity]) with ordinality as texts(text, position)) as read) as texts
  from :table
), linked as (
  select *, lag(current_hash, 1, sha256(first)) over chain as before, row_number() over chain - 1 as expected_seq,
    convert_to('audit/v1', 'UTF8') || '\x00' || int4send(partition) || int8send(epoch) || int8send(seq) || int8send(ts_us)
      || texts || int4send(octet_length(payload)) || payload as envelope
  from lengths window chain as (partition by partition order by seq)
)
select partition, seq from linked
where previous_hash <> before or current_hash <> sha256(envelope || before) or seq <> expected_seq
order by partition, seq;
