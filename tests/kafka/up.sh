#!/usr/bin/env bash
# Starts a real single-node Apache Kafka on loopback and prints "127.0.0.1:PORT" once it serves; running already, it only prints.
# Needs Java 17 and, the first time, Maven and Maven Central. Settings: env.sh. `up.sh --pid-file` prints where the pid lies.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/env.sh"
[ "${1:-}" != --pid-file ] || { echo "$kafka_pid_file"; exit; }
say() { echo "kafka: $*" >&2; }

configure() {
  local controller=127.0.0.1:$((KAFKA_PORT + 1))
  cat "$here/server.properties" - >"$KAFKA_DATA/server.properties" <<END
log.dirs=$KAFKA_DATA/log
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
controller.quorum.voters=1@$controller
$(printf '%b' "$KAFKA_PROPERTIES")
END
  [ -s "$KAFKA_DATA/log/meta.properties" ] ||
    java -Xmx128m -cp "$jars/*" kafka.tools.StorageTool format --config "$KAFKA_DATA/server.properties" \
      --cluster-id evenkeel-test-clusterA >"$KAFKA_DATA/format.log" 2>&1 || { cat "$KAFKA_DATA/format.log" >&2; return 1; }
}

launch() {
  : >"$KAFKA_DATA/server.log"
  # The lock (9) is not for the broker: it would hold it as long as it lives.
  # shellcheck disable=SC2086 # several options
  setsid java -Xms"$KAFKA_HEAP" -Xmx"$KAFKA_HEAP" $KAFKA_GC -XX:+ExitOnOutOfMemoryError -Dlog4j2.level=info -cp "$jars/*" \
    kafka.Kafka "$KAFKA_DATA/server.properties" >>"$KAFKA_DATA/server.log" 2>&1 </dev/null 9>&- &
  echo $! >"$kafka_pid_file"
}

jars=$kafka_cache/kafka-jars-$(sha256sum <"$here/pom.xml" | head -c 12)
mkdir -p "$KAFKA_DATA" "$jars"
exec 9>"$jars/lock" && flock 9 # two callers at once: the second finds what the first made
[ -e "$jars/complete" ] || fetch_jars "$here/pom.xml" "$jars"
if ! kafka_alive; then
  configure
  launch
fi
for _ in $(seq 600); do
  if grep -q 'Kafka Server started' "$KAFKA_DATA/server.log"; then
    say "serves, pid $(cat "$kafka_pid_file"), log $KAFKA_DATA/server.log"
    echo "127.0.0.1:$KAFKA_PORT"
    exit
  fi
  kill -0 "$(cat "$kafka_pid_file")" 2>/dev/null || break
  sleep 0.1
done
say "did not start (see $KAFKA_DATA/server.log):"
grep -E 'ERROR|FATAL|Exception' "$KAFKA_DATA/server.log" | head -5 >&2 || true
exit 1
