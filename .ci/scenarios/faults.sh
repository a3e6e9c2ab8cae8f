# The scenarios of .ci/blackbox in which the machine fails around real processes: the network, the disk, the
# clock, and the processes themselves. Cloud and edge stand in network namespaces of their own, with a cable
# between them that the scenarios cut.

NET=bee$$
CLOUD_NET=$NET-c
EDGE_NET=$NET-e

faults_up() {
    CLOUD_ADDRESS=10.231.7.1
    ip netns add "$CLOUD_NET" && ip netns add "$EDGE_NET" || return 1
    ip link add c0 netns "$CLOUD_NET" type veth peer name e0 netns "$EDGE_NET" || return 1
    ip -n "$CLOUD_NET" addr add "$CLOUD_ADDRESS/24" dev c0
    ip -n "$EDGE_NET" addr add 10.231.7.2/24 dev e0
    local net
    for net in "$CLOUD_NET:c0" "$EDGE_NET:e0"; do
        ip -n "${net%:*}" link set lo up
        ip -n "${net%:*}" link set "${net#*:}" up
    done
    IN_CLOUD=(ip netns exec "$CLOUD_NET")
    IN_EDGE=(ip netns exec "$EDGE_NET")
    printf '#!/bin/sh\nexec ip netns exec %s %s "$@"\n' "$CLOUD_NET" "$KUBECTL" >"$WORK/kubectl"
    chmod +x "$WORK/kubectl"
    KUBECTL=$WORK/kubectl
    start_processes
}

faults_down() {
    stop_processes
    ip netns del "$CLOUD_NET" 2>/dev/null
    ip netns del "$EDGE_NET" 2>/dev/null
    ! mountpoint -q "$EDGE/disk" || umount "$EDGE/disk"
}

seconds_since() { awk "BEGIN { printf \"%.1f\", ($(date +%s%N) - $1) / 1e9 }"; }
ready_is() { "$KUBECTL" get node edge -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx "$1"; }
renewed() { "$KUBECTL" -n kube-node-lease get lease edge -o 'jsonpath={.spec.renewTime}'; }
renewed_after() { [[ $(renewed) > "$1" ]]; }
restarts() { "$KUBECTL" get pods -l "$1" -o 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort -u; }

# Makes pods and waits until they run.
pods_run() { # LABEL COUNT
    local n
    for ((n = 0; n < $2; n++)); do pod "$1-$n" "$1"; echo ---; done | k apply -f - >/dev/null || return 1
    until_true 60 all_running "app=$1" "$2"
}
pods_go() {
    k delete pods -l "app=$1" --timeout=100s >/dev/null || return 1
    until_true 30 none_left "app=$1"
}

# While the path is broken by `$1` and until `$2` mends it, the node turns NotReady, its pods stay, and what
# is changed meanwhile arrives afterwards.
path_breaks() {
    local begin
    pods_run path 5 || return 1
    begin=$(date +%s%N)
    "$1" || return 1
    k create configmap "late" --from-literal=a=1 || return 1
    until_true 60 ready_is Unknown || return 1
    say "$1: the node was found silent after $(seconds_since "$begin") s"
    pod "path-9" path | k apply -f - || return 1
    sleep "${OUTAGE:-5}"
    begin=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    local since
    since=$(date +%s%N)
    "$2" || return 1
    until_true 20 renewed_after "$begin" || return 1
    say "$1: the node was heard again $(seconds_since "$since") s after the path came back"
    until_true 20 ready_is True || return 1
    until_true 30 all_running app=path 6 || return 1
    [[ $(restarts app=path) == 0 ]] || fail "a container was started again: $(restarts app=path)" || return 1
    k delete configmap late || return 1
    pods_go path
}

cable_out() { ip -n "$CLOUD_NET" link set c0 down; }
cable_in() { ip -n "$CLOUD_NET" link set c0 up; }
half_open() { ip netns exec "$CLOUD_NET" iptables -A INPUT -i c0 -j DROP; }
deaf() { ip netns exec "$EDGE_NET" iptables -A INPUT -i e0 -j DROP; }
open_again() { ip netns exec "$CLOUD_NET" iptables -F INPUT && ip netns exec "$EDGE_NET" iptables -F INPUT; }

scenario_cut() { path_breaks cable_out cable_in; }
scenario_half_open() { path_breaks half_open open_again && path_breaks deaf open_again; }

narrow() { ip netns exec "$CLOUD_NET" tc qdisc "$1" dev c0 root "${@:2}"; }

# A path of 64 kbit/s: what is changed takes minutes, and the lease must not wait behind it.
scenario_slow() {
    local status=0
    narrow add tbf rate 64kbit burst 4kb latency 500ms || return 1
    much_on_little || status=1
    narrow del
    ((status == 0)) || return 1
    until_true 60 all_running app=bulk 40 || return 1
    pods_go bulk || return 1
    for ((n = 0; n < 40; n++)); do echo "configmap/bulk-$n"; done | xargs "$KUBECTL" delete >/dev/null
}

much_on_little() {
    local n worst=0 age
    head -c 8000 /dev/urandom | base64 -w0 >"$WORK/bulk"
    for ((n = 0; n < 40; n++)); do
        k create configmap "bulk-$n" --from-file=bulk="$WORK/bulk" >/dev/null || return 1
        pod "bulk-$n" bulk | sed "s/command: /envFrom: [{ configMapRef: { name: bulk-$n } }], command: /" | k apply -f - >/dev/null || return 1
    done
    for ((n = 0; n < 30; n++)); do
        sleep 1
        age=$(($(date +%s) - $(date -d "$(renewed)" +%s)))
        ((age <= worst)) || worst=$age
    done
    say "while a megabyte was under way at 64 kbit/s the lease was at most $worst s old"
    ready_is True || fail "the node is not Ready on a slow path" || return 1
    ((worst <= 15)) || fail "a lease waited behind data" || return 1
}

# A process that stands still is found silent and goes on where it stood.
scenario_stopped() {
    local begin
    pods_run still 5 || return 1
    kill -STOP "$(cat "$WORK/edge.pid")"
    until_true 60 ready_is Unknown || return 1
    begin=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    kill -CONT "$(cat "$WORK/edge.pid")"
    until_true 20 renewed_after "$begin" || return 1
    until_true 20 ready_is True || return 1
    [[ $(restarts app=still) == 0 ]] || fail "a container was started again" || return 1
    kill -STOP "$(cat "$WORK/cloud.pid")"
    sleep 15
    kill -CONT "$(cat "$WORK/cloud.pid")"
    begin=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    until_true 20 renewed_after "$begin" || return 1
    [[ $(restarts app=still) == 0 ]] || fail "a container was started again" || return 1
    pods_go still
}

# kill -9 of edgecore under a stream of writes, ROUNDS times; then without its cloud it must still have all
# that it had acknowledged.
scenario_kill_loop() {
    local rounds=${ROUNDS:-10} round begin at times=() writer
    pods_run loop 10 || return 1
    for ((round = 0; round < rounds; round++)); do
        k label pods -l app=loop "round=$round" --overwrite >/dev/null &
        writer=$!
        sleep "0.$((RANDOM % 900 + 100))"
        end_process edge.pid KILL || return 1
        wait "$writer" || return 1
        begin=$(date +%s%N)
        at=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
        start_edge
        until_true 30 renewed_after "$at" || return 1
        times+=("$(seconds_since "$begin")")
    done
    say "$rounds kills; from start to the first lease, median: $(printf '%s\n' "${times[@]}" | sort -n | sed -n "$(((rounds + 1) / 2))p") s"
    until_true 60 all_running app=loop 10 || return 1
    # The cloud has seen all pods running, so the node holds them all: now alone.
    end_process cloud.pid KILL || return 1
    end_process edge.pid KILL || return 1
    sed -i 's/^log:.*/log: { level: info }/' "$EDGE/edgecore.yaml"
    : >"$WORK/edge.log"
    start_edge
    until_true 30 grep -q "the node's pods were listed .*pods=10" "$WORK/edge.log" || return 1
    sleep 10
    ! grep -E 'could not be made|did not start|ERROR' "$WORK/edge.log" || fail "a pod does not start without the cloud" || return 1
    start_cloud || return 1
    until_true 60 ready_is True || return 1
    until_true 60 all_running app=loop 10 || return 1
    pods_go loop || return 1
    sed -i 's/^log:.*/log: { level: warn }/' "$EDGE/edgecore.yaml"
}

# The disk of the node's store fills up: nothing is acknowledged that is not kept, what runs goes on, and all
# arrives once there is room, without a restart: the store opens itself anew.
scenario_disk_full() {
    local n
    end_process edge.pid INT || return 1
    mkdir -p "$EDGE/disk"
    mount -t tmpfs -o size=12m none "$EDGE/disk" || return 1
    sed "s|^database:.*|database: { dataSource: $EDGE/disk/edgecore.db }|" -i "$EDGE/edgecore.yaml"
    start_edge
    pods_run full 3 || return 1
    head -c 100m /dev/zero >"$EDGE/disk/ballast" 2>/dev/null
    say "room left: $(df --output=avail -B1 "$EDGE/disk" | tail -1) bytes"
    head -c 100000 /dev/urandom | base64 -w0 >"$WORK/bulk"
    for ((n = 0; n < 10; n++)); do
        k create configmap "fat-$n" --from-file=bulk="$WORK/bulk" >/dev/null || return 1
        pod "full-$((n + 3))" full | sed "s/command: /envFrom: [{ configMapRef: { name: fat-$n } }], command: /" | k apply -f - >/dev/null || return 1
    done
    sleep 20
    say "Running with a full disk: $(phase_count app=full Running) of 13"
    ready_is True || say "the node is not Ready"
    ! gone "$(cat "$WORK/edge.pid")" || fail "edgecore has ended" || return 1
    rm "$EDGE/disk/ballast"
    until_true 90 all_running app=full 13 || return 1
    ! gone "$(cat "$WORK/edge.pid")" || fail "edgecore has ended" || return 1
    [[ $(restarts app=full) == 0 ]] || fail "a container was started again" || return 1
    no_panic "$WORK/edge.log" || return 1
    pods_go full || return 1
    for ((n = 0; n < 10; n++)); do echo "configmap/fat-$n"; done | xargs "$KUBECTL" delete >/dev/null
    end_process edge.pid INT || return 1
    umount "$EDGE/disk"
    write_edge "$(join_token)"
    start_edge
    until_true 60 ready_is True
}

# The node's clock jumps by an hour, ahead and back.
scenario_clock() {
    local library jump
    library=$(find /usr/lib -name libfaketime.so.1 | head -1)
    [[ -n $library ]] || fail "libfaketime is not installed" || return 1
    end_process edge.pid INT || return 1
    echo "+0" >"$WORK/clock"
    LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$WORK/clock FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 start_edge
    until_true 60 ready_is True || return 1
    pods_run clock 5 || return 1
    for jump in +1h -1h +0; do
        echo "$jump" >"$WORK/clock"
        pod "clock-$jump" clock | sed "s/clock-+/clock-p/; s/name: clock--/name: clock-m/" | k apply -f - || return 1
        sleep 12
        ready_is True || fail "the node is not Ready after the jump $jump" || return 1
        until_true 60 all_running app=clock "$(k get pods -l app=clock -o name | wc -l)" || return 1
        [[ $(restarts app=clock) == 0 ]] || fail "a container was started again" || return 1
    done
    pods_go clock || return 1
    end_process edge.pid INT || return 1
    start_edge
    until_true 60 ready_is True
}

# Connections of the edge so far, over QUIC or WebSocket.
connections() { grep -c "connected to the cloud .*transport=$1" "$WORK/edge.log"; }
connected_over() { [[ $(connections "$1") -ge 1 ]]; }

# A node over QUIC keeps its session when its address changes, and goes on over WebSocket when UDP is dropped.
scenario_quic() {
    local status=0
    stop_processes
    : >"$WORK/edge.log"
    LEVEL=info write_cloud
    LEVEL=info write_edge "$(sed -n 's/^ *token: //p' "$EDGE/edgecore.yaml")"
    sed -i "s/^    websocket: .*/&\n    quic: { enable: true, address: $CLOUD_ADDRESS }/" "$CLOUD/cloudcore.yaml"
    sed -i "s/^    websocket: .*/&\n    quic: { enable: true, server: \"$CLOUD_ADDRESS:10001\" }/" "$EDGE/edgecore.yaml"
    address_changes_and_udp_goes || status=1
    open_again
    ip -n "$EDGE_NET" addr flush dev e0
    ip -n "$EDGE_NET" addr add 10.231.7.2/24 dev e0
    start_processes || return 1
    return "$status"
}

address_changes_and_udp_goes() {
    local at begin
    start_cloud || return 1
    start_edge
    until_true 30 connected_over QUIC || return 1
    at=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    until_true 30 renewed_after "$at" || return 1
    ip -n "$EDGE_NET" addr flush dev e0
    ip -n "$EDGE_NET" addr add 10.231.7.3/24 dev e0
    sleep 15
    at=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    until_true 20 renewed_after "$at" || return 1
    [[ $(connections QUIC) == 1 && $(connections WebSocket) == 0 ]] || fail "the session did not outlive its address" || return 1
    begin=$(date +%s%N)
    ip netns exec "$CLOUD_NET" iptables -A INPUT -i c0 -p udp -j DROP
    until_true 40 connected_over WebSocket || return 1
    say "WebSocket is there $(seconds_since "$begin") s after UDP was dropped"
    at=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    until_true 20 renewed_after "$at" || return 1
    ready_is True || fail "the node is not Ready" || return 1
    end_process cloud.pid INT || return 1
    start_cloud || return 1
    until_true 40 ready_is True || return 1
    at=$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)
    until_true 20 renewed_after "$at" || return 1
    # Once for each time that QUIC was what the dial began with.
    [[ $(grep -c 'another transport is tried.*transport=QUIC' "$WORK/edge.log") == 1 ]] ||
        fail "QUIC is waited for at each reconnect" || return 1
}
