# Ten wrong joins, on processes of their own: each is refused, and both ends say why.

JOIN=$WORK/join

# Writes the configuration of a node that joins: its name, its token, and the ports that it dials.
write_join() { # NAME TOKEN [ENROL_PORT [LINK_PORT]]
    rm -rf "$JOIN"
    EDGE=$JOIN ENROL_PORT=${3:-$ENROL_PORT} LINK_PORT=${4:-$LINK_PORT} LEVEL=info write_edge "$2"
    sed -i "s/hostnameOverride: edge$/hostnameOverride: $1/" "$JOIN/edgecore.yaml"
}

# Runs the node until it says the first text; the cloud must have said the second since, if there is one.
refuses() { # WHAT EDGE_SAYS CLOUD_SAYS [COMMAND...]
    local what=$1 edge=$2 cloud=$3 pid
    shift 3
    : >"$WORK/join.log"
    local seen
    seen=$(wc -l <"$WORK/cloud.log")
    env "$@" "$BIN/edgecore" --config "$JOIN/edgecore.yaml" >>"$WORK/join.log" 2>&1 &
    pid=$!
    until_true 30 grep -qE "$edge" "$WORK/join.log"
    local told=$?
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    if ((told != 0)); then
        tail -5 "$WORK/join.log"
        fail "$what: the node does not say /$edge/"
        return 1
    fi
    if [[ -n $cloud ]]; then
        until_true 10 cloud_says "$seen" "$cloud" || fail "$what: the cloud does not say /$cloud/" || return 1
    fi
    say "$what: $(grep -E "$edge" "$WORK/join.log" | head -1 | sed 's/.*  *\(WARN\|ERROR\|INFO\)/\1/' | cut -c-150)"
}
cloud_says() { tail -n "+$(($1 + 1))" "$WORK/cloud.log" | grep -E "$2" >/dev/null; }

secret_value() { "$KUBECTL" -n kubeedge get secret "$1" -o "jsonpath={.data.$2}" | base64 -d; }

# Makes a token of this cluster that ended a minute ago.
ended_token() {
    local key authority signed
    key=$(secret_value casecret cakeydata | od -An -v -tx1 | tr -d ' \n')
    authority=$(secret_value casecret cadata | sha256sum | cut -d' ' -f1)
    base64url() { base64 -w0 | tr '+/' '-_' | tr -d =; }
    signed=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(printf '{"exp":%s}' $(($(date +%s) - 60)) | base64url)
    echo "$authority.$signed.$(printf %s "$signed" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64url)"
}

# Gives the joining node a certificate of the cluster's authority that has ended.
ended_certificate() { # NAME
    mkdir -p "$JOIN"
    secret_value casecret cadata | openssl x509 -inform DER >"$JOIN/ca.crt"
    secret_value casecret cakeydata | openssl ec -inform DER >"$WORK/authority.key" 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt >"$JOIN/edge.key"
    openssl req -new -key "$JOIN/edge.key" -subj "/O=system:nodes/CN=system:node:$1" -out "$JOIN/edge.csr"
    mkdir -p "$WORK/ca" && : >"$WORK/ca/index.txt"
    cat >"$WORK/ca/ca.conf" <<EOF
[ca]
default_ca = edges
[edges]
database = $WORK/ca/index.txt
new_certs_dir = $WORK/ca
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = edge
[any]
organizationName = supplied
commonName = supplied
[edge]
extendedKeyUsage = clientAuth
EOF
    openssl ca -batch -notext -config "$WORK/ca/ca.conf" -cert "$JOIN/ca.crt" -keyfile "$WORK/authority.key" \
        -startdate 20200101000000Z -enddate 20200201000000Z -in "$JOIN/edge.csr" -out "$JOIN/edge.crt" 2>/dev/null
}

scenario_joins() {
    local token other library yesterday
    library=$(find /usr/lib -name libfaketime.so.1 | head -1)
    [[ -n $library ]] || fail "libfaketime is not installed" || return 1
    LEVEL=info start_processes || return 1
    token=$(join_token)
    other=$(printf '0%.0s' {1..64}).${token#*.}

    write_join new ""
    refuses "no token" 'edgeHub.token is empty' '' || return 1
    write_join new "${token%.*}"
    refuses "a token that was cut" 'edgeHub.token is no join token' '' || return 1
    write_join new "$(ended_token)"
    refuses "a token that ended" 'the token has expired' 'the token has expired' || return 1
    write_join new "$other"
    refuses "the token of another authority" 'is not the one of edgeHub.token' '' || return 1
    write_join new "${token%.*}.$(printf wrong | base64)AAA"
    refuses "a token that another cluster signed" 'token validation failure' 'token validation failure' || return 1
    write_join edge "$token"
    refuses "the name of a node that lives" 'another machine has this name' 'a node edge is Ready' || return 1
    write_join Not_A_Name "$token"
    refuses "a name that is none" 'hostnameOverride' '' || return 1

    write_join new "$token" "$LINK_PORT"
    refuses "the port of the links to join" 'must be that of cloudHub.https' 'it has no certificate' || return 1
    write_join new "$token" "$ENROL_PORT" "$ENROL_PORT"
    refuses "the port to join for the link" 'this is the port for joining' 'dialed its link to the port for joining' || return 1

    write_join new "$token"
    yesterday=$(date -u -d '-25 hours' '+%Y-%m-%d %H:%M:%S')
    refuses "a clock that is a day behind" 'compare the clock' 'its clock is wrong' \
        LD_PRELOAD="$library" FAKETIME="@$yesterday" FAKETIME_DONT_FAKE_MONOTONIC=1 TZ=UTC || return 1

    write_join other ""
    cp "$EDGE"/{ca.crt,edge.crt,edge.key} "$JOIN"
    refuses "another node's certificate" 'is of "system:node:edge", and this node is other' '' || return 1
    write_join ended ""
    ended_certificate ended || fail "no certificate was made" || return 1
    refuses "a certificate that ended" 'CertificateExpired|certificate expired|it ended' 'its certificate is not in force' || return 1
    stop_processes
}
