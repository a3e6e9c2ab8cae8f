# The scenarios of .ci/blackbox that look at what a user of kubectl does, one verb after another.

# Tells whether standard input has a line like the pattern. Reads all of it, or its writer would fail.
has() { [[ $(grep -Ec -- "$1") -gt 0 ]]; }

# The form of tables: what stands above which column, as a real server's.
scenario_tables() {
    pod shown tables | k apply -f - || return 1
    k wait --for=condition=Ready pod/shown --timeout=60s || return 1
    k get nodes,pods -A -o wide | tee "$WORK/tables" || return 1
    has '^NAME +STATUS +ROLES +AGE +VERSION +INTERNAL-IP +EXTERNAL-IP +OS-IMAGE +KERNEL-VERSION +CONTAINER-RUNTIME$' <"$WORK/tables" ||
        fail "the columns of nodes" || return 1
    has '^node/[a-z0-9-]+ +Ready +agent,edge +[0-9a-z]+ +v1\.[0-9]+\.[^ ]+ +[0-9.]+ +<none> +[^ ].* +[0-9][^ ]* +hollow://[^ ]+$' <"$WORK/tables" ||
        fail "the line of a node" || return 1
    has '^NAMESPACE +NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES$' <"$WORK/tables" ||
        fail "the columns of pods" || return 1
    has '^default +pod/shown +1/1 +Running +0 +[0-9]+s +198\.[0-9.]+ +[a-z0-9-]+ +<none> +<none>$' <"$WORK/tables" ||
        fail "the line of a pod" || return 1
    k get pods -l app=tables --sort-by=.metadata.name -o custom-columns=N:.metadata.name,S:.status.phase --no-headers |
        has '^shown +Running$' || fail "custom columns" || return 1
    k get pods --field-selector=status.phase=Running -o name | has '^pod/shown$' || fail "a field selector" || return 1
    ! k get pods --field-selector=no.field=x 2>"$WORK/refused" || fail "an unknown field was selected" || return 1
    has 'field label not supported: no.field' <"$WORK/refused" || fail "$(cat "$WORK/refused")" || return 1
    k get events --field-selector=involvedObject.name=shown -o 'jsonpath={range .items[*]}{.reason}{"\n"}{end}' >"$WORK/reasons"
    [[ $(grep -xE 'Pulling|Pulled|Created|Started' "$WORK/reasons" | paste -sd' ') == 'Pulling Pulled Created Started' ]] ||
        fail "the events' order: $(cat "$WORK/reasons")" || return 1
    k delete pod shown --timeout=60s
}

scenario_discovery() {
    k version || return 1
    k cluster-info | has 'control plane|master' || fail "cluster-info" || return 1
    k api-versions | has '^apps/v1$' || fail "api-versions" || return 1
    k api-resources | has '^pods +po +v1 +true +Pod$' || fail "api-resources" || return 1
    [[ $(k auth can-i delete nodes) == yes ]] || fail "auth can-i" || return 1
    [[ $(k get --raw /readyz) == ok ]] || fail "readyz" || return 1
    k explain deployment.spec.template.spec.containers.image | has 'mage name' || fail "explain of a field" || return 1
    ! k get nonsense 2>"$WORK/refused" || fail "an unknown type was found" || return 1
    has "the server doesn't have a resource type \"nonsense\"" <"$WORK/refused" || fail "$(cat "$WORK/refused")" || return 1
    ! k get pod nobody 2>"$WORK/refused" || fail "an unknown pod was found" || return 1
    has '^Error from server \(NotFound\): pods "nobody" not found$' <"$WORK/refused" || fail "$(cat "$WORK/refused")" || return 1
    ! k top nodes 2>"$WORK/refused" || fail "there are no metrics to show" || return 1
    has 'Metrics API not available' <"$WORK/refused" || fail "$(cat "$WORK/refused")"
}

scenario_manage() {
    k create namespace place || return 1
    k -n place run alone --image="$IMAGE" --restart=Never --labels=app=alone \
        --overrides='{"spec":{"tolerations":[{"operator":"Exists"}]}}' || return 1
    k -n place wait --for=condition=Ready pod/alone --timeout=60s || return 1
    k -n place expose pod alone --port=80 || return 1
    k -n place get service alone -o wide | has '^alone +ClusterIP +10\.[0-9.]+ +<none> +80/TCP +[0-9a-z]+ +app=alone$' ||
        fail "the service" || return 1
    k -n place create secret generic s --from-literal=a=b || return 1
    k -n place create serviceaccount robot || return 1
    k -n place create job once --image="$IMAGE" -- true || return 1
    k -n place create role reader --verb=get --resource=pods || return 1
    k -n place create rolebinding reader --role=reader --serviceaccount=place:robot || return 1
    k delete namespace place --timeout=60s || return 1
    ! k get namespace place 2>/dev/null || fail "the namespace is still there" || return 1

    k create deployment web --image="$IMAGE" --replicas=2 || return 1
    k set image deployment/web "*=$IMAGE-two" || return 1
    k rollout restart deployment/web || return 1
    k get deployment web | has '^web +0/2 +0 +0 ' || fail "the deployment's line" || return 1
    k delete deployment web || return 1

    k create configmap held --from-literal=a=1 || return 1
    k patch configmap held -p '{"metadata":{"finalizers":["example.com/held"]}}' || return 1
    ! k delete configmap held --timeout=2s || fail "a finalizer was ignored" || return 1
    [[ -n $(k get configmap held -o 'jsonpath={.metadata.deletionTimestamp}') ]] || fail "it is not being deleted" || return 1
    k patch configmap held --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]' || return 1
    until_true 20 k get --raw /readyz || return 1
    ! k get configmap held 2>/dev/null || fail "it is still there" || return 1

    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: %s, labels: { set: a } }\ndata: { a: "1" }\n---\n' x1 x2 >"$WORK/set.yaml"
    k apply -f "$WORK/set.yaml" || return 1
    k diff -f "$WORK/set.yaml" || fail "a difference where there is none" || return 1
    sed 's/"1"/"2"/' "$WORK/set.yaml" >"$WORK/set2.yaml"
    k diff -f "$WORK/set2.yaml" >"$WORK/diff"
    [[ $(grep -c '^+  a: "2"$' "$WORK/diff") -eq 2 ]] || fail "the data does not differ: $(cat "$WORK/diff")" || return 1
    ! has '^[+-] *resourceVersion' <"$WORK/diff" || fail "a dry run gives a version: $(cat "$WORK/diff")" || return 1
    k replace --force -f "$WORK/set2.yaml" || return 1
    k apply -f "$WORK/set2.yaml" 2>/dev/null || return 1
    # Unless it is told what to prune, kubectl 1.20 asks for kinds that no newer server has.
    local kinds=--prune-allowlist=core/v1/ConfigMap
    k apply --help | has '--prune-allowlist' || kinds=--prune-whitelist=core/v1/ConfigMap
    sed '/^---/,$d' "$WORK/set2.yaml" | k apply --prune -l set=a "$kinds" -f - 2>/dev/null || return 1
    ! k get configmap x2 2>/dev/null || fail "it was not pruned" || return 1
    k delete configmap x1
}

scenario_nodes_kept() {
    local node=hollow-1
    pod moved moved | sed "s/^spec:/spec:\n  nodeName: $node/" | k apply -f - || return 1
    k wait --for=condition=Ready pod/moved --timeout=60s || return 1
    k cordon "$node" || return 1
    k get node "$node" | has 'Ready,SchedulingDisabled' || fail "the node is not cordoned" || return 1
    k drain "$node" --force --ignore-daemonsets --timeout=60s || return 1
    ! k get pod moved 2>/dev/null || fail "the pod was not evicted" || return 1
    k uncordon "$node" || return 1
    k taint node "$node" a=b:NoSchedule || return 1
    k taint node "$node" a- || return 1
    k label node "$node" colour=red || return 1
    [[ $(k get nodes -l colour=red -o name) == "node/$node" ]] || fail "the label" || return 1
    k label node "$node" colour-
}

scenario_logs() {
    pod logged logs | sed 's/^metadata: {/metadata: { annotations: { hollow.beehive.io\/exit.c: "3\/4s" },/' | k apply -f - || return 1
    k wait --for=condition=Ready pod/logged --timeout=60s || return 1
    [[ $(k logs logged --tail=5) == 'hollow: container c of pod default/logged is played: no process runs' ]] || fail "the log" || return 1
    [[ -z $(k logs logged --tail=0) ]] || fail "--tail=0" || return 1
    k logs logged --timestamps | has '^20[0-9]{2}-[0-9-]+T[0-9:.]+Z hollow: ' || fail "--timestamps" || return 1
    k logs -f logged >"$WORK/followed" || return 1
    [[ $(tail -1 "$WORK/followed") == *'its exit code is played as 3' ]] || fail "-f did not follow: $(cat "$WORK/followed")" || return 1
    until_true 30 k logs logged --previous || return 1
    k logs logged --previous | has 'is played as 3' || fail "--previous" || return 1
    ! k logs logged -c other 2>"$WORK/refused" || fail "a container that is not there has a log" || return 1
    has 'container other is not valid for pod logged' <"$WORK/refused" || fail "$(cat "$WORK/refused")" || return 1
    k delete pod logged --timeout=60s
}
