#!/usr/bin/env bash
# Stops the broker that up.sh started with the same settings, by its pid; `--wipe` deletes its data too.
set -euo pipefail
. "$(dirname "$0")/env.sh"
if kafka_alive; then
  pid=$(cat "$kafka_pid_file")
  kill "$pid"
  for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  ! kafka_alive || kill -9 "$pid"
fi
rm -f "$kafka_pid_file"
[ "${1:-}" != --wipe ] || rm -rf "$KAFKA_DATA/log"
