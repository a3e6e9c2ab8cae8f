# The scenarios of .ci/blackbox with a device: over mosquitto, and over the broker within edgecore.

# Each scenario sets it to its broker's.
MQTT_PORT=1883

mqtt_answers() { mosquitto_pub -h 127.0.0.1 -p "$MQTT_PORT" -t ready -n; }
device_shows() { [[ $("$KUBECTL" get devicestatus thermometer -o 'jsonpath={.status.twins[0].reported.value}') == "$1" ]]; }

device_reports() {
    mosquitto_pub -h 127.0.0.1 -p "$MQTT_PORT" -q 1 -t "\$hw/events/device/default/thermometer/twin/update" \
        -m "{\"event_id\":\"$1\",\"timestamp\":0,\"twin\":{\"temperature\":{\"actual\":{\"value\":\"$1\"},\"metadata\":{\"type\":\"int\"}}}}"
}

# What the node says, with the cloud or without it.
device_answers() {
    local answer
    answer=$(mosquitto_sub -h 127.0.0.1 -p "$MQTT_PORT" -C 1 -W 10 -t "\$hw/events/device/default/thermometer/twin/get/result" & sleep 0.5
        mosquitto_pub -h 127.0.0.1 -p "$MQTT_PORT" -q 1 -t "\$hw/events/device/default/thermometer/twin/get" -m '{"event_id":"g","timestamp":0}'
        wait)
    [[ $(jq -r .twin.temperature.actual.value <<<"$answer") == "$1" ]]
}

device_listens() {
    mosquitto_sub -h 127.0.0.1 -p "$MQTT_PORT" -C 1 -W "$1" -t "\$hw/events/device/default/thermometer/twin/update/delta" >"$WORK/delta" &
    echo $! >"$WORK/listener.pid"
    sleep 0.5
}

# What is wanted through kubectl is told a device that listens.
device_wants() {
    k patch device thermometer --type merge \
        -p "{\"spec\":{\"properties\":[{\"name\":\"temperature\",\"desired\":{\"value\":\"$1\",\"metadata\":{\"type\":\"int\"}}}]}}"
}
device_heard() { [[ $(jq -r .delta.temperature "$WORK/delta") == "$1" ]]; }
device_observed() { [[ $("$KUBECTL" get devicestatus thermometer -o 'jsonpath={.status.twins[0].observedDesired.value}') == "$1" ]]; }

# The cloud is away for AWAY seconds, in which the device goes on to report and edgecore is killed.
device_without_cloud() {
    local value=100 end=$((SECONDS + AWAY))
    end_process cloud.pid KILL
    while ((SECONDS < end)); do
        value=$((value + 1))
        device_reports "$value" || return 1
        sleep 1
    done
    until_true 20 device_answers "$value" || return 1
    end_process edge.pid KILL
    start_edge
    until_true 20 device_answers "$value" || return 1
    start_cloud || return 1
    until_true 60 device_shows "$value" || return 1
    say "shown after ${AWAY} s without the cloud: $value"
}

# A thermometer on the node that is named.
thermometer() {
    cat <<EOF_MANIFEST
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: { name: thermometer }
spec:
  properties: [{ name: temperature, type: INT, accessMode: ReadOnly }]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: { name: thermometer }
spec:
  nodeName: $1
  deviceModelRef: { name: thermometer }
  properties: [{ name: temperature }]
EOF_MANIFEST
}

scenario_device() {
    local MQTT_PORT=1883
    mosquitto -p "$MQTT_PORT" >>"$WORK/mosquitto.log" 2>&1 &
    echo $! >"$WORK/mosquitto.pid"
    until_true 10 mqtt_answers || return 1
    start_processes || return 1
    thermometer edge | k apply -f - || return 1
    until_true 20 device_answers null || return 1
    device_reports 20 || return 1
    until_true 20 device_shows 20 || return 1

    device_listens 20
    device_wants 30 || return 1
    until_true 20 device_heard 30 || return 1
    until_true 20 device_observed 30 || return 1

    end_process edge.pid KILL
    device_listens 30
    device_wants 31 || return 1
    start_edge
    until_true 20 device_heard 31 || return 1
    until_true 20 device_answers 20 || return 1
    device_reports 21 || return 1
    until_true 20 device_shows 21 || return 1

    device_without_cloud || return 1
    k delete device thermometer || return 1
    stop_processes
    end_process mosquitto.pid TERM
}

# The same with the broker within edgecore, which is killed with it.
scenario_device_alone() {
    local MQTT_MODE=0 MQTT_PORT=$INTERNAL_PORT
    start_processes || return 1
    thermometer edge | k apply -f - || return 1
    until_true 20 device_answers null || return 1
    device_reports 20 || return 1
    until_true 20 device_shows 20 || return 1
    end_process edge.pid KILL
    device_wants 30 || return 1
    start_edge
    until_true 20 device_answers 20 || return 1
    until_true 20 device_observed 30 || return 1
    device_without_cloud || return 1
    device_listens 20
    device_wants 31 || return 1
    until_true 20 device_heard 31 || return 1
    k delete device thermometer || return 1
    stop_processes
}

# What `keadm up` last said of its broker.
told_mqtt() { sed -n 's/^devices reach the node \([^ ]*\) by MQTT on 127\.0\.0\.1:\([0-9]*\).*$/\1 \2/p' "$WORK/up.log" | tail -1; }

# The node of one command has a broker: no other program is there. What was acknowledged to a device is there
# after kill -9.
scenario_device_within() {
    local MQTT_PORT node value
    read -r node MQTT_PORT <<<"$(told_mqtt)"
    [[ -n $node && -n $MQTT_PORT ]] || fail "keadm up does not say where devices reach the node" || return 1
    thermometer "$node" | k apply -f - || return 1
    until_true 20 device_answers null || return 1
    device_reports 20 || return 1
    until_true 20 device_shows 20 || return 1
    device_listens 20
    device_wants 30 || return 1
    until_true 20 device_heard 30 || return 1
    for value in 21 22 23; do
        device_reports "$value" || return 1
        kill_up
        start_up || return 1
        read -r node MQTT_PORT <<<"$(told_mqtt)"
        until_true 20 device_answers "$value" || return 1
    done
    until_true 20 device_shows 23 || return 1
    if mosquitto_pub -V mqttv5 -h 127.0.0.1 -p "$MQTT_PORT" -t a -m x 2>/dev/null; then
        fail "a client of MQTT 5 is not refused" || return 1
    fi
    k delete device thermometer || return 1
    k delete devicemodel thermometer
}

temperature_shows() { [[ $("$KUBECTL" get "$1" temperature -o 'jsonpath={.status.twins[0].reported.value}') == "$2" ]]; }

# The manifests of KubeEdge's temperature tutorial, which are of the older version, and what its mapper says.
scenario_device_older() {
    local MQTT_PORT node
    read -r node MQTT_PORT <<<"$(told_mqtt)"
    sed "s/NODE/$node/" <<'EOF' | k apply -f - || return 1
apiVersion: devices.kubeedge.io/v1alpha2
kind: DeviceModel
metadata: { name: temperature-model, namespace: default }
spec:
  properties:
  - name: temperature-status
    description: Temperature collected from the edge device
    type: { string: { accessMode: ReadOnly, defaultValue: "" } }
---
apiVersion: devices.kubeedge.io/v1alpha2
kind: Device
metadata: { name: temperature, labels: { description: temperature, manufacturer: test } }
spec:
  deviceModelRef: { name: temperature-model }
  nodeSelector:
    nodeSelectorTerms:
    - matchExpressions: [{ key: "", operator: In, values: [NODE] }]
status:
  twins:
  - propertyName: temperature-status
    desired: { metadata: { type: string }, value: "" }
EOF
    sleep 2
    mosquitto_pub -h 127.0.0.1 -p "$MQTT_PORT" -q 1 -t '$hw/events/device/default/temperature/twin/update' \
        -m '{"event_id":"","timestamp":0,"twin":{"temperature-status":{"actual":{"value":"24C"},"metadata":{"type":"Updated"}}}}' || return 1
    until_true 20 temperature_shows device 24C || return 1
    until_true 20 temperature_shows devices.v1alpha2.devices.kubeedge.io 24C || return 1
    [[ $(k get devices.v1alpha2.devices.kubeedge.io temperature -o 'jsonpath={.spec.nodeSelector.nodeSelectorTerms[0].matchExpressions[0].values[0]}') == "$node" ]] ||
        fail "the device is not shown as it was written" || return 1
    k delete device temperature || return 1
    k delete devicemodel temperature-model
}

# A port that is taken is not the end of the cluster, unless it was asked for.
scenario_mqtt_port() {
    local port out
    read -r _ port <<<"$(told_mqtt)"
    out=$(timeout 60 "$BIN/keadm" up --data-dir "$WORK/other" --api-port $((API_PORT + 7)) --runtime hollow --mqtt-port "$port" 2>&1) &&
        fail "it started though its port is taken" && return 1
    grep -q -- "$port" <<<"$out" && grep -q -- --mqtt-port <<<"$out" || fail "the error does not say what to do: $out" || return 1
    "$BIN/keadm" up --data-dir "$WORK/other" --api-port $((API_PORT + 7)) --runtime hollow --node-name other >"$WORK/other.log" 2>&1 &
    echo $! >"$WORK/other.pid"
    until_true 60 grep -q 'devices reach the node other by MQTT on' "$WORK/other.log" || return 1
    out=$(sed -n 's/^devices reach the node other by MQTT on 127\.0\.0\.1:\([0-9]*\).*$/\1/p' "$WORK/other.log")
    end_process other.pid INT
    [[ $out != "$port" ]] || fail "two brokers have one port"
}
