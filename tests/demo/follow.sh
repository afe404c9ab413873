# shellcheck shell=bash
# Sourced by run: waits for things, and shows what happens meanwhile.

# until_true SECONDS WHAT-IS-WRONG COMMAND…
until_true() {
  local deadline=$((SECONDS + $1)) wrong=$2
  shift 2
  until "$@"; do
    if ((SECONDS >= deadline)); then
      echo "$wrong" >&2
      return 1
    fi
    sleep 0.3
  done
}

# state NAMESPACE OBJECT: what the object is doing, and which children it has right now, in one line.
state() {
  kubectl -n "$1" get "$2" -o jsonpath='{range .status.conditions[?(@.type=="Synchronizing")]}{.reason}: {.message}{end}'
  kubectl -n "$1" get volumesnapshots,persistentvolumeclaims,jobs -o name |
    sed -n 's#^\([a-z]*\)[^/]*/\(scribe-.*\)#\1 \2#p' | paste -sd, | sed 's/,/, /g; s/..*/  [&]/'
}

# moved NAMESPACE OBJECT: how many bytes its last sync moved, and those of the volume.
moved() {
  local bytes transferred sent
  IFS=, read -r bytes transferred sent < <(kubectl -n "$1" get "$2" -o jsonpath='{.status.bytes},{.status.transferred},{.status.sent}{"\n"}')
  printf '  %4d s  %s: this sync moved %s bytes, of %s in the volume%s\n' "$SECONDS" "$1" "$transferred" "$bytes" \
    "${sent:+; as they were sent, compressed and with what describes them: $sent}"
}

# follow NAMESPACE OBJECT JSONPATH VALUE: shows every change of the object's state until the field has the value (an empty
# one: any), which is then in $followed. Fails after 5 minutes, with what the cluster has to say.
follow() {
  local namespace=$1 object=$2 path=$3 value=$4 last='' now deadline=$((SECONDS + 300))
  while true; do
    followed=$(kubectl -n "$namespace" get "$object" -o jsonpath="$path")
    now=$(state "$namespace" "$object")
    if [ "$now" != "$last" ]; then
      printf '  %4d s  %s: %s\n' "$SECONDS" "$namespace" "$now"
      last=$now
    fi
    if [ -n "$followed" ] && { [ -z "$value" ] || [ "$followed" = "$value" ]; }; then return; fi
    if ((SECONDS >= deadline)); then
      echo "$object in $namespace has not come so far:" >&2
      kubectl -n "$namespace" describe "$object" >&2
      kubectl -n "$namespace" get pods,jobs,persistentvolumeclaims,volumesnapshots >&2
      kubectl -n "$namespace" logs deployment/scribe-agent --tail=15 >&2
      return 1
    fi
    sleep 0.2
  done
}
