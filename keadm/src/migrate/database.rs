//! KubeEdge's database: one SQLite file, whose table `meta` has an object's JSON under its resource path.

use std::path::Path;
use std::time::Duration;

use protocol::{Namespace, Object, ObjectKey, ObjectName, ResourceType};
use rusqlite::{Connection, OpenFlags};

use super::{Named, reason};

/// What a node cannot go on without. Leases, statuses and patches are made anew.
const TYPES: [&str; 4] = ["pod", "configmap", "secret", "node"];
/// More objects than any node has.
const ROWS_MAX: usize = 100_000;
/// The greatest object that an API server takes is of 1.5 MiB.
const VALUE_BYTES_MAX: usize = 4 << 20;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Says why the database gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("the file is not there")]
    Missing,
    #[error("SQLite cannot read it")]
    Sqlite(#[from] rusqlite::Error),
    #[error("it has more than {ROWS_MAX} objects")]
    Long,
}

/// What KubeEdge kept.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) objects: Vec<Named>,
    /// What is left out, by its key, and why.
    pub(crate) skipped: Vec<(String, String)>,
}

/// Reads what a node needs, without a change to the file.
pub(crate) fn read(path: &Path) -> Result<Kept, DatabaseError> {
    if !path.is_file() {
        return Err(DatabaseError::Missing);
    }
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(BUSY_TIMEOUT)?;
    let mut select = database.prepare("SELECT key, type, value FROM meta ORDER BY key")?;
    let mut rows = select.query([])?;
    let mut kept = Kept::default();
    while let Some(row) = rows.next()? {
        let (key, kind): (String, String) = (row.get(0)?, row.get(1)?);
        if !TYPES.contains(&kind.as_str()) {
            continue;
        }
        if kept.objects.len() + kept.skipped.len() >= ROWS_MAX {
            return Err(DatabaseError::Long);
        }
        let value: String = match row.get(2) {
            Ok(value) => value,
            Err(error) => {
                kept.skipped.push((key, reason(&error)));
                continue;
            }
        };
        match object(&key, &kind, value) {
            Ok(named) => kept.objects.push(named),
            Err(reason) => kept.skipped.push((key, reason)),
        }
    }
    Ok(kept)
}

/// Reads one row. Its key is `namespace/type/name`; of an object without a namespace, the namespace is one
/// of KubeEdge's own choice.
fn object(key: &str, kind: &str, value: String) -> Result<Named, String> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("it has {} bytes", value.len()));
    }
    let segments: Vec<&str> = key.split('/').collect();
    let [_, of_key, name] = segments[..] else { return Err("its key is no namespace/type/name".to_owned()) };
    if of_key != kind {
        return Err(format!("its key is of the type {of_key}, and its row of {kind}"));
    }
    let object = Object::parse(value).map_err(|error| reason(&error))?;
    let meta = object.meta();
    if meta.name != name {
        return Err(format!("it is another object, {}", meta.name));
    }
    let namespace = match meta.namespace.as_deref() {
        None | Some("") => None,
        Some(namespace) => Some(Namespace::parse(namespace).map_err(|error| reason(&error))?),
    };
    let key = ObjectKey {
        resource: ResourceType::parse(kind).map_err(|error| reason(&error))?,
        namespace,
        name: ObjectName::parse(name).map_err(|error| reason(&error))?,
    };
    Ok((key, object))
}
