# shellcheck shell=bash
# Sourced by all.sh and .ci/run: runs steps, prints a line for each, counts them.
# The counts start from the environment, so that a script can hand its own on to the next.
PASSED=${PASSED:-0} FAILED=${FAILED:-0} SKIPPED=${SKIPPED:-0}
PATH=$PATH:/usr/sbin # where Debian keeps haproxy

# step NAME COMMAND…: ok, FAIL (with the end of what it printed), or skipped, if its last line is "skipped: why".
step() {
  local name=$1 output result started=$SECONDS
  shift
  output=$(mktemp)
  "$@" >"$output" 2>&1 </dev/null
  result=$?
  if [ $result != 0 ]; then
    FAILED=$((FAILED + 1))
    echo "FAIL     $name (exit $result, $((SECONDS - started)) s); it ended with:"
    tail -n 60 "$output" | sed 's/^/         | /'
  elif tail -n 1 "$output" | grep -q '^skipped: '; then
    skip "$name" "$(tail -n 1 "$output" | cut -d' ' -f2-)"
  else
    PASSED=$((PASSED + 1))
    echo "ok       $name ($((SECONDS - started)) s)"
  fi
  rm -f "$output"
  return $result
}

# skip NAME WHY
skip() {
  SKIPPED=$((SKIPPED + 1))
  echo "skipped  $1 ($2)"
}

# finish: the closing line; fails if a step did.
finish() {
  echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
  [ "$FAILED" = 0 ]
}

# missing COMMAND…: true, naming those that are not installed, if there are any.
missing() {
  local command names=
  for command; do command -v "$command" >/dev/null || names="$names $command"; done
  [ -n "$names" ] && echo "not installed:$names"
}
