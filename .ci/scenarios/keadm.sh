# keadm's own commands, with the real binaries below a directory of their own.

KEADM=$WORK/keadm
CONFIG=etc/kubeedge/config/edgecore.yaml

keadm_edge_ready() { "$KUBECTL" get node edge-k -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -x True; }

# Prints what the doctor found failed; succeeds if its exit code is the one that is expected.
doctor() { # EXIT-CODE ARGUMENTS
    local expected=$1 status=0
    shift
    "$@" "$BIN/keadm" doctor edge --root "$KEADM/edge" -o json >"$WORK/doctor.json" 2>&1 || status=$?
    jq -r '.[].findings[] | select(.state == "failed") | "\(.check): \(.seen) => \(.todo)"' "$WORK/doctor.json"
    [[ $status -eq $expected ]] || fail "the exit code is $status: $(cat "$WORK/doctor.json")"
}

# Breaks one thing, expects the doctor to name it, and mends it again.
broken() { # TEXT BREAK MEND [COMMAND]
    local found
    "$2" || return 1
    found=$(doctor 1 "${@:4}") || { printf '%s\n' "$found"; "$3"; return 1; }
    "$3" || return 1
    say "$1: $(head -1 <<<"$found")"
    grep -q "$1" <<<"$found" || fail "the doctor does not say $1: $found"
}

no_key() { mv "$KEADM/edge/etc/kubeedge/certs/server.key" "$WORK/key"; }
key_back() { mv "$WORK/key" "$KEADM/edge/etc/kubeedge/certs/server.key"; }
misspelt() { cp -p "$KEADM/edge/$CONFIG" "$WORK/kept.yaml" && sed -i s/httpServer/htpServer/ "$KEADM/edge/$CONFIG"; }
real_runtime() { cp -p "$KEADM/edge/$CONFIG" "$WORK/kept.yaml" && sed -i 's/runtime: hollow/runtime: containerd/; s,/run/containerd/containerd.sock,/nonexistent.sock,' "$KEADM/edge/$CONFIG"; }
config_back() { cp -p "$WORK/kept.yaml" "$KEADM/edge/$CONFIG"; }
cloud_away() { end_process cloud.pid INT; }
cloud_back() { keadm_cloud_up; }

keadm_cloud_up() {
    "$BIN/cloudcore" --config "$KEADM/cloud/etc/kubeedge/config/cloudcore.yaml" >>"$WORK/cloud.log" 2>&1 &
    echo $! >"$WORK/cloud.pid"
    until_true 30 api_ready || return 1
    until_true 30 join_token >/dev/null
}

keadm_join() { # ARGUMENTS
    "$BIN/keadm" join --root "$KEADM/edge" -e "127.0.0.1:$LINK_PORT" -s "$ENROL_PORT" -i edge-k \
        --set modules.edged.runtime=hollow "$@" 2>&1
}

# From nothing to a node that is Ready, through wrong joins, broken machines, and back to nothing.
scenario_keadm() {
    local token out api=$((API_PORT + 2))
    mkdir -p "$KEADM/edge"
    "$BIN/keadm" init --root "$KEADM/cloud" --advertise-address=127.0.0.1 --set "kubeAPIServer.port=$api" \
        --set "modules.cloudHub.https.port=$ENROL_PORT,modules.cloudHub.websocket.port=$LINK_PORT" || return 1
    export KUBECONFIG=$KEADM/cloud/var/lib/kubeedge/kube-api/kubeconfig
    keadm_cloud_up || return 1
    token=$("$BIN/keadm" gettoken --kube-config "$KUBECONFIG") || return 1
    "$BIN/keadm" doctor cloud --root "$KEADM/cloud" || return 1

    for out in "-t x" "-t 0${token:1}" "-t $token --set modules.edgeHub.hartbeat=1" "-t $token --interfacename eth0"; do
        # shellcheck disable=SC2086
        keadm_join $out >"$WORK/join.out" && fail "joined with $out" && return 1
        say "refused: $(tail -1 "$WORK/join.out" | cut -c-160)"
    done
    ENROL_PORT=1 keadm_join -t "$token" >"$WORK/join.out" && fail "joined at another port" && return 1
    grep -q 'let the firewalls pass TCP' "$WORK/join.out" || fail "the port is not named: $(tail -1 "$WORK/join.out")" || return 1
    [[ -z $(ls -A "$KEADM/edge") ]] || fail "a refused join left $(ls -A "$KEADM/edge")" || return 1
    faketime -f +2d "$BIN/keadm" join --root "$KEADM/edge" -e "127.0.0.1:$LINK_PORT" -s "$ENROL_PORT" -i edge-k \
        -t "$token" --set modules.edged.runtime=hollow >"$WORK/join.out" 2>&1 && fail "joined with a wrong clock" && return 1
    grep -q 'ahead of the cloud' "$WORK/join.out" || fail "the clock is not named: $(tail -1 "$WORK/join.out")" || return 1

    keadm_join -t "$token" -l zone=a || return 1
    ! grep -rF "$token" "$KEADM/edge" || fail "the token was written" || return 1
    "$BIN/edgecore" --config "$KEADM/edge/$CONFIG" >>"$WORK/edge.log" 2>&1 &
    echo $! >"$WORK/edge.pid"
    until_true 60 keadm_edge_ready || { tail -5 "$WORK/edge.log"; return 1; }
    [[ $(k get node edge-k -o 'jsonpath={.metadata.labels.zone}') == a ]] || fail "the label is missing" || return 1

    doctor 0 || return 1
    broken 'is not there' no_key key_back || return 1
    broken 'did you mean modules.edgeHub.httpServer' misspelt config_back || return 1
    broken 'nonexistent.sock' real_runtime config_back || return 1
    broken 'Connection refused' cloud_away cloud_back || return 1
    broken 'ended at' true true faketime -f +400d || return 1
    doctor 0 || return 1

    end_process edge.pid INT
    echo n | "$BIN/keadm" reset edge --root "$KEADM/edge" && fail "reset without consent" && return 1
    "$BIN/keadm" reset edge --root "$KEADM/edge" --force || return 1
    [[ ! -e $KEADM/edge/etc/kubeedge && ! -e $KEADM/edge/var/lib/kubeedge ]] || fail "reset left files" || return 1
    keadm_join -t "$token" >"$WORK/join.out" && fail "the name is taken" && return 1
    grep -q 'the cluster has a node edge-k already' "$WORK/join.out" || return 1
    keadm_join -t "$token" --rejoin || return 1
    end_process cloud.pid INT
    "$BIN/keadm" reset cloud --root "$KEADM/cloud" --force || return 1
    [[ ! -e $KEADM/cloud/var/lib/kubeedge ]] || fail "reset left the cluster"
}
