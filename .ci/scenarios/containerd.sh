# The scenarios of .ci/blackbox that need containerd. They run a containerd of their own.

ctr_() { ctr --address "$WORK/containerd/run/containerd.sock" -n k8s.io "$@"; }
no_containers() { [[ -z $(ctr_ containers ls -q) ]]; }
bridge() { jq -r .name "$WORK/containerd/cni/10-beehive.conflist"; }
mounts() { awk -v dir="$1/" 'index($2, dir) == 1 { print $2 }' /proc/mounts; }
milliseconds() { echo $((($(date +%s%N) - $1) / 1000000)); }

clean_containerd() {
    local mounted
    .ci/containerd.sh purge "$WORK/containerd" >/dev/null 2>&1
    # What pods that were not deleted had in memory.
    mounts "$WORK" | sort -r | while read -r mounted; do umount "$mounted"; done
}

# Prints `UID KIND STATE` of everything that the runtime holds: a sandbox or a container each.
held() {
    local id states
    states=$(ctr_ tasks ls)
    for id in $(ctr_ containers ls -q); do
        ctr_ containers info "$id" | jq -r --arg state "$(awk -v id="$id" '$1 == id { print $3 }' <<<"$states")" \
            '[.Labels["io.kubernetes.pod.uid"], .Labels["io.cri-containerd.kind"],
                if $state == "RUNNING" then $state else "ENDED" end] | join(" ")'
    done | sort
}

# Prints `UID container STATE` and `UID sandbox STATE` for each pod of the label that jq selects.
wanted() {
    "$KUBECTL" get pods -l "$1" -o json | jq -r --arg state "$2" ".items[] | select($3) | .metadata.uid |
        \"\(.) container \(\$state)\", \"\(.) sandbox \(\$state)\"" | sort
}

# One running sandbox and one running container per pod of the label, and nothing else but the last ended
# container of those that were started again, with its sandbox, which stays for `kubectl logs --previous`.
one_of_each() {
    local held
    held=$(held)
    diff <(wanted "$1" RUNNING true) <(grep RUNNING <<<"$held") || return 1
    [[ -z $(comm -13 <(wanted "$1" ENDED '.status.containerStatuses[0].restartCount > 0') <(grep ENDED <<<"$held")) ]] ||
        fail "ended ones: $(grep ENDED <<<"$held")"
}

# No container, no interface, no address translation, no mount and no directory of a pod.
nothing_left() {
    local left=()
    left+=($(ctr_ containers ls -q) $(ctr_ tasks ls -q) $(ctr_ snapshots ls | awk '$3 == "Active" { print $1 }'))
    left+=($(ip -o link show master "$(bridge)" | awk '{ print $2 }'))
    left+=($(iptables -w -t nat -S 2>/dev/null | grep -F "name: \\\"$(bridge)\\\""))
    left+=($(mounts "$WORK"))
    left+=($(find "$DATA" "$WORK/edge" -mindepth 2 \( -path '*/kubelet/pods/*' -o -path '*/logs/*' \) -prune -print 2>/dev/null))
    ((${#left[@]} == 0)) || fail "left behind: ${left[*]}"
}

log_has() { [[ $("$KUBECTL" logs "$1" | grep -c "$2") -gt 0 ]]; }
restarted() { [[ $("$KUBECTL" get pod "$1" -o 'jsonpath={.status.containerStatuses[0].restartCount}') -ge $2 ]]; }
waits_because() { [[ $("$KUBECTL" get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.waiting.reason}') == "$2" ]]; }

scenario_container() {
    local begin
    k create configmap settings --from-literal=colour=green || return 1
    k create secret generic login --from-literal=password=honey || return 1
    begin=$(date +%s%N)
    k apply -f - <<EOF || return 1
apiVersion: v1
kind: Pod
metadata: { name: real, labels: { app: real } }
spec:
  terminationGracePeriodSeconds: 1
  tolerations: [{ operator: Exists }]
  containers:
  - name: c
    image: $IMAGE
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'echo "password \$PASSWORD"; while :; do cat /settings/colour; echo; sleep 1; done']
    env: [{ name: PASSWORD, valueFrom: { secretKeyRef: { name: login, key: password } } }]
    volumeMounts: [{ name: settings, mountPath: /settings }]
  volumes: [{ name: settings, configMap: { name: settings } }]
EOF
    k wait --for=condition=Ready pod/real --timeout=60s || return 1
    say "from apply to Ready: $(milliseconds "$begin") ms"
    one_of_each app=real || return 1
    until_true 20 log_has real 'password honey' || return 1
    until_true 20 log_has real '^green$' || return 1
    begin=$(date +%s%N)
    k patch configmap settings --type=merge -p '{"data":{"colour":"blue"}}' || return 1
    until_true 60 log_has real '^blue$' || return 1
    say "from the configmap's change to the container's log: $(milliseconds "$begin") ms"
    [[ $(k logs real --tail=1) == blue ]] || fail "--tail" || return 1
    timeout 4 "$KUBECTL" logs -f real --tail=1 >"$WORK/followed"
    [[ $(wc -l <"$WORK/followed") -ge 2 ]] || fail "logs -f did not follow" || return 1
    k delete pod real --timeout=60s || return 1
    until_true 30 nothing_left || return 1
    k delete configmap/settings secret/login
}

scenario_many() {
    local n begin
    for ((n = 0; n < PODS; n++)); do pod "many-$n" many; echo ---; done >"$WORK/pods.yaml"
    begin=$(date +%s%N)
    k apply -f "$WORK/pods.yaml" >/dev/null || return 1
    say "$PODS pods accepted: $(milliseconds "$begin") ms"
    until_true 180 all_running app=many "$PODS" || return 1
    say "$PODS pods Running: $(milliseconds "$begin") ms"
    one_of_each app=many || return 1
    begin=$(date +%s%N)
    k delete pods -l app=many --timeout=180s >/dev/null || return 1
    say "$PODS pods deleted: $(milliseconds "$begin") ms"
    until_true 30 nothing_left
}

scenario_crash() {
    pod crash crash | sed "s/command: .*/command: [sh, -c, 'echo bye; exit 7'] }/" | k apply -f - || return 1
    until_true 60 restarted crash 2 || return 1
    until_true 60 waits_because crash CrashLoopBackOff || return 1
    k describe pod crash >"$WORK/described"
    grep -Eq 'Reason: +CrashLoopBackOff' "$WORK/described" || fail "describe has no CrashLoopBackOff" || return 1
    grep -Eq 'Exit Code: +7' "$WORK/described" || fail "describe has no exit code" || return 1
    until_true 20 sh -c "'$KUBECTL' describe pod crash | grep -E 'Warning +BackOff .*Back-off restarting failed container c '" || return 1
    [[ $(k logs crash --previous) == bye ]] || fail "--previous" || return 1
    k delete pod crash --timeout=60s || return 1
    until_true 30 nothing_left
}
