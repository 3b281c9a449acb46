# shellcheck shell=bash disable=SC2034
# Settings of the test database and its change capture, sourced by up.sh and down.sh; each can be set from outside.
POSTGRES_PORT=${POSTGRES_PORT:-25432}
CONNECT_PORT=${CONNECT_PORT:-28083}                    # Connect's REST interface
DEBEZIUM_TABLES=${DEBEZIUM_TABLES:-public.orders}      # what is captured, comma separated
DEBEZIUM_PROPERTIES=${DEBEZIUM_PROPERTIES:-}           # more lines for source.properties
TOPIC_PREFIX=${TOPIC_PREFIX:-}                         # as evenkeel's --topic-prefix
# Not below a home directory: PostgreSQL runs as another user if this is root.
DEBEZIUM_DATA=$(realpath -m "${DEBEZIUM_DATA:-${TMPDIR:-/tmp}/evenkeel-debezium-$POSTGRES_PORT}")
debezium_cache=${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel
connect_pid_file=$DEBEZIUM_DATA/connect.pid
postgres_data=$DEBEZIUM_DATA/postgres
postgres_pid_file=$postgres_data/postmaster.pid # its first line

# A program of PostgreSQL: from PATH, or from where Debian keeps those of the newest version.
postgres_program() {
  command -v "$1" || find /usr/lib/postgresql/*/bin -name "$1" 2>/dev/null | sort -V | tail -n 1
}

# Runs a command as a user whom PostgreSQL accepts: it refuses root.
as_postgres() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
  elif id postgres >/dev/null 2>&1; then
    runuser -u postgres -- "$@"
  else
    runuser -u nobody -- "$@"
  fi
}

. "$(dirname "${BASH_SOURCE[0]}")/../kafka/jvm.sh"

connect_alive() { alive "$connect_pid_file" "$DEBEZIUM_DATA/worker.properties"; }
postgres_alive() { alive "$postgres_pid_file" "$postgres_data"; }
