#!/usr/bin/env bash
# Starts PostgreSQL and, once Kafka serves at KAFKA_BOOTSTRAP, Kafka Connect with Debezium: changes of tables go to db.changes.v1.
# Prints "127.0.0.1:PORT" of the database `app`. What runs already is left alone, so after a crash it starts what is missing.
# `up.sh postgres` starts PostgreSQL alone, to make tables before they are captured. Settings: env.sh.
# Needs Java 17, PostgreSQL 12 or newer and, the first time, Maven and Maven Central.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
say() { echo "debezium: $*" >&2; }

start_postgres() {
  local initdb pg_ctl
  initdb=$(postgres_program initdb) pg_ctl=$(postgres_program pg_ctl)
  [ -n "$initdb" ] || { say "no PostgreSQL found; install it (Debian: postgresql)"; return 1; }
  if [ ! -s "$postgres_data/PG_VERSION" ]; then
    mkdir -p "$postgres_data" && chmod 700 "$postgres_data"
    [ "$(id -u)" != 0 ] || chown "$(as_postgres id -u):$(as_postgres id -g)" "$postgres_data"
    (cd / && as_postgres "$initdb" -A trust -U postgres -E UTF8 --no-locale -D "$postgres_data") >"$DEBEZIUM_DATA/initdb.log" 2>&1 ||
      { cat "$DEBEZIUM_DATA/initdb.log" >&2; return 1; }
    cat >>"$postgres_data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = '$postgres_data'
wal_level = logical
shared_buffers = 32MB
END
  fi
  # After a crash the processes of the old one may be there for a moment.
  for _ in $(seq 20); do
    if (cd / && as_postgres "$pg_ctl" -D "$postgres_data" -l "$postgres_data/server.log" -w -t 30 start) >"$DEBEZIUM_DATA/pg_ctl.log" 2>&1; then
      break
    fi
    sleep 0.5
  done
  postgres_alive || { tail -n 5 "$DEBEZIUM_DATA/pg_ctl.log" "$postgres_data/server.log" >&2; return 1; }
  local sql=(psql -q -X -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres)
  [ "$("${sql[@]}" -At -c "select count(*) from pg_database where datname = 'app'")" = 1 ] || "${sql[@]}" -c "create database app"
  # Without the whole old row `before` is null in updates and deletes.
  "${sql[@]}" -d app -v ON_ERROR_STOP=1 <<'END'
set client_min_messages = warning;
create table if not exists orders (id bigint primary key, customer text not null, amount numeric(12, 2), created timestamptz default now());
alter table orders replica identity full;
END
}

configure() {
  cat "$here/worker.properties" - >"$DEBEZIUM_DATA/worker.properties" <<END
bootstrap.servers=$KAFKA_BOOTSTRAP
offset.storage.file.filename=$DEBEZIUM_DATA/connect.offsets
listeners=http://127.0.0.1:$CONNECT_PORT
rest.advertised.host.name=127.0.0.1
END
  cat "$here/source.properties" - >"$DEBEZIUM_DATA/source.properties" <<END
database.hostname=127.0.0.1
database.port=$POSTGRES_PORT
database.user=postgres
database.password=unused
database.dbname=app
topic.prefix=cdc
table.include.list=$DEBEZIUM_TABLES
transforms.route.regex=cdc\\\\..*
transforms.route.replacement=${TOPIC_PREFIX}db.changes.v1
$(printf '%b' "$DEBEZIUM_PROPERTIES")
END
}

start_connect() {
  [ -e "$jars/complete" ] || fetch_jars "$here/pom.xml" "$jars"
  configure
  : >"$DEBEZIUM_DATA/connect.log"
  setsid java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=info -cp "$jars/*" \
    org.apache.kafka.connect.cli.ConnectStandalone "$DEBEZIUM_DATA/worker.properties" "$DEBEZIUM_DATA/source.properties" \
    >>"$DEBEZIUM_DATA/connect.log" 2>&1 </dev/null 9>&- &
  echo $! >"$connect_pid_file"
}

await_connect() {
  for _ in $(seq 1200); do
    # It streams once it says so: what was changed before that comes, too, only later.
    ! grep -q 'Starting streaming' "$DEBEZIUM_DATA/connect.log" || return 0
    kill -0 "$(cat "$connect_pid_file")" 2>/dev/null || break
    sleep 0.1
  done
  say "Connect does not stream changes (see $DEBEZIUM_DATA/connect.log):"
  grep -E 'ERROR|FATAL|Exception' "$DEBEZIUM_DATA/connect.log" | head -5 >&2 || true
  return 1
}

jars=$debezium_cache/connect-jars-$(sha256sum <"$here/pom.xml" | head -c 12)
mkdir -p "$DEBEZIUM_DATA" "$jars"
exec 9>"$jars/lock" && flock 9 # two callers at once: the second finds what the first made
postgres_alive || start_postgres 9>&-
if [ "${1:-}" != postgres ]; then
  : "${KAFKA_BOOTSTRAP:?names the broker, host:port; tests/kafka/up.sh starts one}"
  connect_alive || start_connect
  await_connect
fi
echo "127.0.0.1:$POSTGRES_PORT"
