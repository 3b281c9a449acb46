#!/usr/bin/env bash
# Fuzzes each target in turn: tests/fuzz/run.sh [seconds=60] [seed].
# Exit 0: no crash, or skipped (says so); 1: a crash, with the input that causes it; else: it did not build.
#
# Decision: coverage counters come from flags of stable rustc and libFuzzer is built from source, so neither nightly nor
# cargo-fuzz is needed. No address sanitizer, which needs nightly: unsafe code is in two small modules, and the target
# "request" holds it to the safe decoder; overflow checks and debug assertions are on.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}

for tool in cargo c++; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool found; install Rust and a C++ compiler to fuzz"; exit 0; }
done

host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage="$coverage -Cllvm-args=-sanitizer-coverage-$argument"
done
# With --target, build scripts and macros stay without counters.
RUSTFLAGS="--cfg fuzzing $coverage" nice cargo build --release --quiet --locked --target "$host" --target-dir target

# The corpus starts from the golden bytes; what a run finds stays in it.
golden=../../schemas/golden
unhex() { printf '%b' "$(sed 's/../\\x&/g' "$1")"; }
mkdir -p target/corpus/event target/corpus/request target/corpus/audit target/corpus/tally target/corpus/binding
mkdir -p target/corpus/proof target/corpus/protobuf target/corpus/avro target/corpus/batch
number=0
for type in request telemetry probe change control outcome audit_event; do
    for file in "$golden/$type"*.v1.json; do
        { printf '%b' "\\x0$number"; cat "$file"; } >"target/corpus/event/$(basename "$file")"
    done
    number=$((number + 1))
done
cp "$golden"/request*.v1.json target/corpus/request
unhex "$golden/audit-record.v1.hex" >target/corpus/audit/golden
grep -o '"proof": ".*"' ../../schemas/audit/vectors.json | while read -r _ line; do
    name=$(printf '%s' "$line" | cksum | cut -d' ' -f1)
    printf '%b' "${line:1:-1}" >"target/corpus/proof/$name"
done
unhex "$golden/tally.v1.hex" >target/corpus/tally/golden
cp "$golden/binding.v1.json" target/corpus/binding/golden
for file in "$golden"/request-*protobuf.v1.hex; do unhex "$file" >"target/corpus/protobuf/$(basename "$file")"; done
# Of single objects without marker and fingerprint, which the target puts there.
for file in "$golden"/request-*avro.v1.hex; do unhex "$file" | tail -c +11 >"target/corpus/avro/$(basename "$file")"; done
for file in "$golden"/requests-*.v1.hex; do unhex "$file" >"target/corpus/batch/$(basename "$file")"; done

for target in event request protobuf avro batch audit proof tally binding; do
    echo "$target: $seconds s, seed $seed"
    log=target/$target.log
    # Each target stops at its own time; -timeout and -rss_limit_mb make a hang or a glutton a crash.
    if ! nice "target/$host/release/$target" "target/corpus/$target" -seed="$seed" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="target/$target-" >"$log" 2>&1; then
        tail -n 40 "$log"
        input=$(sed -n 's/.*Test unit written to //p' "$log")
        echo "$target: CRASH; again with: (cd tests/fuzz && target/$host/release/$target $input)"
        exit 1
    fi
    sed -n 's/^stat::number_of_executed_units: */  executed /p; s/^stat::average_exec_per_sec: */  per second /p' "$log"
    sed -n 's/^#.*DONE *\(cov: [0-9]*\).*/  \1/p' "$log"
done
