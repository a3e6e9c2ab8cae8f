#!/usr/bin/env bash
# Runs a containerd of its own for tests and for development on a Debian machine, as root and without
# systemd or a registry: everything it writes is under one directory.
#
#   .ci/containerd.sh install          installs the Debian packages that are missing
#   .ci/containerd.sh start DIR        writes the configuration, starts containerd, makes and imports the images
#   .ci/containerd.sh registry DIR     starts a password-protected registry on loopback and pushes an image to it
#   .ci/containerd.sh env DIR          prints the variables that the tests read, as `export` lines
#   .ci/containerd.sh with COMMAND     runs the command with all of that in a directory of its own, then purges it
#   .ci/containerd.sh status DIR       says what runs
#   .ci/containerd.sh stop DIR         ends the containerd and the registry that `start` began; containers stay
#   .ci/containerd.sh purge DIR        ends them, every container of theirs, their network, and deletes DIR
#
# Each verb can be repeated: what is already done is left as it is.
set -euo pipefail

NAMESPACE=k8s.io
PAUSE=registry.k8s.io/pause:3.9
BUSYBOX=docker.io/library/busybox:latest
REGISTRY_USER=bee
REGISTRY_PASSWORD=honey

say() { printf 'containerd.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

usage() {
    sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
}

absolute() { realpath --canonicalize-missing "$1"; }

# Each directory has a bridge, a subnet and a port of its own, so that several containerds stand beside each other.
number_of() { cksum <<<"$1" | cut -d' ' -f1; }
bridge_of() { printf 'bee%08x' "$(number_of "$1")"; }
subnet_of() {
    local number
    number=$(number_of "$1")
    echo "10.$((128 + number % 112)).$((number / 112 % 256)).0/24"
}
registry_of() { echo "127.0.0.1:$((15000 + $(number_of "$1") % 10000))"; }
socket_of() { echo "$1/run/containerd.sock"; }

# --- packages -------------------------------------------------------------------------------------------

package_of() {
    case $1 in
        containerd | ctr) echo containerd ;;
        runc) echo runc ;;
        busybox) echo busybox-static ;;
        ip) echo iproute2 ;;
        iptables) echo iptables ;;
        docker-registry) echo docker-registry ;;
    esac
}

cni_plugins() {
    local dir
    for dir in "${BEEHIVE_CNI_BIN:-}" /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        if [[ -n $dir && -x $dir/bridge ]]; then
            echo "$dir"
            return
        fi
    done
}

install() {
    local missing=() tool
    for tool in containerd ctr runc busybox ip iptables docker-registry; do
        command -v "$tool" >/dev/null || missing+=("$(package_of "$tool")")
    done
    [[ -n $(cni_plugins) ]] || missing+=(containernetworking-plugins)
    if ((${#missing[@]} == 0)); then
        say "every package is there: $(containerd --version)"
        return
    fi
    command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    say "installed: $(containerd --version)"
}

# --- configuration --------------------------------------------------------------------------------------

# Prints `overlayfs` where the file system of DIR can carry it, and `native` (plain copies) elsewhere.
snapshotter_for() {
    local probe
    probe=$(mktemp -d "$1/overlay.XXXXXX")
    mkdir "$probe/lower" "$probe/upper" "$probe/work" "$probe/merged"
    if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" \
        "$probe/merged" 2>/dev/null; then
        umount "$probe/merged"
        echo overlayfs
    else
        echo native
    fi
    rm -rf "$probe"
}

# Says whether a process may ask to be spared when memory is short, as pods' own processes do. It needs
# CAP_SYS_RESOURCE, which root in a container often lacks.
may_lower_oom_score() {
    (echo -998 >/proc/self/oom_score_adj) 2>/dev/null
}

write_config() {
    local dir=$1 apparmor=true restrict_oom=true
    ! may_lower_oom_score || restrict_oom=false
    [[ -r /sys/module/apparmor/parameters/enabled && $(</sys/module/apparmor/parameters/enabled) == Y ]] &&
        command -v apparmor_parser >/dev/null && apparmor=false
    cat >"$dir/config.toml" <<TOML
version = 2
root = "$dir/root"
state = "$dir/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "$(socket_of "$dir")"

[ttrpc]
  address = "$(socket_of "$dir").ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  disable_apparmor = $apparmor
  restrict_oom_score_adj = $restrict_oom
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugins)"
    conf_dir = "$dir/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter_for "$dir")"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "$dir/runc"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$dir/certs.d"
TOML
}

write_network() {
    local dir=$1 bridge
    bridge=$(bridge_of "$dir")
    mkdir -p "$dir/cni" "$dir/ipam"
    cat >"$dir/cni/10-beehive.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "$bridge",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "$bridge",
      "isGateway": true,
      "ipMasq": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "$dir/ipam",
        "ranges": [[{ "subnet": "$(subnet_of "$dir")" }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
JSON
}

write_registry_host() {
    local host
    host=$(registry_of "$1")
    mkdir -p "$1/certs.d/$host"
    cat >"$1/certs.d/$host/hosts.toml" <<TOML
server = "http://$host"

[host."http://$host"]
  capabilities = ["pull", "resolve"]
TOML
}

# --- images ---------------------------------------------------------------------------------------------

# Moves FILE into the content store of the OCI layout at LAYOUT; prints `digest size`.
blob() {
    local layout=$1 file=$2 digest size
    digest=$(sha256sum "$file" | cut -d' ' -f1)
    size=$(stat -c %s "$file")
    mv "$file" "$layout/blobs/sha256/$digest"
    echo "$digest $size"
}

# Makes TAR, an OCI archive of the image NAME with the root directory ROOT and the configuration CONFIG.
oci_archive() {
    local root=$1 tar=$2 name=$3 config=$4 layout layer digest size diff arch
    case $(uname -m) in
        x86_64) arch=amd64 ;;
        aarch64) arch=arm64 ;;
        armv7l) arch=arm ;;
        *) arch=$(uname -m) ;;
    esac
    layout=$(mktemp -d "$(dirname "$tar")/layout.XXXXXX")
    mkdir -p "$layout/blobs/sha256"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$layout/layer" .
    diff=$(sha256sum "$layout/layer" | cut -d' ' -f1)
    gzip -n -9 "$layout/layer"
    read -r digest size < <(blob "$layout" "$layout/layer.gz")
    layer="{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}"
    printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$arch" "$config" "$diff" >"$layout/config"
    read -r digest size < <(blob "$layout" "$layout/config")
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"sha256:%s","size":%s},"layers":[%s]}' \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json \
        "$digest" "$size" "$layer" >"$layout/manifest"
    read -r digest size < <(blob "$layout" "$layout/manifest")
    {
        printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        printf '"digest":"sha256:%s","size":%s,"annotations":{' "$digest" "$size"
        printf '"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}]}' "$name" "${name##*:}"
    } >"$layout/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$layout" -cf "$tar" .
    rm -rf "$layout"
}

busybox_root() {
    local root=$1 busybox applet
    busybox=$(command -v busybox)
    mkdir -p "$root"/{bin,etc,home,proc,root,sys,dev,usr/bin,var}
    install_file "$busybox" "$root/bin/busybox" 755
    for applet in $("$busybox" --list); do
        [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
    done
    mkdir -m 1777 "$root/tmp"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'nobody:x:65534:65534:nobody:/home:/bin/false' >>"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
}

install_file() {
    cp -L "$1" "$2"
    chmod "$3" "$2"
}

pause_root() {
    mkdir -p "$1/bin"
    install_file "$(command -v busybox)" "$1/bin/busybox" 755
    # Process 1 of a pod: holds its namespaces, reaps orphans, and leaves when told to.
    cat >"$1/pause" <<'SH'
#!/bin/busybox sh
trap 'exit 0' TERM INT
while :; do
    /bin/busybox sleep 86400 &
    wait $!
done
SH
    chmod 755 "$1/pause"
}

make_images() {
    local dir=$1/images root path='"Env":["PATH=/bin:/usr/bin"]'
    mkdir -p "$dir"
    if [[ ! -s $dir/busybox.tar ]]; then
        root=$(mktemp -d "$dir/root.XXXXXX")
        chmod 755 "$root"
        busybox_root "$root"
        oci_archive "$root" "$dir/busybox.tar.partial" "$BUSYBOX" "{$path,\"Cmd\":[\"sh\"]}"
        mv "$dir/busybox.tar.partial" "$dir/busybox.tar"
        rm -rf "$root"
        say "made $dir/busybox.tar: $BUSYBOX, from $(command -v busybox)"
    fi
    if [[ ! -s $dir/pause.tar ]]; then
        root=$(mktemp -d "$dir/root.XXXXXX")
        chmod 755 "$root"
        pause_root "$root"
        oci_archive "$root" "$dir/pause.tar.partial" "$PAUSE" "{$path,\"Entrypoint\":[\"/pause\"]}"
        mv "$dir/pause.tar.partial" "$dir/pause.tar"
        rm -rf "$root"
        say "made $dir/pause.tar: $PAUSE"
    fi
}

import_images() {
    local dir=$1 image
    for image in busybox pause; do
        ctr_ "$dir" images import --snapshotter "$(configured_snapshotter "$dir")" "$dir/images/$image.tar" >/dev/null
    done
    say "images: $(ctr_ "$dir" images ls -q | grep -v '^sha256:' | tr '\n' ' ')"
}

configured_snapshotter() {
    sed -n 's/^ *snapshotter = "\(.*\)"/\1/p' "$1/config.toml"
}

# --- processes ------------------------------------------------------------------------------------------

ctr_() {
    local dir=$1
    shift
    ctr --address "$(socket_of "$dir")" --namespace "$NAMESPACE" "$@"
}

# Prints the process id in PIDFILE if that process is still the program that was started.
running() {
    local pidfile=$1 program=$2 pid name state
    [[ -s $pidfile ]] || return 1
    pid=$(<"$pidfile")
    [[ -r /proc/$pid/stat ]] && read -r _ name state _ <"/proc/$pid/stat" || return 1
    [[ $name == "($program)" && $state != Z ]] || return 1
    echo "$pid"
}

# Runs the command until it succeeds, for at most 30 seconds.
wait_for() {
    local what=$1 log=$2 round
    shift 2
    for ((round = 0; round < 150; round++)); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    tail -n 20 "$log" >&2
    die "$what did not come up; its log is $log"
}

end_process() {
    local pidfile=$1 program=$2 pid round
    if ! pid=$(running "$pidfile" "$program"); then
        rm -f "$pidfile"
        return
    fi
    kill "$pid"
    for ((round = 0; round < 100; round++)); do
        [[ -d /proc/$pid ]] || break
        sleep 0.1
    done
    [[ ! -d /proc/$pid ]] || die "$program (process $pid) does not end"
    rm -f "$pidfile"
    say "ended $program (process $pid)"
}

start() {
    local dir=$1 pid
    ((EUID == 0)) || die "containerd needs root"
    install
    mkdir -p "$dir"
    if pid=$(running "$dir/containerd.pid" containerd); then
        wait_for "containerd (process $pid)" "$dir/containerd.log" ctr_ "$dir" version
        say "containerd already runs (process $pid)"
    else
        write_config "$dir"
        write_network "$dir"
        write_registry_host "$dir"
        setsid containerd --config "$dir/config.toml" >>"$dir/containerd.log" 2>&1 </dev/null &
        echo $! >"$dir/containerd.pid"
        wait_for containerd "$dir/containerd.log" ctr_ "$dir" version
        say "started $(containerd --version | cut -d' ' -f1,3) (process $(<"$dir/containerd.pid")), snapshotter $(configured_snapshotter "$dir")"
    fi
    make_images "$dir"
    import_images "$dir"
    say "network: $(bridge_of "$dir"), $(subnet_of "$dir")"
    say "endpoint: unix://$(socket_of "$dir")"
}

start_registry() {
    local dir=$1 pid host name
    host=$(registry_of "$dir")
    name=$host/beehive/busybox:latest
    running "$dir/containerd.pid" containerd >/dev/null || die "start containerd first"
    if pid=$(running "$dir/registry.pid" docker-registry); then
        say "the registry already runs (process $pid)"
    else
        # perl's crypt makes bcrypt hashes, the only ones the registry takes.
        perl -e 'print "$ARGV[0]:", crypt($ARGV[1], "\$2y\$05\$beehivebeehivebeehiveu"), "\n"' \
            "$REGISTRY_USER" "$REGISTRY_PASSWORD" >"$dir/registry.htpasswd"
        cat >"$dir/registry.yml" <<YAML
version: 0.1
log: { level: warn, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $dir/registry } }
http: { addr: "$host" }
auth: { htpasswd: { realm: beehive, path: $dir/registry.htpasswd } }
YAML
        setsid docker-registry serve "$dir/registry.yml" >>"$dir/registry.log" 2>&1 </dev/null &
        echo $! >"$dir/registry.pid"
        wait_for docker-registry "$dir/registry.log" bash -c "exec 3<>/dev/tcp/${host/:/\/}"
        say "started docker-registry (process $(<"$dir/registry.pid")) on $host"
    fi
    ctr_ "$dir" images push --plain-http --user "$REGISTRY_USER:$REGISTRY_PASSWORD" "$name" "$BUSYBOX" >/dev/null
    say "pushed $name (user $REGISTRY_USER, password $REGISTRY_PASSWORD)"
}

print_env() {
    local dir=$1
    echo "export BEEHIVE_TEST_CONTAINERD=unix://$(socket_of "$dir")"
    if running "$dir/registry.pid" docker-registry >/dev/null; then
        echo "export BEEHIVE_TEST_REGISTRY=$REGISTRY_USER:$REGISTRY_PASSWORD@$(registry_of "$dir")"
    fi
}

status() {
    local dir=$1 pid program
    for program in containerd docker-registry; do
        if pid=$(running "$dir/${program#docker-}.pid" "$program"); then
            say "$program runs (process $pid)"
        else
            say "$program does not run"
        fi
    done
    if running "$dir/containerd.pid" containerd >/dev/null; then
        ctr_ "$dir" tasks ls
    fi
}

stop() {
    end_process "$1/registry.pid" docker-registry
    end_process "$1/containerd.pid" containerd
}

# Deletes the address translation of pods that were killed, not stopped. Their rules carry the network's name.
drop_translation() {
    local network=$1 rule chains=()
    while read -r rule; do
        [[ $rule =~ -j\ (CNI-(DN-)?[0-9a-f]{8,}) ]] || continue
        chains+=("${BASH_REMATCH[1]}")
        eval "iptables -w -t nat ${rule/#-A/-D}"
    done < <(iptables -w -t nat -S 2>/dev/null | grep -F "name: \\\"$network\\\"")
    for rule in "${chains[@]}"; do
        iptables -w -t nat -F "$rule"
        iptables -w -t nat -X "$rule"
    done
}

# Ends the tasks of this containerd only: its namespace is private to its root directory.
purge() {
    local dir=$1 task container round mounted
    [[ -f $dir/config.toml && -d $dir/images ]] || die "$dir was not made by this script"
    # Containers outlive their containerd, and only a containerd can end them.
    if ! ctr_ "$dir" --connect-timeout 2s version >/dev/null 2>&1; then
        end_process "$dir/containerd.pid" containerd
        start "$dir"
    fi
    # The CRI plugin removes some by itself when it sees them end.
    for ((round = 0; round < 10; round++)); do
        for task in $(ctr_ "$dir" tasks ls -q); do
            ctr_ "$dir" tasks rm --force "$task" >/dev/null 2>&1 || true
        done
        for container in $(ctr_ "$dir" containers ls -q); do
            ctr_ "$dir" containers rm "$container" >/dev/null 2>&1 || true
        done
        [[ -n $(ctr_ "$dir" containers ls -q) ]] || break
    done
    ((round < 10)) || say "these stay: $(ctr_ "$dir" containers ls -q | tr '\n' ' ')"
    stop "$dir"
    while read -r mounted; do
        umount "$mounted" || say "still mounted: $mounted"
    done < <(awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r)
    drop_translation "$(bridge_of "$dir")"
    ! ip link show "$(bridge_of "$dir")" >/dev/null 2>&1 || ip link delete "$(bridge_of "$dir")"
    rm -rf "$dir"
    say "purged $dir"
}

with() {
    local dir status=0
    dir=$(absolute "$(mktemp -d)")
    trap 'purge "$dir"' EXIT
    start "$dir"
    start_registry "$dir"
    eval "$(print_env "$dir")"
    "$@" || status=$?
    purge "$dir"
    trap - EXIT
    return "$status"
}

verb=${1:-}
case $verb in
    install) install ;;
    start | stop | status | purge) "$verb" "$(absolute "${2:?usage: $0 $verb DIR}")" ;;
    registry) start_registry "$(absolute "${2:?usage: $0 registry DIR}")" ;;
    env) print_env "$(absolute "${2:?usage: $0 env DIR}")" ;;
    with) shift && with "${@:?usage: $0 with COMMAND}" ;;
    *) usage ;;
esac
