# shellcheck shell=bash
# Sourced by tests written in shell: counts claims that hold and claims that do not.
passed=0 failed=0

# check CLAIM COMMAND…: the claim holds when the command succeeds.
check() {
  local claim=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok: $claim"
  else
    failed=$((failed + 1))
    echo "FAILED: $claim"
    return 1
  fi
}
quietly() { "$@" >/dev/null 2>&1; }
not() { ! "$@"; }

# verdict: the closing line, and the exit code that goes with it.
verdict() {
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
