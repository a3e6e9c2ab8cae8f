//! Garbage collection by owner references.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::{BATCH_OBJECTS, change, objects, release, resource_of};
use crate::registry::Resource;
use crate::server::call::Call;
use crate::server::dispatch::find_kind;
use crate::server::error::ApiError;
use crate::server::meta;
use crate::storage::Transaction;
use crate::storage::object::{Key, Owner, Stored};
use crate::verbs::delete::{DeleteOptions, FOREGROUND, ORPHAN, remove};

/// One object among all others.
struct Entry {
    resource: Arc<Resource>,
    key: Key,
    object: Arc<Stored>,
}

/// What is to be done about one object.
enum Task {
    Delete {
        dependents: bool,
    },
    /// Forget these owners.
    Disown(BTreeSet<String>),
    Release(&'static str),
}

/// Deletes objects whose owners are all gone, and lets go of owners that wait for this.
pub(super) async fn collect(call: &Call) -> Result<(), ApiError> {
    let entries = all(call);
    let by_uid: BTreeMap<&str, &Entry> =
        entries.iter().map(|entry| (entry.object.uid.as_str(), entry)).collect();
    let mut dependents: BTreeMap<&str, Vec<(&Entry, bool)>> = BTreeMap::new();
    for entry in &entries {
        for owner in &entry.object.owners {
            dependents.entry(&owner.uid).or_default().push((entry, owner.blocks));
        }
    }
    let mut tasks = Vec::new();
    for entry in &entries {
        let own = dependents.get(entry.object.uid.as_str()).map(Vec::as_slice).unwrap_or_default();
        tasks.extend(judge(call, entry, &by_uid, !own.is_empty()).map(|task| (entry, task)));
        tasks.extend(let_go(entry, own));
    }
    for batch in tasks.chunks(BATCH_OBJECTS) {
        let decide = |transaction: &mut Transaction<'_>| {
            batch.iter().try_for_each(|(entry, task)| perform(call, transaction, entry, task))
        };
        call.server.0.storage.write(decide).await?;
    }
    Ok(())
}

fn all(call: &Call) -> Vec<Entry> {
    let mut entries = Vec::new();
    for space in call.server.0.storage.spaces() {
        let Some(resource) = resource_of(&call.registry, &space) else { continue };
        let found = objects(call, &space, None, |_| true);
        entries.extend(found.into_iter().map(|(key, object)| Entry {
            resource: Arc::clone(resource),
            key,
            object,
        }));
    }
    entries
}

/// Decides about an object by what became of its owners.
fn judge(call: &Call, entry: &Entry, by_uid: &BTreeMap<&str, &Entry>, dependents: bool) -> Option<Task> {
    let object = &entry.object;
    if object.owners.is_empty() {
        return None;
    }
    let (mut gone, mut waiting, mut solid) = (BTreeSet::new(), BTreeSet::new(), 0);
    for owner in &object.owners {
        match by_uid.get(owner.uid.as_str()) {
            Some(found) if waits_for_dependents(&found.object) => waiting.insert(owner.uid.clone()),
            Some(_) => {
                solid += 1;
                true
            }
            // The absence of what this server does not serve says nothing.
            None if is_served(call, owner) => gone.insert(owner.uid.clone()),
            None => {
                solid += 1;
                true
            }
        };
    }
    if solid > 0 {
        gone.append(&mut waiting);
        return (!gone.is_empty()).then_some(Task::Disown(gone));
    }
    (!object.deleting).then_some(Task::Delete { dependents: dependents && !waiting.is_empty() })
}

fn waits_for_dependents(object: &Stored) -> bool {
    object.deleting && object.finalizers.iter().any(|name| name == FOREGROUND)
}

fn is_served(call: &Call, owner: &Owner) -> bool {
    find_kind(&call.registry, &owner.group, &owner.kind).is_some()
}

/// Decides whether a deleted owner need not wait any longer.
fn let_go<'a>(entry: &'a Entry, dependents: &[(&'a Entry, bool)]) -> Vec<(&'a Entry, Task)> {
    let object = &entry.object;
    let has = |finalizer: &str| object.deleting && object.finalizers.iter().any(|name| name == finalizer);
    let mut tasks = Vec::new();
    if has(ORPHAN) {
        let disown = || Task::Disown([object.uid.clone()].into());
        tasks.extend(dependents.iter().map(|(dependent, _)| (*dependent, disown())));
        tasks.push((entry, Task::Release(ORPHAN)));
    }
    if has(FOREGROUND) && !dependents.iter().any(|(_, blocks)| *blocks) {
        tasks.push((entry, Task::Release(FOREGROUND)));
    }
    tasks
}

fn perform(
    call: &Call,
    transaction: &mut Transaction<'_>,
    entry: &Entry,
    task: &Task,
) -> Result<(), ApiError> {
    let Entry { resource, key, object } = entry;
    match task {
        Task::Release(finalizer) => release(resource, transaction, key, &object.uid, finalizer),
        Task::Disown(owners) => {
            change(resource, transaction, key, &object.uid, |value| disown(value, owners))
        }
        Task::Delete { dependents } => {
            let lives = transaction.get(&resource.storage, key);
            // Who got another owner meanwhile is looked at again in the next round.
            if lives.is_some_and(|lives| lives.uid == object.uid && lives.owners == object.owners) {
                let policy = if *dependents { "Foreground" } else { "Background" };
                let options = DeleteOptions::of_value(&serde_json::json!({"propagationPolicy": policy}))?;
                remove(call, resource, transaction, key, &options)?;
            }
            Ok(())
        }
    }
}

fn disown(value: &mut Value, owners: &BTreeSet<String>) {
    let metadata = meta::metadata_mut(value);
    let Some(references) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
    references.retain(|reference| reference["uid"].as_str().is_none_or(|uid| !owners.contains(uid)));
    if references.is_empty() {
        metadata.remove("ownerReferences");
    }
}
