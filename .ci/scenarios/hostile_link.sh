# The scenario of .ci/blackbox that attacks the cloud's ports for nodes, and then a node with a false cloud.
#
# Two nodes have valid certificates: `edge`, a real edgecore, and `mallory`, which is played by openssl.

HOSTILE=$WORK/hostile

# Prints what cloudcore or edgecore logged since `mark` was called.
mark() { wc -l <"$WORK/$1.log" >"$HOSTILE/$1.mark"; }
since() { tail -n +$(($(cat "$HOSTILE/$1.mark") + 1)) "$WORK/$1.log"; }
says() { grep -Eq -- "$2" <<<"$(since "$1")"; }
# Waits until a process has logged a line.
logged() { until_true 20 says "$1" "$2" >/dev/null || fail "$1 does not log: $2; it says: $(since "$1" | tail -3)"; }

# Sends standard input over TLS as NAME, prints the answer, and returns when the cloud ends the connection.
speak() { # PORT NAME
    local certificate=()
    [[ $2 == nobody ]] || certificate=(-cert "$HOSTILE/$2.crt" -key "$HOSTILE/$2.key")
    timeout 40 openssl s_client -quiet -connect "127.0.0.1:$1" "${certificate[@]}" 2>"$HOSTILE/s_client.err"
}

# Prints the request for a WebSocket of a node.
upgrade() { # NODE [HEADER]
    printf 'GET /p/%s/events HTTP/1.1\r\nHost: cloud\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' "$1"
    printf 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nnode_id: %s\r\nconnectionuse: msg\r\n%b\r\n' "$1" "${2:-}"
}

# Opens a WebSocket with mallory's certificate, sends standard input as it is, and waits for the cloud to end it.
session() { # NODE [HEADER]
    : >"$HOSTILE/answer"
    { upgrade "$@"; until_true 20 grep -qa '^HTTP/1.1 101' "$HOSTILE/answer" >/dev/null; cat; } 2>/dev/null |
        speak "$LINK_PORT" mallory >"$HOSTILE/answer"
    ((PIPESTATUS[1] != 124)) || fail "the cloud does not end the connection"
}

# Makes a certificate request of the node's name, and prints the answer of the cloud to it.
enrol() { # NODE TOKEN [BODY]
    curl -ks --max-time 30 -o "$HOSTILE/enrolled" -w '%{http_code}' -X GET -H 'Expect:' -H "NodeName: $1" \
        -H "Authorization: Bearer $2" --data-binary "@${3:-$HOSTILE/$1.csr}" "https://127.0.0.1:$ENROL_PORT/edge.crt"
}
request_for() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=system:nodes/CN=system:node:$1" \
        -keyout "$HOSTILE/$1.key" -outform DER -out "$HOSTILE/$1.csr" 2>/dev/null
}

ready_since() { k get node edge -o 'jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}'; }
# From here on the other node is to stay as it is.
peace() { wc -l <"$WORK/cloud.log" >"$HOSTILE/cloud.peace" && ready_since >"$HOSTILE/ready"; }
# Silence is not held against the attacks: a machine that stands still for seconds ends sessions by itself.
edge_stays() {
    links >/dev/null || fail "the node is not Ready" || return 1
    [[ $(ready_since) == "$(cat "$HOSTILE/ready")" ]] || fail "the node was not Ready for a while" || return 1
    ! grep "a node's session ended node=edge" <<<"$(tail -n +$(($(cat "$HOSTILE/cloud.peace") + 1)) "$WORK/cloud.log")" |
        grep -v 'silent for too long' || fail "the session of the other node ended"
}

no_tls() {
    local port n
    mark cloud
    for port in "$LINK_PORT" "$ENROL_PORT"; do
        for ((n = 0; n < 20; n++)); do head -c 4096 /dev/urandom | raw "$port" >/dev/null; done
        printf 'GET / HTTP/1.1\r\n\r\n' | raw "$port" >/dev/null
        printf '\x16\x03\x01\xff\xff\x01\x00\xff\xff' | raw "$port" >/dev/null
    done
    logged cloud 'a connection failed .*the handshake failed: received corrupt message'
}

# Connections that stay in their handshake keep no node from entering.
half_greetings() {
    local port pids=() pid
    for port in "$LINK_PORT" "$ENROL_PORT"; do
        rm -f "$WORK/holding"
        slow_loris 300 "$port" &
        pids+=($!)
        until_true 20 test -e "$WORK/holding" || return 1
    done
    edge_stays || return 1
    mark cloud
    end_process edge.pid INT || return 1
    start_edge
    until_true 60 says cloud 'a node connected node=edge' || fail "no node connects beside idle connections" || return 1
    until_true 30 links >/dev/null || return 1
    for pid in "${pids[@]}"; do
        kill "$pid"
        wait "$pid" 2>/dev/null
    done
    peace
}

# Makes a certificate for a node that another authority of the same name signs.
stranger() {
    local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
    "${new[@]}" -subj /CN=KubeEdge -keyout "$HOSTILE/authority.key" -out "$HOSTILE/authority.crt" 2>/dev/null &&
        "${new[@]}" -subj '/O=system:nodes/CN=system:node:edge' -addext basicConstraints=critical,CA:FALSE \
            -CA "$HOSTILE/authority.crt" -CAkey "$HOSTILE/authority.key" \
            -keyout "$HOSTILE/stranger.key" -out "$HOSTILE/stranger.crt" 2>/dev/null
}

wrong_certificates() {
    stranger || fail "no certificate could be made" || return 1
    mark cloud
    upgrade edge | speak "$LINK_PORT" stranger >/dev/null
    logged cloud 'a connection failed .*the handshake failed: invalid peer certificate: BadSignature' || return 1
    mark cloud
    upgrade edge | speak "$LINK_PORT" nobody >/dev/null
    logged cloud 'a connection failed .*the handshake failed: peer sent no certificates' || return 1
    mark cloud
    session edge </dev/null || return 1
    logged cloud "the certificate is of .*system:node:mallory.*not of the node edge" || return 1
    mark cloud
    session '../edge' </dev/null || return 1
    logged cloud 'the handshake failed: 400 Bad Request: the header node_id: ' || return 1
    edge_stays
}

no_upgrade() {
    local begin
    mark cloud
    printf 'GET / HTTP/1.1\r\n\r\n' | speak "$LINK_PORT" mallory >/dev/null
    logged cloud 'a connection failed .*the handshake failed: WebSocket protocol error' || return 1
    mark cloud
    head -c 65536 /dev/urandom | speak "$LINK_PORT" mallory >/dev/null
    logged cloud 'a connection failed .*the handshake failed: ' || return 1
    mark cloud
    begin=$SECONDS
    speak "$LINK_PORT" mallory < <(upgrade mallory | head -c 100; sleep 60) >/dev/null
    ((SECONDS - begin < 35)) || fail "half a request was waited for during $((SECONDS - begin)) s" || return 1
    logged cloud 'a connection failed .*the handshake took longer than 10s' || return 1
    edge_stays
}

# Prints a message of 50 MB in frames of 1 MB.
fragments() {
    local n opcode='\x02'
    for ((n = 0; n < 50; n++)); do
        printf "$opcode"'\xff\0\0\0\0\0\x0f\x42\x40\0\0\0\0' && head -c 1000000 /dev/zero || return
        opcode='\0'
    done
}

# What an admitted node may not send. Frames of clients are masked; a mask of zeros changes nothing.
bad_frames() {
    local n native='beehive-codec: native.v1\r\n'
    say "a reserved opcode, no mask, a frame that announces 100 MB, one of 50 MB, 50 MB in parts"
    mark cloud
    printf '\x83\x80\0\0\0\0' | session mallory || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*the transport failed: WebSocket protocol error" || return 1
    mark cloud
    printf '\x81\x04oops' | session mallory || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*the transport failed: WebSocket protocol error" || return 1
    mark cloud
    printf '\x82\xff\0\0\0\0\x05\xf5\xe1\0\0\0\0\0some of it' | session mallory || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*a frame of 100000000 bytes exceeds the limit of 8388608" || return 1
    mark cloud
    session mallory < <(printf '\x82\xff\0\0\0\0\x02\xfa\xf0\x80\0\0\0\0'; head -c 50000000 /dev/zero) || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*a frame of 50000000 bytes exceeds the limit of 8388608" || return 1
    mark cloud
    session mallory < <(fragments) || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*a frame of [0-9]+ bytes exceeds the limit of 8388608" || return 1
    edge_stays || return 1

    say "text that is no JSON, bytes that are no MessagePack, a frame in place of the hello"
    mark cloud
    printf '\x81\x84\0\0\0\0oops\x88\x80\0\0\0\0' | session mallory || return 1
    logged cloud 'the node sent a frame that is no message; it is ignored node=mallory' || return 1
    mark cloud
    session mallory < <(for ((n = 0; n < 32; n++)); do printf '\x81\x84\0\0\0\0oops'; done) || return 1
    logged cloud "a node's session ended node=mallory .*reason=.*the peer broke the protocol" || return 1
    mark cloud
    printf '\x82\x84\0\0\0\0\xc1\xc1\xc1\xc1' | session mallory "$native" || return 1
    logged cloud 'a connection was not admitted node=mallory .*the handshake failed' || return 1
    mark cloud
    printf '\x81\x84\0\0\0\0oops' | session mallory "$native" || return 1
    logged cloud 'a connection was not admitted node=mallory .*the handshake failed' || return 1
    edge_stays
}

enrolment() {
    local token=$1 status
    head -c 1000 /dev/urandom >"$HOSTILE/garbage"
    truncate -s 100000000 "$HOSTILE/zeros"
    for wrong in eyJhbGciOiJIUzI1NiJ9.e30.AAAA nonsense; do
        status=$(enrol mallory "$wrong")
        [[ $status == 401 ]] && grep -q 'token validation failure' "$HOSTILE/enrolled" ||
            fail "a wrong token: $status $(cat "$HOSTILE/enrolled")" || return 1
    done
    status=$(enrol mallory "$token" "$HOSTILE/garbage")
    [[ $status == 400 ]] && grep -q 'certificate' "$HOSTILE/enrolled" ||
        fail "a garbage request: $status $(cat "$HOSTILE/enrolled")" || return 1
    status=$(enrol edge "$token" "$HOSTILE/mallory.csr")
    [[ $status == 409 ]] && grep -q 'another machine has this name' "$HOSTILE/enrolled" ||
        fail "the name of a node that lives: $status $(cat "$HOSTILE/enrolled")" || return 1
    status=$(enrol nobody "$token" "$HOSTILE/mallory.csr")
    [[ $status == 401 ]] && grep -q 'system:node:mallory' "$HOSTILE/enrolled" ||
        fail "a request of another's name: $status $(cat "$HOSTILE/enrolled")" || return 1
    status=$(enrol mallory "$token" "$HOSTILE/zeros")
    [[ $status == 413 ]] && grep -q '1048576 bytes' "$HOSTILE/enrolled" ||
        fail "100 MB: $status $(cat "$HOSTILE/enrolled")" || return 1
    status=$(enrol mallory nonsense "$HOSTILE/zeros")
    [[ $status == 401 ]] || fail "100 MB with a wrong token: $status $(cat "$HOSTILE/enrolled")" || return 1
    edge_stays
}

secret_of_cloud() { k -n kubeedge get secret cloudcoresecret -o "jsonpath={.data.$1}" | base64 -d; }

# Answers each connection to the link's port with what a command prints, behind the cloud's own certificate.
false_cloud() {
    while :; do
        : >"$HOSTILE/request"
        "$@" | timeout 5 openssl s_server -quiet -naccept 1 -accept "127.0.0.1:$LINK_PORT" -cert "$HOSTILE/cloud.crt" \
            -key "$HOSTILE/cloud.key" -CAfile "$EDGE/ca.crt" -Verify 1 >"$HOSTILE/request" 2>/dev/null
    done
}
speak_noise() { head -c 65536 /dev/urandom; sleep 3; }
speak_http() { printf 'HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\ngo away'; sleep 3; }
# Takes the upgrade as a cloud does, and then answers the node's hello with bytes that are no MessagePack.
speak_frames() {
    local key n
    for ((n = 0; n < 50; n++)); do
        key=$(grep -ai '^sec-websocket-key: ' "$HOSTILE/request") && break
        sleep 0.1
    done
    key=${key#*: }
    key=$(printf '%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11' "${key%$'\r'}" | openssl sha1 -binary | base64)
    printf 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n' "$key"
    printf 'beehive-codec: native.v1\r\n\r\n\x82\x04\xc1\xc1\xc1\xc1'
    sleep 3
}

false_clouds() {
    local what command false lines result
    secret_of_cloud cloudcoredata | openssl x509 -inform DER >"$HOSTILE/cloud.crt" 2>/dev/null || return 1
    secret_of_cloud cloudcorekeydata | openssl ec -inform DER >"$HOSTILE/cloud.key" 2>/dev/null || return 1
    end_process cloud.pid INT || return 1
    for what in 'noise: the handshake failed: WebSocket protocol error' \
        'http: the handshake failed: the cloud refused the upgrade: 403 Forbidden go away' \
        'frames: the handshake failed: the native frame has a bad renewal'; do
        command=speak_${what%%:*}
        mark edge
        # In a group of its own, so that all of it can be ended.
        setsid bash -c "$(declare -f false_cloud "$command"); HOSTILE='$HOSTILE' EDGE='$EDGE' LINK_PORT='$LINK_PORT'; false_cloud $command" &
        false=$!
        until_true 60 says edge "the cloud was not reached .*${what#*: }"
        result=$?
        # Time in which a node that dials without a pause would log hundreds of lines.
        sleep 5
        kill -- "-$false"
        wait "$false" 2>/dev/null
        ((result == 0)) || { since edge | tail -5; return 1; }
        ! gone "$(cat "$WORK/edge.pid")" || fail "edgecore ended" || return 1
        lines=$(since edge | wc -l)
        say "a cloud that speaks ${what%%:*}: edgecore logged $lines lines"
        ((lines < 30)) || fail "edgecore floods its log: $(since edge | tail -5)" || return 1
    done
    start_cloud || return 1
    until_true 60 links >/dev/null
}

scenario_hostile_link() {
    local before after token n LEVEL=info
    mkdir -p "$HOSTILE"
    start_processes || return 1
    peace || return 1
    token=$(join_token) && token=${token#*.}
    for ((n = 0; n < 20; n++)); do k create configmap "kept-$n" --from-literal=a="$n" >/dev/null || return 1; done
    request_for mallory || return 1
    [[ $(enrol mallory "$token") == 200 ]] || fail "no certificate: $(cat "$HOSTILE/enrolled")" || return 1
    openssl x509 -inform DER -in "$HOSTILE/enrolled" -out "$HOSTILE/mallory.crt" || return 1
    printf '\x88\x80\0\0\0\0' | session mallory || return 1
    before=$(rss_kib cloud.pid)

    say "bytes that are no TLS"
    no_tls && edge_stays || return 1
    say "600 connections that stay in their handshake"
    half_greetings || return 1
    say "certificates: of a stranger, none, of another node"
    wrong_certificates || return 1
    say "no upgrade, or half of one"
    no_upgrade || return 1
    bad_frames || return 1
    say "enrolment: wrong tokens, garbage, 100 MB"
    enrolment "$token" || return 1
    after=$(rss_kib cloud.pid)
    say "resident memory of cloudcore: $before KiB before, $after KiB after"
    ((after < before + 16384)) || fail "memory grew" || return 1
    say "a false cloud"
    false_clouds || return 1

    [[ $(k get configmaps -o name | grep -c '/kept-') -eq 20 ]] || fail "something acknowledged is lost" || return 1
    no_panic "$WORK/cloud.log" && no_panic "$WORK/edge.log" || return 1
    stop_processes
}
