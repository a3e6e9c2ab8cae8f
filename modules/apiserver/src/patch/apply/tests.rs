use serde_json::json;

use super::*;

fn manager(name: &str) -> Manager<'_> {
    Manager { name, subresource: "", now: Timestamp::UNIX_EPOCH }
}

fn deployment(replicas: Option<i64>, image: &str) -> Value {
    let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d",
        "labels": {"app": "d"}}, "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": {
        "metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}});
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = Value::from(replicas);
    }
    deployment
}

struct World {
    registry: Registry,
}

impl World {
    fn new() -> Self {
        Self { registry: Registry::builtin() }
    }

    fn deployments(&self) -> &Resource {
        self.registry.find("apps", "v1", "deployments").unwrap()
    }

    fn apply(
        &self,
        live: Option<&Value>,
        applied: &Value,
        name: &str,
        force: bool,
    ) -> Result<Value, ApplyError> {
        apply(&self.registry, self.deployments(), live, applied, &manager(name), force)
    }

    fn update(&self, old: Option<&Value>, mut new: Value, name: &str) -> Value {
        track(&self.registry, self.deployments(), old, &mut new, &manager(name));
        new
    }
}

fn fields<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    &entry.unwrap_or_else(|| panic!("{manager} has no entry"))["fieldsV1"]
}

#[test]
fn applying_twice_changes_nothing() {
    let world = World::new();
    let first = world.apply(None, &deployment(Some(1), "a"), "kubectl", false).unwrap();
    let entries = first["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["operation"], "Apply");
    assert_eq!(entries[0]["time"], "1970-01-01T00:00:00Z");
    let later = Manager { now: Timestamp::from_second(100).unwrap(), ..manager("kubectl") };
    let deployments = world.deployments();
    let second =
        apply(&world.registry, deployments, Some(&first), &deployment(Some(1), "a"), &later, false).unwrap();
    assert_eq!(second, first);
}

#[test]
fn fields_that_are_applied_no_more_go_unless_others_set_them() {
    let world = World::new();
    let mut applied = deployment(Some(3), "a");
    applied["metadata"]["annotations"] = json!({"x": "1", "y": "2"});
    let live = world.apply(None, &applied, "one", false).unwrap();
    let mut theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
    theirs["spec"] = json!({"replicas": 3});
    let live = world.apply(Some(&live), &theirs, "two", false).unwrap();

    applied["metadata"]["annotations"] = json!({"y": "2"});
    applied["spec"].as_object_mut().unwrap().remove("replicas");
    let live = world.apply(Some(&live), &applied, "one", false).unwrap();
    assert_eq!(live["metadata"]["annotations"], json!({"y": "2"}));
    assert_eq!(live["spec"]["replicas"], 3, "the other manager keeps it");
    assert!(fields(&live, "one").pointer("/f:spec/f:replicas").is_none());

    let live = world
        .apply(
            Some(&live),
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}),
            "two",
            false,
        )
        .unwrap();
    assert!(live["spec"].get("replicas").is_none());
    assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 1);
}

#[test]
fn a_list_item_goes_with_its_defaults() {
    let world = World::new();
    let mut applied = deployment(None, "a");
    applied["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "c", "image": "a"}, {"name": "e", "image": "b"}]);
    let mut live = world.apply(None, &applied, "one", false).unwrap();
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let live = world.apply(Some(&live), &deployment(None, "a"), "one", false).unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"], json!([{"name": "c", "image": "a"}]));
}

#[test]
fn a_conflict_names_the_manager_and_the_field() {
    let world = World::new();
    let live = world.update(None, deployment(Some(1), "a"), "kubectl-create");
    let refused = world.apply(Some(&live), &deployment(Some(2), "a"), "me", false).unwrap_err();
    let status = refused.status(world.deployments(), "d");
    assert_eq!(status["code"], 409);
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl-create\" using apps/v1: .spec.replicas"
    );
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "FieldManagerConflict", "field": ".spec.replicas",
        "message": "conflict with \"kubectl-create\" using apps/v1"})
    );

    let refused = world.apply(Some(&live), &deployment(Some(2), "b"), "me", false).unwrap_err();
    assert_eq!(
        refused.status(world.deployments(), "d")["message"],
        "Apply failed with 2 conflicts: conflicts with \"kubectl-create\" using apps/v1:\n- .spec.replicas\n\
        - .spec.template.spec.containers[name=\"c\"].image"
    );

    let forced = world.apply(Some(&live), &deployment(Some(2), "a"), "me", true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert!(fields(&forced, "kubectl-create").pointer("/f:spec/f:replicas").is_none());
}

#[test]
fn equal_values_are_shared_without_a_conflict() {
    let world = World::new();
    let live = world.update(None, deployment(Some(1), "a"), "kubectl-create");
    let live = world.apply(Some(&live), &deployment(Some(1), "a"), "me", false).unwrap();
    assert!(fields(&live, "kubectl-create").pointer("/f:spec/f:replicas").is_some());
    assert!(fields(&live, "me").pointer("/f:spec/f:replicas").is_some());
}

#[test]
fn a_create_is_recorded_as_a_real_server_does() {
    let world = World::new();
    let mut new = deployment(Some(1), "a");
    new["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}});
    new["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    new["status"] = json!({});
    let created = world.update(None, new, "kubectl-create");
    assert_eq!(
        *fields(&created, "kubectl-create"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {
                "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}}}}}}})
    );
}

#[test]
fn an_update_takes_what_it_changed_and_no_more() {
    let world = World::new();
    let live = world.apply(None, &deployment(Some(1), "a"), "owner", false).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(5);
    let new = world.update(Some(&live), new, "scaler");
    assert_eq!(*fields(&new, "scaler"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(fields(&new, "owner").pointer("/f:spec/f:replicas").is_none());
    let same = world.update(Some(&new), new.clone(), "nobody");
    assert_eq!(same, new);
}

#[test]
fn a_writer_may_edit_and_reset_the_record() {
    let world = World::new();
    let live = world.update(None, deployment(Some(1), "a"), "kubectl-client-side-apply");
    let mut migrated = live.clone();
    migrated["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
    migrated["metadata"]["managedFields"][0]["operation"] = json!("Apply");
    let migrated = world.update(Some(&live), migrated, "kubectl");
    assert_eq!(migrated["metadata"]["managedFields"][0]["operation"], "Apply");
    let mut reset = live.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    let reset = world.update(Some(&live), reset, "x");
    assert!(reset["metadata"].get("managedFields").is_none());
    let mut silent = live.clone();
    silent["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(world.update(Some(&live), silent, "x"), live);
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let world = World::new();
    let mut object = deployment(Some(1), "a");
    let last = serde_json::to_string(&object).unwrap();
    object["metadata"]["annotations"] = json!({ LAST_APPLIED: last });
    let live = world.update(None, object, "kubectl-client-side-apply");
    let taken = world.apply(Some(&live), &deployment(Some(1), "b"), "kubectl", false).unwrap();
    assert_eq!(taken["spec"]["template"]["spec"]["containers"][0]["image"], "b");
    assert!(world.apply(Some(&live), &deployment(Some(1), "b"), "another", false).is_err());
}

#[test]
fn an_object_without_a_record_belongs_to_whoever_came_before() {
    let world = World::new();
    let live = deployment(Some(1), "a");
    let refused = world.apply(Some(&live), &deployment(Some(2), "a"), "me", false).unwrap_err();
    assert!(matches!(refused, ApplyError::Conflict(conflicts) if conflicts[0].manager.contains(BEFORE)));
    let merged = world.apply(Some(&live), &deployment(Some(1), "a"), "me", false).unwrap();
    assert!(fields(&merged, BEFORE).pointer("/f:spec/f:replicas").is_some());
}

#[test]
fn many_updates_are_remembered_in_few_entries() {
    let world = World::new();
    let mut live = world.update(None, deployment(Some(0), "a"), "m");
    for round in 0..30 {
        let mut new = live.clone();
        new["metadata"]["labels"][format!("l{round}")] = json!("x");
        let name = format!("m{round}");
        let now = Timestamp::from_second(round).unwrap();
        let manager = Manager { now, ..manager(&name) };
        track(&world.registry, world.deployments(), Some(&live), &mut new, &manager);
        live = new;
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), UPDATE_ENTRIES_MAX);
    assert!(fields(&live, ANCIENT).pointer("/f:metadata/f:labels/f:l3").is_some());
}

#[test]
fn lists_keep_the_places_of_what_only_the_live_object_has() {
    let world = World::new();
    let spec = |containers: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let live = spec(json!([{"name": "x"}, {"name": "a"}, {"name": "y"}, {"name": "b"}]));
    let merged =
        world.apply(Some(&live), &spec(json!([{"name": "a"}, {"name": "n"}, {"name": "b"}])), "me", true);
    let merged = merged.unwrap();
    let names: Vec<&str> = merged["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["x", "a", "n", "y", "b"]);
}

#[test]
fn the_applied_object_may_not_carry_a_record_or_repeat_items() {
    let world = World::new();
    let mut applied = deployment(None, "a");
    applied["metadata"]["managedFields"] = json!([]);
    assert!(matches!(world.apply(None, &applied, "me", false), Err(ApplyError::Bad(_))));
    let mut applied = deployment(None, "a");
    applied["spec"]["template"]["spec"]["containers"] = json!([{"name": "c"}, {"name": "c"}]);
    assert!(matches!(world.apply(None, &applied, "me", false), Err(ApplyError::Bad(_))));
}
