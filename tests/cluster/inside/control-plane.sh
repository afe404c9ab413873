# shellcheck shell=bash
# Sourced by main: etcd, API server (with an audit log, which counts each user's requests, and with policies that add to pods what clouds'
# webhooks add), controllers, scheduler.
start etcd "$NODE_BIN/etcd" --data-dir etcd --unsafe-no-fsync
start kube-apiserver "$NODE_BIN/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address "$node_ip" \
  --tls-cert-file pki/server.crt --tls-private-key-file pki/server.key --cert-dir pki --service-cluster-ip-range "$service_net.0/24" \
  --service-account-key-file pki/sa.key --service-account-signing-key-file pki/sa.key --service-account-issuer https://kubernetes.default.svc \
  --token-auth-file pki/tokens.csv --authorization-mode Node,RBAC --allow-privileged --enable-admission-plugins NodeRestriction \
  --feature-gates MutatingAdmissionPolicy=true --runtime-config admissionregistration.k8s.io/v1beta1=true \
  --kubelet-preferred-address-types InternalIP --audit-policy-file "$cluster/node/audit.yaml" --audit-log-path log/audit.log
serves kube-apiserver "$kubectl" get --raw /readyz
start kube-controller-manager "$NODE_BIN/kube-controller-manager" --kubeconfig kubeconfig --leader-elect=false \
  --service-account-private-key-file pki/sa.key --root-ca-file pki/ca.crt --use-service-account-credentials \
  --flex-volume-plugin-dir "$NODE_STATE/kubelet/volume-plugins"
start kube-scheduler "$NODE_BIN/kube-scheduler" --kubeconfig kubeconfig --leader-elect=false
"$kubectl" apply -f "$cluster/node/crds"
