# shellcheck shell=bash disable=SC2034
# Settings of the test broker, sourced by up.sh and down.sh; each can be set from outside.
# To crash it: kill -9 "$(cat "$(tests/kafka/up.sh --pid-file)")"; a second later up.sh starts it again on the same data.
KAFKA_PORT=${KAFKA_PORT:-29092} # clients; the controller listens on the next one
KAFKA_HEAP=${KAFKA_HEAP:-512m}
# As in Kafka's own start script; its pauses are 15 to 80 ms on two busy cores. With -XX:+UseZGC and a heap of 1500m: below 1 ms.
KAFKA_GC=${KAFKA_GC:--XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35}
KAFKA_PROPERTIES=${KAFKA_PROPERTIES:-} # more lines for server.properties
kafka_cache=${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel
KAFKA_DATA=${KAFKA_DATA:-$kafka_cache/kafka-$KAFKA_PORT}
KAFKA_DATA=$(realpath -m "$KAFKA_DATA")
kafka_pid_file=$KAFKA_DATA/kafka.pid

. "$(dirname "${BASH_SOURCE[0]}")/jvm.sh"

kafka_alive() { alive "$kafka_pid_file" "$KAFKA_DATA/server.properties"; }
