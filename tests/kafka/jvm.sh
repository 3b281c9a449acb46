# shellcheck shell=bash
# What Kafka and Kafka Connect, as the tests start them, have in common; sourced by env.sh of either.

# Fetches the jars that a pom.xml names into a directory, and marks it complete.
fetch_jars() {
  local attempt plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
  for attempt in 1 2 3 4; do
    say "fetching the jars from Maven Central, attempt $attempt"
    if mvn -B -q -ntp -f "$1" "$plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$2" >&2; then
      touch "$2/complete"
      return
    fi
    sleep $((attempt * 5))
  done
  say "Maven Central gave no jars; is the network there, and mvn's settings right?"
  return 1
}

# True if the pid file names a live process whose command line has this word, and not a stranger that got its number.
alive() {
  [ -s "$1" ] && tr '\0' '\n' 2>/dev/null <"/proc/$(head -n 1 "$1")/cmdline" | grep -qxF "$2"
}
