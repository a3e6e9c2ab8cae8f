# The scenarios of .ci/blackbox that do what nobody should: bad bytes, damaged files, wrong settings.

# Prints the resident memory of the process of a pid file.
rss_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$(cat "$WORK/${1:-pid}")/status"; }
no_panic() { ! grep -in 'panic' "$1" || fail "it panicked"; }
api() { curl -ks --max-time 20 --cacert "$WORK/ca.pem" --cert "$WORK/client.pem" --key "$WORK/client.key" "$@"; }

# Takes the kubeconfig apart into files that curl and openssl read.
credentials() {
    local field
    for field in certificate-authority-data:ca.pem client-certificate-data:client.pem client-key-data:client.key; do
        awk -v key="${field%%:*}:" '$1 == key { gsub(/"/, "", $2); print $2 }' "$KUBECONFIG" | base64 -d >"$WORK/${field##*:}"
        [[ -s $WORK/${field##*:} ]] || fail "the kubeconfig has no ${field%%:*}" || return 1
    done
}

# Sends what standard input gives to a port as it is, and prints the answer.
raw() { timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; cat >&3; cat <&3' "$1" 2>/dev/null | tr -d '\0'; }

# Prints the status code of a request.
code() { api -o "$WORK/answer" -w '%{http_code}' "$@"; }

# Opens connections that say nothing, or half of a TLS greeting, and holds them until killed.
slow_loris() { # COUNT PORT
    local n fd
    for ((n = 0; n < $1; n++)); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$2" || break
        ((n % 2)) && printf '\x16\x03\x01' >&"$fd"
    done
    : >"$WORK/holding"
    # In place of the shell, so that ending it closes the connections.
    exec sleep 60
}

scenario_hostile() {
    local maps=https://127.0.0.1:$API_PORT/api/v1/namespaces/default/configmaps before after n code loris
    credentials || return 1
    k create configmap kept --from-literal=a=1 || return 1
    api -o /dev/null "$maps"
    before=$(rss_kib)

    say "bytes that are no TLS"
    for ((n = 0; n < 20; n++)); do head -c 4096 /dev/urandom | raw "$API_PORT" >/dev/null; done
    printf 'GET / HTTP/1.1\r\n\r\n' | raw "$API_PORT" >/dev/null
    printf '\x16\x03\x01\xff\xff\x01\x00\xff\xff' | raw "$API_PORT" >/dev/null

    say "a certificate of another authority"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/O=system:masters/CN=kubernetes-admin' \
        -keyout "$WORK/false.key" -out "$WORK/false.pem" 2>/dev/null || return 1
    ! curl -ksf --cert "$WORK/false.pem" --key "$WORK/false.key" "$maps" || fail "a false certificate was accepted" || return 1

    say "bodies: 100 MB, no JSON, deep JSON, the wrong shape"
    for ((n = 0; n < 5; n++)); do
        code=$(head -c 100000000 /dev/zero | code --http1.1 -H 'Content-Type: application/json' -H 'Expect:' -X POST --data-binary @- "$maps")
        [[ $code == 413 && $(jq -r .reason "$WORK/answer") == RequestEntityTooLarge ]] ||
            fail "100 MB: $code $(head -c 300 "$WORK/answer")" || return 1
    done
    code=$(code -H 'Content-Type: application/json' -d '{"a' "$maps")
    [[ $code == 400 && $(jq -r .kind "$WORK/answer") == Status ]] || fail "no JSON: $code" || return 1
    code=$(head -c 200000 /dev/zero | tr '\0' '[' | code -H 'Content-Type: application/json' --data-binary @- "$maps")
    [[ $code == 400 ]] || fail "deep JSON: $code" || return 1
    code=$(code -H 'Content-Type: application/json' -d '{"metadata":{"name":7},"data":[]}' "$maps")
    [[ $code =~ ^4 ]] || fail "the wrong shape: $code" || return 1
    code=$(head -c 1000 /dev/urandom | code -H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary @- "$maps")
    [[ $code == 400 ]] || fail "no protobuf: $code" || return 1

    say "headers of 1 MB"
    head -c 1000000 /dev/zero | tr '\0' a | sed 's/^/x-long: /' >"$WORK/header"
    code=$(code -H "@$WORK/header" "$maps")
    [[ $code =~ ^(000|431|400)$ ]] || fail "long headers: $code" || return 1

    say "500 connections that say nothing"
    slow_loris 500 "$API_PORT" &
    loris=$!
    until_true 20 test -e "$WORK/holding" || return 1
    k get configmap kept -o name || fail "nobody is served beside idle connections" || return 1
    kill "$loris"
    wait "$loris" 2>/dev/null

    k get configmap kept -o name || return 1
    nodes_ready || fail "a node is not ready" || return 1
    after=$(rss_kib)
    say "resident memory: $before KiB before, $after KiB after"
    ((after < before + 65536)) || fail "memory grew" || return 1
    no_panic "$WORK/up.log" || return 1
    k delete configmap kept
}

# Starts the cluster on damaged data, twice: it must say what is wrong and never begin anew.
refuses_damage() {
    local out status attempt
    for attempt in first second; do
        out=$(timeout 30 "$BIN/keadm" up --data-dir "$DATA" --api-port "$API_PORT" --runtime hollow 2>&1)
        status=$?
        say "$1, $attempt start: exit code $status: $(tail -1 <<<"$out")"
        ((status == 3)) || fail "the exit code is $status: $out" || return 1
        grep -q 'damaged' <<<"$out" || fail "it does not say what is wrong: $out" || return 1
        ! grep -qi 'panic' <<<"$out" || fail "it panicked: $out" || return 1
    done
}

restore() { rm -rf "$DATA" && cp -a "$WORK/copy" "$DATA"; }

scenario_corrupt() {
    local file size n
    for ((n = 0; n < 20; n++)); do k create configmap "held-$n" --from-literal=a="$n" >/dev/null || return 1; done
    stop_up
    cp -a "$DATA" "$WORK/copy"
    file=$(find "$DATA/cloud/store" -type f -size +1k -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
    size=$(stat -c %s "$file")
    say "the store's file: ${file#"$DATA/"}, $size bytes"

    for ((n = 1; n < 20; n++)); do
        head -c 4096 /dev/urandom | dd of="$file" bs=1 seek=$((size * n / 20)) conv=notrunc status=none
    done
    refuses_damage "bytes flipped" || return 1
    restore || return 1
    truncate -s $((size / 4)) "$file"
    refuses_damage "cut to a quarter" || return 1
    restore || return 1
    : >"$file"
    refuses_damage "emptied" || return 1
    restore || return 1
    rm "$file"
    refuses_damage "removed" || return 1

    restore || return 1
    start_up || return 1
    [[ $(k get configmaps -o name | grep -c '/held-') -eq 20 ]] || fail "something is lost after the restore" || return 1
    stop_up
    say "a node's store: it begins anew with what the cloud sends"
    find "$DATA/edge" -path '*/store/*' -type f -size +1k -exec dd if=/dev/urandom of={} bs=4096 count=64 conv=notrunc status=none \;
    start_up || return 1
    grep -q "the store was damaged: it was set aside" "$WORK/up.log" || fail "the damage was not told" || return 1
    no_panic "$WORK/up.log" || return 1
    rm -rf "$WORK/copy"
    for ((n = 0; n < 20; n++)); do echo "configmap/held-$n"; done | xargs "$KUBECTL" delete >/dev/null
}

# Runs a process on a file that is no good; the texts given must be in what it says.
refuses_settings() {
    local process=$1 out status text
    shift
    cat >"$WORK/bad.yaml"
    out=$(timeout 20 "$BIN/$process" --config "$WORK/bad.yaml" 2>&1)
    status=$?
    say "$process, exit code $status"
    sed 's/^/   > /' <<<"$out"
    ((status == 2)) || fail "the exit code is not 2" || return 1
    ! grep -qi 'panic' <<<"$out" || fail "it panicked" || return 1
    for text in "$@"; do
        grep -qF -- "$text" <<<"$out" || fail "it does not say: $text" || return 1
    done
}

scenario_garbage() {
    local process
    for process in cloudcore edgecore; do
        head -c 4096 /dev/urandom | refuses_settings "$process" bad.yaml || return 1
        printf '{{{{ [' | refuses_settings "$process" bad.yaml || return 1
        printf 'just words' | refuses_settings "$process" bad.yaml || return 1
    done
    refuses_settings edgecore 'bad.yaml:4: modules.edged.hostnameOveride: no such key; did you mean modules.edged.hostnameOverride?' <<'EOF' || return 1
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
modules:
  edged: { hostnameOveride: a }
EOF
    refuses_settings edgecore '2 problems' 'bad.yaml:5: modules.edged.hostnameOveride' 'bad.yaml:7: modules.edgeHub.heartbeat' <<'EOF' || return 1
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
modules:
  edged:
    hostnameOveride: a
  edgeHub:
    heartbeat: [no, number]
EOF
    # Unknown keys, values of the wrong kind and values that a module refuses are told together.
    refuses_settings edgecore '5 problems' 'bad.yaml:5: modules.edged.hostnameOveride: no such key' \
        'bad.yaml:7: modules.edgeHub.codec: ' 'bad.yaml:8: modules.edgeHub.heartbeat: must be at least one second' \
        'bad.yaml:9: modules.edgeHub.httpServer: must be like https://' 'bad.yaml:10: log.level: must be error' <<'EOF' || return 1
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
modules:
  edged:
    hostnameOveride: a
  edgeHub:
    codec: nativ
    heartbeat: 0
    httpServer: http://10.0.0.1:10002
log: { level: loud }
EOF
    refuses_settings cloudcore '3 problems' 'bad.yaml:5: modules.cloudHub.nodeLimitt: no such key' \
        'bad.yaml:6: modules.cloudHub.nodeLimit: must be at least 1' \
        'bad.yaml:8: modules.nodeLifecycle.nodeMonitorPeriod: must be more than 0' <<'EOF' || return 1
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
modules:
  cloudHub:
    nodeLimitt: 5
    nodeLimit: 0
  nodeLifecycle:
    nodeMonitorPeriod: 0s
EOF
    refuses_settings cloudcore 'bad.yaml:5: modules.cloudHub.nodeLimitt: no such key; did you mean modules.cloudHub.nodeLimit?' <<'EOF'
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
modules:
  cloudHub:
    nodeLimitt: 5
EOF
}
