//! A database as KubeEdge's edgecore makes it, and what is taken over of it.

use std::path::Path;

use clap::Parser;
use rusqlite::Connection;

use super::*;
use crate::play::Played;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    migrate: Migrate,
}

fn flags(config: &Path, more: &[&str]) -> Migrate {
    let line = ["migrate", "--config", config.to_str().expect("a text"), "--root", "/nonexistent"];
    Line::try_parse_from(line.iter().chain(more)).unwrap_or_else(|error| panic!("{error}")).migrate
}

const ROWS: [(&str, &str, &str); 9] = [
    (
        "default/pod/web",
        "pod",
        r#"{"metadata":{"name":"web","namespace":"default","uid":"u1","resourceVersion":"7"},"spec":{}}"#,
    ),
    (
        "default/configmap/settings",
        "configmap",
        r#"{"metadata":{"name":"settings","namespace":"default"},"data":{"a":"b"}}"#,
    ),
    ("kube-system/secret/s", "secret", r#"{"metadata":{"name":"s","namespace":"kube-system"}}"#),
    ("default/node/edge-1", "node", r#"{"metadata":{"name":"edge-1"}}"#),
    ("default/podstatus/web", "podstatus", r#"{"Name":"web"}"#),
    ("default/lease/edge-1", "lease", "{}"),
    ("default/pod/broken", "pod", "{"),
    ("default/pod/other", "pod", r#"{"metadata":{"name":"web","namespace":"default"}}"#),
    ("odd", "pod", r#"{"metadata":{"name":"odd"}}"#),
];

/// Makes the files of a node of KubeEdge, with the table's definition as its ORM writes it.
fn node(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("edgecore.db");
    let database = Connection::open(&path).expect("it opens");
    database
        .execute_batch("CREATE TABLE `meta` (`key` text, `type` text, `value` text, PRIMARY KEY (`key`))")
        .expect("it is a table");
    for (key, kind, value) in ROWS {
        database.execute("INSERT INTO meta VALUES (?1, ?2, ?3)", [key, kind, value]).expect("it is a row");
    }
    let config = directory.join("edgecore.yaml");
    let text = format!("database: {{dataSource: {}}}\n", path.display());
    std::fs::write(&config, text).expect("it is writable");
    config
}

#[tokio::test]
async fn what_a_node_needs_is_taken_over_once_and_the_database_stays_as_it_was() {
    let home = tempfile::tempdir().expect("a directory");
    let config = node(home.path());
    let before = std::fs::read(home.path().join("edgecore.db")).expect("readable");
    run(flags(&config, &["--dry-run"]), &Played::new()).await.expect("it can be read");
    assert!(!home.path().join("edgecore.db.d").exists());

    for taken in [4, 0] {
        run(flags(&config, &[]), &Played::new()).await.expect("it is taken over");
        let kept = database::read(&home.path().join("edgecore.db")).expect("readable");
        let skipped: Vec<&str> = kept.skipped.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(skipped, ["default/pod/broken", "default/pod/other", "odd"]);
        let medium = SledMedium::open(home.path().join("edgecore.db.d"), OnDamage::Refuse).expect("it opens");
        let again = import(&*medium.store(), &kept.objects).await.expect("it is sound");
        assert_eq!((again, kept.objects.len()), (0, 4), "after a run that took {taken}");
    }
    assert_eq!(std::fs::read(home.path().join("edgecore.db")).expect("readable"), before);
}

#[tokio::test]
async fn what_is_no_database_is_said() {
    let home = tempfile::tempdir().expect("a directory");
    let config = node(home.path());
    let database = home.path().join("edgecore.db");
    std::fs::write(&database, "text that is no database, and longer than a header of SQLite".repeat(20))
        .expect("writable");
    let told = |error: MigrateError| Causes(&error).to_string();
    let error = told(run(flags(&config, &[]), &Played::new()).await.expect_err("it is text"));
    assert!(error.contains("file is not a database"), "{error}");
    std::fs::remove_file(&database).expect("it is there");
    let error = told(run(flags(&config, &[]), &Played::new()).await.expect_err("it is gone"));
    assert!(error.contains("edgecore.db: name KubeEdge's database by --database"), "{error}");
    let error =
        told(run(flags(Path::new("/nonexistent.yaml"), &[]), &Played::new()).await.expect_err("no file"));
    assert!(error.contains("/nonexistent.yaml"), "{error}");
}
