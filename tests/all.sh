#!/usr/bin/env bash
# Every test there is. What needs a broker or HAProxy runs where they can be had (KAFKA_BOOTSTRAP, or Java with Maven).
# Cargo is always given the whole workspace: for one package it would build what they share again, with fewer features.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
. tests/steps.sh
evenkeel=${CARGO_TARGET_DIR:-target}/release/evenkeel
scratch=$(mktemp -d)
data=$scratch/data
trap 'tests/kafka/down.sh; rm -rf "$scratch"' EXIT
export KAFKA_PORT=${KAFKA_PORT:-29392} KAFKA_DATA=$scratch/kafka # of the broker that is started and stopped here

replays_alike() {
  local workers hash first=
  for workers in 1 2 4; do
    hash=$("$evenkeel" replay "$data" --workers "$workers" | tail -n 1) || return 1
    echo "$workers workers: $hash"
    [[ $hash == "hash "* && $hash == "${first:=$hash}" ]] || return 1
  done
}

replays_from_cold() {
  local live cold
  live=$("$evenkeel" replay "$data" | tail -n 1) && cold=$("$evenkeel" replay --from "$data/cold" | tail -n 1) || return 1
  echo "live $live, cold $cold"
  [[ $live == "hash "* && $live == "$cold" ]]
}

restores() {
  "$evenkeel" restore --from "$data/cold" --data "$scratch/restored" && "$evenkeel" verify "$scratch/restored"
}

start_kafka() {
  KAFKA_BOOTSTRAP=$(tests/kafka/up.sh) && export KAFKA_BOOTSTRAP
}

compacts_kafka() {
  local on=(--brokers "$KAFKA_BOOTSTRAP" --topic-prefix "cold.$$.") run live cold
  "$evenkeel" run "${on[@]}" & run=$!
  "$evenkeel" generate "${on[@]}" --rate 2000 --seconds 10 && sleep 5
  kill $run && wait $run
  "$evenkeel" compact "${on[@]}" --cold "$scratch/kafka-cold" --records --requests full || return 1
  "$evenkeel" verify "$scratch/kafka-cold" || return 1
  live=$("$evenkeel" replay "${on[@]}" --check | tail -n 1) || return 1
  cold=$("$evenkeel" replay --from "$scratch/kafka-cold" | tail -n 1) || return 1
  echo "live $live, cold $cold"
  [[ $live == "hash "* && $live == "$cold" ]]
}

processes_die() {
  if why=$(missing kcat); then
    skip "two processes, each killed" "$why"
  else
    step "two processes, each killed: nothing shows, then one, then two again" \
      env EVENKEEL_BIN="$evenkeel" python3 tests/kill.py --processes 2 --kills 4 --broker-kills 0 --seconds 20
  fi
}

tells_of_kafka() {
  if why=$(missing prometheus-alertmanager amtool); then
    skip "alerts of incidents on Kafka" "$why"
  else
    step "alerts of incidents on Kafka, killed in between" env EVENKEEL_BIN="$evenkeel" python3 tests/alerts.py --only kafka
  fi
}

stop_kafka() {
  unset KAFKA_BOOTSTRAP
  tests/kafka/down.sh --wipe
}

step "unit, property and integration tests" cargo test --release --workspace
step "fuzzing every decoder, ${FUZZ_SECONDS:-10} s each" tests/fuzz/run.sh "${FUZZ_SECONDS:-10}"
step "requests of protobuf, fastavro, PyArrow and Polars are read" python3 tests/encodings.py
step "the independent verifier finds every damage" python3 tests/verify_selftest.py
step "Python's verifier of proofs answers the shared vectors" python3 tests/verify_proof.py --vectors schemas/audit/vectors.json

if step "demo: every fault found and recovered" "$evenkeel" demo --seconds 60 -o json --data "$data" --keep; then
  step "verify" "$evenkeel" verify "$data"
  step "verify.py log: the chain, without evenkeel's code" python3 tests/verify.py log "$data"/outputs/*.seg
  step "replay: 1, 2 and 4 workers give one hash" replays_alike
  step "compact to Parquet, with what replay needs" "$evenkeel" compact --data "$data" --records --requests full
  step "replay from Parquet gives the same hash" replays_from_cold
  step "a directory restored from Parquet is whole" restores
  step "verify.py cold: files, ranges and heads" python3 tests/verify.py cold "$data/cold"
  step "DuckDB, Polars and PyArrow read the same" python3 tests/readers.py "$data/cold"
  if [ -n "${SPARK:-}" ]; then
    step "Spark reads the same" python3 tests/readers.py "$data/cold" --spark
  else
    skip "Spark reads the same" "SPARK=1 runs it: 450 MB from PyPI, and Java 17"
  fi
  if step "the cold store in S3 builds" cargo build --release --workspace --bins; then
    step "the cold store in S3: replayed, restored, killed amid its work, two writers at once" \
      env EVENKEEL_BIN="$evenkeel" python3 tests/objects.py "$data"
  fi
  step "seals and proofs: Go, transparency-dev and Python agree" env EVENKEEL_BIN="$evenkeel" \
    python3 tests/interop.py "$data" --cold "$data/cold"
  if why=$(missing prometheus-alertmanager amtool); then
    skip "alerts: a real Alertmanager and amtool" "$why"
  else
    step "an outage of 400 services, in a log" cargo bench --workspace --bench scenarios -- outage-400 --seeds 1 --data "$scratch/outage"
    step "alerts: a real Alertmanager and amtool, an outage of 400 services, killed amid its work, nothing lost or doubled" \
      env EVENKEEL_BIN="$evenkeel" python3 tests/alerts.py --demo "$data" --outage "$scratch/outage"
  fi
  step "PyIceberg and Polars read the same as Iceberg tables" python3 tests/iceberg.py "$data/cold"
  step "queries over Parquet say what the log says" python3 tests/analytics.py "$data"
else
  skip "verify, replay, compact and readers" "no data without the demo"
fi

step "alerts by mail: real SMTP servers that are away, put off, refuse; TLS, threads, hand-overs" \
  env EVENKEEL_BIN="$evenkeel" python3 tests/mail.py
step "21 attacks on an audit log, each found" "$evenkeel" audit tamper-demo
step "a live log: tampering is found by its watcher, and becomes an incident" env EVENKEEL_BIN="$evenkeel" python3 tests/audit_loop.py
step "replay: a million records, any workers, any batches" env EVENKEEL_BIN="$evenkeel" tests/million.sh
step "policies: applied under load, gone back from, refused, replayed" \
  env -u KAFKA_BOOTSTRAP EVENKEEL_BIN="$evenkeel" python3 tests/policy.py
step "policies: their JSON Schemas, by another validator" env EVENKEEL_BIN="$evenkeel" python3 tests/policy_schema.py
step "personal data: masked before it is kept, in no file then" env EVENKEEL_BIN="$evenkeel" python3 tests/masks.py
step "people who decide: two persons, one-time passwords, a broken glass, who is on call" \
  env -u KAFKA_BOOTSTRAP EVENKEEL_BIN="$evenkeel" python3 tests/people.py

if [ -n "${KAFKA_BOOTSTRAP:-}" ]; then
  step "Kafka at $KAFKA_BOOTSTRAP" cargo test --release --workspace --test kafka --test kafka_audit
  step "Kafka to Parquet, with what replay needs: the same hash" compacts_kafka
  step "policies on Kafka" env EVENKEEL_BIN="$evenkeel" python3 tests/policy.py
  tells_of_kafka
  processes_die
elif why=$(missing java mvn); then
  skip "Kafka" "$why"
elif step "Kafka starts" start_kafka; then
  step "Kafka" cargo test --release --workspace --test kafka --test kafka_audit
  step "Kafka to Parquet, with what replay needs: the same hash" compacts_kafka
  step "policies on Kafka" env EVENKEEL_BIN="$evenkeel" python3 tests/policy.py
  # One at a time: nobody else can use a broker that crashes.
  # shellcheck disable=SC2016 # for the shell of the test that crashes the broker
  step "Kafka crashes" env KAFKA_RESTART='kill -9 "$(cat "$(tests/kafka/up.sh --pid-file)")"; sleep 1; tests/kafka/up.sh' \
    cargo test --release --workspace --test kafka -- --test-threads 1 over_a_crash
  tells_of_kafka
  processes_die
  stop_kafka
fi

if why=$(missing kcat) || { [ -z "${KAFKA_BOOTSTRAP:-}" ] && why=$(missing java mvn); }; then
  skip "actuators" "$why"
else
  step "actuators: webhook, script and an executor in Python, killed amid their work: every command once, and taken back" \
    env EVENKEEL_BIN="$evenkeel" python3 tests/actuators.py
fi

# Building the API server takes minutes.
if why=$(missing go openssl) || { [ ! -e "$(tests/kubernetes/cluster.py)" ] && why="not built yet; with LONG=1 it is" && [ "${LONG:-}" != 1 ]; }; then
  skip "a real Kubernetes API server" "$why"
else
  step "a real Kubernetes API server: scaled, rolled back, evicted, drained and given back, each once" \
    env EVENKEEL_BIN="$evenkeel" python3 tests/kubernetes/closed.py
fi

if why=$(missing haproxy kcat) || { [ -z "${KAFKA_BOOTSTRAP:-}" ] && why=$(missing java mvn); }; then
  skip "HAProxy loop" "$why"
else
  step "HAProxy loop: a failing server is found and heals" env EVENKEEL_BIN="$evenkeel" python3 tests/haproxy/loop.py
  step "HAProxy loop, closed: servers that fail are taken out, tried and brought back; nobody's connection is cut" \
    env EVENKEEL_BIN="$evenkeel" python3 tests/haproxy/closed.py
fi

step "Envoy loop, closed: a server that fails is taken out, tried and brought back, and requests are moved by steps" \
  env -u KAFKA_BOOTSTRAP EVENKEEL_BIN="$evenkeel" python3 tests/envoy/closed.py

if why=$(missing psql kcat java mvn); then
  skip "PostgreSQL and Debezium" "$why"
else
  step "PostgreSQL and Debezium: every change is chained, over a crash of everything" \
    env EVENKEEL_BIN="$evenkeel" python3 tests/debezium/loop.py
  step "mirror and vault build" cargo build --release --workspace --bins &&
    step "a mirror of the audit log in PostgreSQL: copied once, and no change of it goes unseen" \
      env EVENKEEL_BIN="$evenkeel" python3 tests/debezium/mirror.py &&
    step "personal data: not in the log, and erased from the vault" env EVENKEEL_BIN="$evenkeel" python3 tests/debezium/vault.py
fi

if [ -z "${LONG:-}" ]; then
  skip "kill -9 of evenkeel and broker; ten minutes of load; an hour in Parquet" "LONG=1 runs them, half an hour and 10 GB"
else
  step "20 kills of evenkeel and 5 of the broker" env EVENKEEL_BIN="$evenkeel" python3 tests/kill.py
  if ! missing haproxy kcat >/dev/null; then
    step "10 faults behind HAProxy, 50 kills of evenkeel: every command once" env EVENKEEL_BIN="$evenkeel" \
      python3 tests/haproxy/closed.py --faults 10 --at-once 5 --rate 80 --kills 50 --kill-every 3 --connections 0
  fi
  step "versions that are rolled out, judged live, over a kill" env EVENKEEL_BIN="$evenkeel" python3 tests/canary.py
  step "ten minutes at 100,000 events/s: flat memory" env EVENKEEL_BIN="$evenkeel" python3 tests/soak.py
  step "an hour at 10,000 requests/s in Parquet: every row once, no small files" env EVENKEEL_BIN="$evenkeel" python3 tests/hour.py
fi
finish
