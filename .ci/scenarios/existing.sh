# A cluster that exists, as .ci/blackbox sees it: an API server that is nothing else, and two cloudcores with
# no more than the roles of deploy/ allow.

cloudcore_as() { # NUMBER
    "$BIN/cloudcore" --config "$WORK/guest.yaml" --kubeconfig "$WORK/guest.kubeconfig" >>"$WORK/guest$1.log" 2>&1 &
    echo $! >"$WORK/guest$1.pid"
}
account_token() {
    local request='{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":7200}}'
    k create --raw /api/v1/namespaces/kubeedge/serviceaccounts/cloudcore/token -f - <<<"$request" | jq -r .status.token
}
lease_holder() { "$KUBECTL" -n kubeedge get lease cloudcore -o 'jsonpath={.spec.holderIdentity}'; }
lease_is_held() { [[ -n $(lease_holder) ]]; }
lease_is_held_by_another() { [[ -n $(lease_holder) && $(lease_holder) != "$1" ]]; }
stands_by() { grep -q 'standing by' "$WORK/guest$1.log"; }

stop_guests() {
    end_process edge.pid INT
    end_process guest1.pid INT
    end_process guest2.pid INT
    end_process cloud.pid INT
}

# One of two cloudcores serves the cluster, within its roles; the other takes over, and pods go on.
scenario_existing() {
    local first uid
    export KUBECONFIG=$CLOUD/kube-api/kubeconfig
    stop_processes
    mkdir -p "$CLOUD"
    cat >"$CLOUD/cloudcore.yaml" <<EOF
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
database: { dataSource: $CLOUD/cloudcore.db }
kubeAPIServer: { port: $((API_PORT + 1)), directory: $CLOUD/kube-api }
modules: { cloudHub: { enable: false }, edgeController: { enable: false }, syncController: { enable: false }, deviceController: { enable: false } }
EOF
    start_cloud || return 1
    k create namespace kubeedge --dry-run=client -o yaml | k apply -f - || return 1
    k apply -f deploy/beehive/files/rbac.yaml || return 1
    "$BIN/cloudcore" --crds | k apply -f - >/dev/null || return 1
    sed "/client-certificate-data:/d; s/client-key-data: .*/token: $(account_token)/" \
        "$KUBECONFIG" >"$WORK/guest.kubeconfig"
    ! KUBECONFIG=$WORK/guest.kubeconfig k auth can-i delete nodes || fail "the account may do more than its roles" || return 1
    cat >"$WORK/guest.yaml" <<EOF
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
database: { dataSource: $WORK/guest.db }
modules:
  cloudHub:
    advertiseAddress: [$CLOUD_ADDRESS]
    https: { address: $CLOUD_ADDRESS, port: $ENROL_PORT }
    websocket: { address: $CLOUD_ADDRESS, port: $LINK_PORT }
EOF
    cloudcore_as 1
    until_true 20 lease_is_held || return 1
    cloudcore_as 2
    until_true 20 stands_by 2 || return 1
    until_true 20 join_token >/dev/null || return 1
    write_edge "$(join_token)"
    start_edge
    until_true 60 links || { tail -5 "$WORK/edge.log"; return 1; }
    pod first existing | k apply -f - || return 1
    k wait --for=condition=Ready pod/first --timeout=60s || return 1
    uid=$(k get pod first -o 'jsonpath={.metadata.uid}')
    until_true 60 recorded edge pod/first || return 1

    first=$(lease_holder)
    begin=$(date +%s%N)
    end_process guest1.pid KILL
    until_true 40 lease_is_held_by_another "$first" || return 1
    pod second existing | k apply -f - || return 1
    k wait --for=condition=Ready pod/second --timeout=90s || return 1
    say "from the end of one cloudcore to a pod by the other: $(milliseconds "$begin") ms"
    [[ $(k get pod first -o 'jsonpath={.metadata.uid} {.status.phase}') == "$uid Running" ]] || fail "the first pod is another" || return 1

    first=$(lease_holder)
    cloudcore_as 1
    until_true 20 stands_by 1 || return 1
    end_process guest2.pid TERM
    until_true 10 lease_is_held_by_another "$first" || return 1
    k delete pod first second --timeout=60s || return 1
    ! grep -hi forbidden "$WORK"/guest?.log || fail "the roles are too narrow" || return 1
    stop_guests
}
