# The scenarios of .ci/blackbox with cloudcore and edgecore as processes of their own.

CLOUD=$WORK/cloud
EDGE=$WORK/edge
LINK_PORT=${LINK_PORT:-20000}
ENROL_PORT=${ENROL_PORT:-20002}
# Where the broker within edgecore listens, with MQTT_MODE=0.
INTERNAL_PORT=${INTERNAL_PORT:-18840}
CLOUD_ADDRESS=127.0.0.1
# What the processes are started with: a network namespace, or nothing.
IN_CLOUD=()
IN_EDGE=()

write_cloud() {
    mkdir -p "$CLOUD"
    cat >"$CLOUD/cloudcore.yaml" <<EOF
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
database: { dataSource: $CLOUD/cloudcore.db }
log: { level: ${LEVEL:-warn} }
kubeAPIServer: { port: $((API_PORT + 1)), directory: $CLOUD/kube-api }
modules:
  cloudHub:
    advertiseAddress: [$CLOUD_ADDRESS]
    https: { address: $CLOUD_ADDRESS, port: $ENROL_PORT }
    websocket: { address: $CLOUD_ADDRESS, port: $LINK_PORT }
EOF
}

write_edge() {
    mkdir -p "$EDGE"
    cat >"$EDGE/edgecore.yaml" <<EOF
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
database: { dataSource: $EDGE/edgecore.db }
log: { level: ${LEVEL:-warn} }
modules:
  edgeHub:
    httpServer: https://$CLOUD_ADDRESS:$ENROL_PORT
    token: $1
    tlsCaFile: $EDGE/ca.crt
    tlsCertFile: $EDGE/edge.crt
    tlsPrivateKeyFile: $EDGE/edge.key
    websocket: { server: "$CLOUD_ADDRESS:$LINK_PORT" }
  eventBus: { mqttMode: ${MQTT_MODE:-2}, mqttServerInternal: "tcp://127.0.0.1:$INTERNAL_PORT" }
  edged:
    hostnameOverride: edge
    runtime: $RUNTIME
    rootDirectory: $EDGE/kubelet
    tailoredKubeletConfig:
      containerRuntimeEndpoint: unix://$WORK/containerd/run/containerd.sock
      podLogsDir: $EDGE/logs
EOF
}

api_ready() { "$KUBECTL" get --raw /readyz; }
join_token() { "$KUBECTL" -n kubeedge get secret tokensecret -o 'jsonpath={.data.tokendata}' | base64 -d | grep .; }
links() { "$KUBECTL" get node edge -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -x True; }

start_cloud() {
    "${IN_CLOUD[@]}" "$BIN/cloudcore" --config "$CLOUD/cloudcore.yaml" >>"$WORK/cloud.log" 2>&1 &
    echo $! >"$WORK/cloud.pid"
    until_true 30 api_ready || { tail -5 "$WORK/cloud.log"; return 1; }
}

start_edge() {
    "${IN_EDGE[@]}" "$BIN/edgecore" --config "$EDGE/edgecore.yaml" >>"$WORK/edge.log" 2>&1 &
    echo $! >"$WORK/edge.pid"
}

stop_processes() {
    end_process edge.pid INT
    end_process cloud.pid INT
}

# Starts both; the edge joins with the token of the cloud.
start_processes() {
    stop_processes
    export KUBECONFIG=$CLOUD/kube-api/kubeconfig
    local begin
    begin=$(date +%s%N)
    write_cloud
    start_cloud || return 1
    until_true 20 join_token >/dev/null || return 1
    write_edge "$(join_token)"
    start_edge
    until_true 60 links || { tail -5 "$WORK/edge.log"; return 1; }
    say "two processes, from start to node Ready: $(milliseconds "$begin") ms"
}

task_of() { # UID KIND
    local id
    for id in $(ctr_ containers ls -q "labels.\"io.kubernetes.pod.uid\"==$1"); do
        [[ $(ctr_ containers info "$id" | jq -r '.Labels["io.cri-containerd.kind"]') == "$2" ]] || continue
        ! ctr_ tasks ls | grep -E "^$id +[0-9]+ +RUNNING" >/dev/null || echo "$id"
    done
}
runs_again() { [[ -n $(task_of "$1" container) && $(task_of "$1" container) != "$2" ]]; }

# The edge comes back without its cloud: what runs is adopted, what ended meanwhile is started again.
scenario_offline() {
    local name uid
    local -A uids containers
    start_processes || return 1
    k create configmap settings --from-literal=colour=green || return 1
    for name in stays ended gone; do
        pod "$name" offline | sed "s/command: /envFrom: [{ configMapRef: { name: settings } }], command: /" | k apply -f - || return 1
    done
    k wait --for=condition=Ready pod -l app=offline --timeout=60s || return 1
    for name in stays ended gone; do
        uids[$name]=$(k get pod "$name" -o 'jsonpath={.metadata.uid}')
        containers[$name]=$(task_of "${uids[$name]}" container)
    done
    end_process cloud.pid KILL || return 1
    end_process edge.pid KILL || return 1
    ctr_ tasks kill -s KILL "${containers[ended]}" || return 1
    ctr_ tasks kill -s KILL "${containers[gone]}" || return 1
    ctr_ tasks kill -s KILL "$(task_of "${uids[gone]}" sandbox)" || return 1
    start_edge
    for name in ended gone; do
        until_true 60 runs_again "${uids[$name]}" "${containers[$name]}" || return 1
    done
    [[ $(task_of "${uids[stays]}" container) == "${containers[stays]}" ]] || fail "what ran was not adopted" || return 1
    start_cloud || return 1
    until_true 60 links || return 1
    k wait --for=condition=Ready pod -l app=offline --timeout=60s || return 1
    until_true 30 one_of_each app=offline || return 1
    k get pods -o wide
    k delete pods -l app=offline --timeout=60s || return 1
    until_true 30 nothing_left || return 1
    k delete configmap settings || return 1
    stop_processes
}

# Ends one process in the middle of creations, and again with half of the pods running.
kill_in_the_middle() {
    local which=$1 n apply
    start_processes || return 1
    for ((n = 0; n < PODS; n++)); do pod "half-$n" half; echo ---; done >"$WORK/pods.yaml"
    k apply -f "$WORK/pods.yaml" >"$WORK/applied" 2>&1 &
    apply=$!
    until_true 60 grep -q "half-$((PODS / 3)) created" "$WORK/applied" || return 1
    end_process "$which.pid" KILL
    wait "$apply"
    say "acknowledged: $(grep -c created "$WORK/applied")"
    "start_$which" || return 1
    k apply -f "$WORK/pods.yaml" >/dev/null || return 1
    until_true 120 half_running app=half || return 1
    end_process "$which.pid" KILL
    "start_$which" || return 1
    until_true 180 all_running app=half "$PODS" || return 1
    until_true 30 one_of_each app=half || return 1
    k delete pods -l app=half --timeout=110s >/dev/null || fail "deleted in vain: $(k get pods -l app=half -o wide)" || return 1
    until_true 60 nothing_left || return 1
    stop_processes
}

scenario_kill_edge() { kill_in_the_middle edge; }
scenario_kill_cloud() { kill_in_the_middle cloud; }
