# shellcheck shell=bash
# Sourced by main: makes this mount and network namespace look like a machine of its own, so that nothing the node's
# parts write at places that cannot be configured reaches the real machine.

# Slave: an unmount outside is followed in here, so this node pins no other node's network namespace. Shared: mounts
# made by the CSI drivers are seen in the pods.
mount --make-rslave /
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run      # CNI's namespace files, containerd's shim sockets, the iptables lock
mkdir -p /run/lock
mount -t tmpfs -o mode=755 tmpfs /var/log  # the kubelet's links to pods' logs
mkdir -p var-lib/upper var-lib/work        # CNI's result cache, the kubelet's device plugin socket
mount -t overlay -o "lowerdir=/var/lib,upperdir=$NODE_STATE/var-lib/upper,workdir=$NODE_STATE/var-lib/work" overlay /var/lib

# The kubelet sets these for the whole machine and fails if it cannot: let it find files that hold its values already.
tunable() {
  echo "$2" >"sysctl/${1//\//.}"
  mount --bind "sysctl/${1//\//.}" "/proc/sys/$1"
}
mkdir -p sysctl
tunable vm/overcommit_memory 1
tunable vm/panic_on_oom 0
tunable kernel/panic 10
tunable kernel/panic_on_oops 1
tunable kernel/keys/root_maxkeys 1000000
tunable kernel/keys/root_maxbytes 25000000

hostname "$node"
ip link set lo up
ip addr add "$node_ip/24" dev node0
ip link set node0 up
# No default route: what is not of this node cannot be reached, and says so at once. Only the services' addresses,
# which kube-proxy rewrites, need a route that is looked up before they are.
ip route add "$service_net.0/24" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

# A cgroup of this node's own: in every hierarchy (version 1), or in the only one (version 2).
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$node"
else
  for hierarchy in /sys/fs/cgroup/*/cgroup.procs; do mkdir -p "${hierarchy%/*}/$node"; done
fi
