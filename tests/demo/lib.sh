# shellcheck shell=bash
# Sourced by the demo's scripts: which cluster, which images, and how the demo tells what it does.
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$demo/../.." && pwd)
label=app.kubernetes.io/part-of=scribe-demo
export NODE_NAME=demo

# own_node: true when the demo runs on a node of its own; false when KUBECONFIG names a cluster to use.
own_node() { [ -z "${DEMO_CLUSTER:-}" ]; }
if [ -n "${KUBECONFIG:-}" ]; then DEMO_CLUSTER=$KUBECONFIG; fi

bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step() { printf '\n%s==> %s%s  (%d s)\n' "$bold" "$*" "$plain" "$SECONDS"; }
# run COMMAND…: shows a command as a reader would type it, and runs it.
run() {
  local word
  printf '$'
  for word in "$@"; do
    if [[ $word == *[^A-Za-z0-9_./:=,@-]* ]]; then printf " '%s'" "$word"; else printf ' %s' "$word"; fi
  done
  printf '\n'
  "$@"
}

# with_images: what `kubectl kustomize` prints, with the images of this run.
with_images() { sed -e "s|image: localhost/scribe-agent:dev|image: $IMAGE|" -e "s|image: localhost/scribe-demo-database:1|image: $DB_IMAGE|"; }
