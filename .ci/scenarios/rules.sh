# The scenario of .ci/blackbox with rules: REST, MQTT and HTTP services, all four ways.

RULES_PORT=${RULES_PORT:-29443}
SERVICE_PORT=${SERVICE_PORT:-28080}
APP_PORT=${APP_PORT:-29060}
RULES_MQTT_PORT=${RULES_MQTT_PORT:-21884}

# A service that has a greeting, and keeps what it is sent.
start_service() {
    mkdir -p "$WORK/service/cgi-bin"
    echo hello >"$WORK/service/greeting"
    cat >"$WORK/service/cgi-bin/take" <<EOF
#!/bin/sh
head -c "\$CONTENT_LENGTH" >>"$WORK/taken"
echo >>"$WORK/taken"
printf 'Content-Type: text/plain\r\n\r\ntaken'
EOF
    chmod +x "$WORK/service/cgi-bin/take"
    busybox httpd -f -p "127.0.0.1:$SERVICE_PORT" -h "$WORK/service" &
    echo $! >"$WORK/service.pid"
}

posted() { curl -s -o "$WORK/answer" -w '%{http_code}' -m 30 "$@"; }
taken() { grep -qxF -- "$1" "$WORK/taken"; }
rest_answers() { [[ $(posted -d "$3" "http://127.0.0.1:$RULES_PORT/edge/default/$1") == "$2" ]]; }
gets_greeting() { [[ $(posted "http://127.0.0.1:$RULES_PORT/edge/default/greet") == "$1" ]]; }
greets() { gets_greeting 200 && grep -qx hello "$WORK/answer"; }
app_answers() { # CODE PAYLOAD
    posted -d "{\"method\":\"POST\",\"targetURL\":\"http://127.0.0.1:$SERVICE_PORT/cgi-bin/take\",\"payload\":$2}" "http://127.0.0.1:$APP_PORT/" >/dev/null
    [[ $(jq -r .code "$WORK/answer") == "$1" ]]
}
publishes() { mosquitto_pub -h 127.0.0.1 -p "$RULES_MQTT_PORT" -q 1 -t default/alarm -m "$1"; }

scenario_rules() {
    local MQTT_MODE=0 INTERNAL_PORT=$RULES_MQTT_PORT MQTT_PORT=$RULES_MQTT_PORT
    start_processes || return 1
    stop_processes
    cat >>"$CLOUD/cloudcore.yaml" <<EOF
  router: { enable: true, address: 127.0.0.1, port: $RULES_PORT, restTimeout: 20 }
EOF
    cat >>"$EDGE/edgecore.yaml" <<EOF
  serviceBus: { enable: true, port: $APP_PORT }
EOF
    start_cloud || return 1
    start_edge
    start_service
    until_true 60 links || return 1
    k apply -f - <<EOF || return 1
apiVersion: rules.kubeedge.io/v1
kind: RuleEndpoint
metadata: { name: my-rest }
spec: { ruleEndpointType: rest }
---
apiVersion: rules.kubeedge.io/v1
kind: RuleEndpoint
metadata: { name: my-eventbus }
spec: { ruleEndpointType: eventbus }
---
apiVersion: rules.kubeedge.io/v1
kind: RuleEndpoint
metadata: { name: my-servicebus }
spec: { ruleEndpointType: servicebus, properties: { service_port: "$SERVICE_PORT" } }
---
apiVersion: rules.kubeedge.io/v1
kind: Rule
metadata: { name: commands }
spec: { source: my-rest, sourceResource: { path: /cmd }, target: my-eventbus, targetResource: { topic: fleet/cmd } }
---
apiVersion: rules.kubeedge.io/v1
kind: Rule
metadata: { name: greet }
spec: { source: my-rest, sourceResource: { path: /greet }, target: my-servicebus, targetResource: { path: /greeting } }
---
apiVersion: rules.kubeedge.io/v1
kind: Rule
metadata: { name: alarms }
spec:
  source: my-eventbus
  sourceResource: { topic: alarm, node_name: edge }
  target: my-rest
  targetResource: { resource: "http://127.0.0.1:$SERVICE_PORT/cgi-bin/take" }
---
apiVersion: rules.kubeedge.io/v1
kind: Rule
metadata: { name: hook }
spec:
  source: my-servicebus
  sourceResource: { target_url: "http://127.0.0.1:$SERVICE_PORT/cgi-bin/take", node_name: edge }
  target: my-rest
  targetResource: { resource: "http://127.0.0.1:$SERVICE_PORT/cgi-bin/take", body: payload }
EOF
    # REST to MQTT, and to nobody.
    until_true 20 mqtt_answers || return 1
    mosquitto_sub -h 127.0.0.1 -p "$RULES_MQTT_PORT" -C 1 -W 30 -t 'fleet/#' >"$WORK/heard" &
    echo $! >"$WORK/listener.pid"
    sleep 1
    until_true 20 rest_answers cmd/stop 200 '{"speed":0}' || return 1
    until_true 10 grep -qxF '{"speed":0}' "$WORK/heard" || return 1
    rest_answers nothing 404 x || fail "a path that no rule has: $(cat "$WORK/answer")" || return 1
    # REST to a service of the node: there, too large, and not there.
    until_true 20 greets || return 1
    head -c 6000000 /dev/zero >"$WORK/service/greeting"
    gets_greeting 502 || fail "an answer that is too large: $(head -c 200 "$WORK/answer")" || return 1
    end_process service.pid TERM
    gets_greeting 404 || fail "a service that is not there: $(head -c 200 "$WORK/answer")" || return 1
    # MQTT to REST: what the broker took while the endpoint, and then the cloud, was away arrives.
    publishes first || return 1
    start_service
    until_true 60 taken first || return 1
    end_process cloud.pid KILL
    publishes second || return 1
    end_process edge.pid KILL
    start_edge
    start_cloud || return 1
    until_true 60 taken second || return 1
    # An application of the node to REST, and a URL that no rule allows.
    until_true 20 app_answers 200 '{"k":"v"}' || return 1
    taken '{"k":"v"}' || fail "the endpoint was not sent the payload" || return 1
    posted -d '{"method":"POST","targetURL":"http://127.0.0.1:1/","payload":1}' "http://127.0.0.1:$APP_PORT/" >/dev/null
    [[ $(jq -r .code "$WORK/answer") == 400 ]] || fail "a URL that no rule allows: $(cat "$WORK/answer")" || return 1
    [[ $(k get rule alarms -o 'jsonpath={.status.successMessages}') -ge 1 ]] || fail "the rule's status counts nothing" || return 1
    stop_processes
    end_process service.pid TERM
}
