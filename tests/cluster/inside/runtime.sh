# shellcheck shell=bash
# Sourced by main: containerd with the CNI bridge, and the import of the images given to `up`, beside what follows.
cat >containerd.toml <<TOML
version = 2
root = "$NODE_STATE/containerd"
state = "$NODE_STATE/containerd-run"
[grpc]
  address = "$NODE_STATE/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$NODE_STATE/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # Without CAP_SYS_RESOURCE, as in many sandboxes, runc may not lower a container's OOM score.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE_STATE/cni"
TOML
cat >cni/10-pods.conflist <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$NODE_STATE/cni/ipam", "ranges": [[{"subnet": "$pod_net.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
start containerd containerd -c containerd.toml
serves containerd ctr -a containerd.sock version
"$cluster/load" "$@" >log/images.log 2>&1 &
# shellcheck disable=SC2034 # main waits for it
importing=$!
