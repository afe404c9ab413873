# shellcheck shell=bash
# Sourced by main: a CA, the API server's certificate, the service accounts' key, and two users with tokens.
# The API server's self-made certificate is a CA used as an end entity, which rustls refuses: hence a proper CA.
{
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=node-ca -keyout pki/ca.key -out pki/ca.crt
  openssl req -newkey rsa:2048 -nodes -subj /CN=kube-apiserver -keyout pki/server.key -out pki/server.csr
  openssl x509 -req -in pki/server.csr -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 365 -out pki/server.crt -extfile <(
    echo "basicConstraints=CA:FALSE"
    echo "extendedKeyUsage=serverAuth"
    echo "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$service_net.1,IP:$node_ip"
  )
  openssl genrsa -out pki/sa.key 2048
} >log/certificates.log 2>&1
printf '%s\n' 'admin-token,admin,admin,system:masters' "node-token,system:node:$node,node,system:nodes" >pki/tokens.csv

write_kubeconfig() { # token, file
  printf '%s\n' 'apiVersion: v1' 'kind: Config' "current-context: $node" \
    "clusters: [{name: $node, cluster: {server: 'https://$node_ip:6443', certificate-authority-data: $(base64 -w0 pki/ca.crt)}}]" \
    "users: [{name: user, user: {token: $1}}]" \
    "contexts: [{name: $node, context: {cluster: $node, user: user}}]" >"$2"
}
write_kubeconfig admin-token kubeconfig
write_kubeconfig node-token kubelet.kubeconfig
export KUBECONFIG=$NODE_STATE/kubeconfig
