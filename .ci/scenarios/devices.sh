# The scenarios of .ci/blackbox with a device, over mosquitto.

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

scenario_device() {
    mosquitto -p "$MQTT_PORT" >>"$WORK/mosquitto.log" 2>&1 &
    echo $! >"$WORK/mosquitto.pid"
    until_true 10 mqtt_answers || return 1
    start_processes || return 1
    k apply -f - <<'EOF' || return 1
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
  nodeName: edge
  deviceModelRef: { name: thermometer }
  properties: [{ name: temperature }]
EOF
    until_true 20 device_answers null || return 1
    device_reports 20 || return 1
    until_true 20 device_shows 20 || return 1

    end_process edge.pid KILL
    start_edge
    until_true 20 device_answers 20 || return 1
    device_reports 21 || return 1
    until_true 20 device_shows 21 || return 1

    end_process cloud.pid KILL
    device_reports 22 || return 1
    until_true 20 device_answers 22 || return 1
    end_process edge.pid KILL
    start_edge
    start_cloud || return 1
    until_true 60 device_shows 22 || return 1
    k delete device thermometer || return 1
    stop_processes
    end_process mosquitto.pid TERM
}
