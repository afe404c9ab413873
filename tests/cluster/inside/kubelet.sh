# shellcheck shell=bash
# Sourced by main: kubelet, kube-proxy, CoreDNS.
: >resolv.conf # pods get the cluster's DNS only, none of this machine's
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$NODE_STATE/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$node
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: [$node_ip]
clusterDomain: cluster.local
resolvConf: $NODE_STATE/resolv.conf
podLogsDir: $NODE_STATE/pod-logs
volumePluginDir: $NODE_STATE/kubelet/volume-plugins
syncFrequency: 5s
# A killed container is started again within about 15 s instead of up to 300, for tests that kill.
featureGates: {KubeletCrashLoopBackOffMax: true}
crashLoopBackOff: {maxContainerRestartPeriod: 1s}
YAML
start kubelet "$NODE_BIN/kubelet" --config kubelet.yaml --kubeconfig kubelet.kubeconfig --root-dir "$NODE_STATE/kubelet" \
  --node-ip "$node_ip" --hostname-override "$node" --cert-dir pki/kubelet
start kube-proxy "$NODE_BIN/kube-proxy" --kubeconfig kubeconfig --hostname-override "$node" --cluster-cidr "$pod_net.0/24" \
  --proxy-mode iptables --conntrack-max-per-core 0
# A name outside the cluster does not exist, and a pod learns so at once.
cat >Corefile <<CONF
cluster.local in-addr.arpa {
  bind $node_ip
  kubernetes {
    kubeconfig $NODE_STATE/kubeconfig
  }
  errors
}
. {
  bind $node_ip
  template ANY ANY {
    rcode NXDOMAIN
  }
}
CONF
start coredns "$NODE_BIN/coredns" -conf Corefile
