# shellcheck shell=bash
# Sourced by the node's commands: who this node is, and where its things are. Everything that two nodes on one machine
# could fight over is derived from NODE_NAME, so that the demo's node and the tests' node may run side by side.
export NODE_NAME=${NODE_NAME:-test}
if ! [[ $NODE_NAME =~ ^[a-z][a-z0-9]{0,7}$ ]]; then
  echo "node: NODE_NAME must be at most 8 lower-case letters and digits (it names a network link): $NODE_NAME" >&2
  exit 2
fi
export NODE_BIN=${NODE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/scribe-node/bin}
export NODE_ROOT=${NODE_ROOT:-/var/tmp/scribe-node}
NODE_STATE=$NODE_ROOT/$NODE_NAME

# One number a node: its /24 networks differ in it alone.
case $NODE_NAME in
  test) number=1 ;;
  demo) number=2 ;;
  *) number=$((10 + $(cksum <<<"$NODE_NAME" | cut -d' ' -f1) % 240)) ;;
esac
# shellcheck disable=SC2034 # used by the scripts that source this file
{
  cluster=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  node=scribe-$NODE_NAME     # the Kubernetes node's name, and its network namespace's, link's and cgroup's
  host_ip=10.99.$number.1    # this machine's end of the link
  node_ip=10.99.$number.2    # the node's end: API server, DNS
  pod_net=10.244.$number     # pods; this machine reaches them through the node
  service_net=10.96.$number  # services
  kubectl=$NODE_BIN/kubectl
}

say() { echo "node $NODE_NAME: $*"; }

# await SECONDS WHAT COMMAND…: until the command succeeds, or fail and say what did not come.
await() {
  local seconds=$1 what=$2 deadline
  shift 2
  deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      echo "node $NODE_NAME: waited $seconds s in vain: $what" >&2
      return 1
    fi
    sleep 0.1
  done
}
