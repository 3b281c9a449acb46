#!/usr/bin/env bash
# Stops the Connect worker and the database that up.sh started with the same settings, by their pids; `--wipe` deletes their data.
set -euo pipefail
. "$(dirname "$0")/env.sh"

# end PID SIGNAL: sends the signal, waits 30 s, and then does not wait any longer.
end() {
  kill "-$2" "$1" 2>/dev/null || return 0
  for _ in $(seq 300); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$1"
}

! connect_alive || end "$(cat "$connect_pid_file")" TERM
! postgres_alive || end "$(head -n 1 "$postgres_pid_file")" INT # ends sessions, too
rm -f "$connect_pid_file"
[ "${1:-}" != --wipe ] || rm -rf "$DEBEZIUM_DATA"
