# shellcheck shell=bash
# Sourced by main: two CSI drivers that snapshot and clone, each with its sidecars, on purpose of two kinds.
# csi-btrfs (the default class): atomic, inodes and ctimes kept, capacity enforced, as block storage does.
# csi-hostpath (upstream's reference driver): a snapshot is a tar, a clone a copy: new inodes, times cut to the second.
sidecars() { # driver, its socket
  start "csi-provisioner-$1" "$NODE_BIN/csi-provisioner" --kubeconfig kubeconfig --csi-address "$2" --feature-gates=Topology=true --http-endpoint="" \
    --snapshot-orphan-sweep-interval=5s # a finalizer lost in a race is otherwise swept after five minutes
  start "csi-snapshotter-$1" "$NODE_BIN/csi-snapshotter" --kubeconfig kubeconfig --csi-address "$2"
}

"$kubectl" wait --for=condition=Established --timeout=30s crd --all
start snapshot-controller "$NODE_BIN/snapshot-controller" --kubeconfig kubeconfig

socket=$NODE_STATE/kubelet/plugins/hostpath/csi.sock
start hostpathplugin "$NODE_BIN/hostpathplugin" --drivername hostpath.csi.k8s.io --endpoint "unix://$socket" --nodeid "$node" --statedir "$NODE_STATE/csi"
serves hostpathplugin test -S "$socket"
start registrar "$NODE_BIN/registrar" -endpoint "$socket" -registry "$NODE_STATE/kubelet/plugins_registry"
sidecars hostpath "$socket"

socket=$NODE_STATE/kubelet/plugins/btrfs/csi.sock
truncate -s "${NODE_BTRFS_SIZE:-16G}" btrfs.img
mkfs.btrfs -q btrfs.img >/dev/null
mount -o loop btrfs.img btrfs
btrfs quota enable btrfs
# Without this, the kernel stops counting for good once a large volume is deleted (from a tree of three levels on), and no capacity is enforced any more.
uuid=$(btrfs filesystem show --raw btrfs | sed -n 's/.* uuid: //p')
threshold=/sys/fs/btrfs/$uuid/qgroups/drop_subtree_threshold
if [ -w "$threshold" ]; then echo 8 >"$threshold"; fi
start btrfsplugin "$NODE_BIN/btrfsplugin" -root "$NODE_STATE/btrfs" -node "$node" -socket "$socket" -registry "$NODE_STATE/kubelet/plugins_registry"
serves btrfsplugin test -S "$socket"
sidecars btrfs "$socket"

"$kubectl" apply -f "$cluster/node/storage.yaml"
