#!/usr/bin/env bash
# Law L1 on more than a million records, late and malformed ones among them: a backlog is run once, then replayed with
# 1, 2 and 4 workers and three batch sizes; every hash is the same, and every output equals what was committed.
# ENCODING=arrow writes its requests as Arrow streams, and so on (default: json).
set -euo pipefail
evenkeel=${EVENKEEL_BIN:-target/release/evenkeel}
data=$(mktemp -d)
http=127.0.0.1:${HTTP_PORT:-29465}
trap 'kill "${run:-}" 2>/dev/null || true; wait; rm -rf "$data"' EXIT

"$evenkeel" generate --data "$data" --encoding "${ENCODING:-json}" --backlog --seconds 200 --rate 5500 --malformed-per-million 10000 --seed 11
"$evenkeel" --log error run --data "$data" --http "$http" &
run=$!
for ((i = 0; i < 600; i++)); do
  curl -sf "http://$http/readyz" >/dev/null && break
  sleep 0.2
done
curl -sf "http://$http/readyz"
kill -TERM "$run"
wait "$run"
run=
first=
for how in "1 10000" "2 77" "4 1000000"; do
  read -r workers batch <<<"$how"
  hash=$("$evenkeel" replay "$data" --workers "$workers" --batch "$batch" --check | tee "$data/report" | tail -n 1)
  echo "$workers workers, batches of $batch: $(head -n 1 "$data/report"), $hash"
  [ "$hash" = "${first:=$hash}" ]
done
"$evenkeel" verify "$data"
