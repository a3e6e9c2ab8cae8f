use protocol::{Kept, Namespace, ObjectKey, ObjectName, ResourceType};

use super::*;

const INTERVAL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn node(name: &str) -> NodeName {
    NodeName::parse(name).expect("a name")
}

fn uid(text: &str) -> Uid {
    Uid::parse(text).expect("a uid")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        resource: ResourceType::POD,
        namespace: Some(Namespace::parse("default").expect("a namespace")),
        name: ObjectName::parse(name).expect("a name"),
    }
}

fn kept(name: &str, id: &str, version: u64) -> Kept {
    let version = ResourceVersion::new(&version.to_string());
    Kept { key: key(name), uid: uid(id), api_version: "v1".to_owned(), kind: "Pod".to_owned(), version }
}

fn found(name: &str, id: &str, version: &str, at: u64) -> Found {
    let written = Written { version: version.to_owned(), at: Some(at) };
    Found { node: node("n"), uid: uid(id), subject: Subject::of(&kept(name, id, 0)), written }
}

/// A book that knows the node `n` and the records that are given, and a moment.
fn book(records: &[Found]) -> (Book, Instant) {
    let (mut book, now) = (Book::new(INTERVAL), Instant::now());
    book.begin_nodes();
    book.see_node(node("n"), now);
    book.end_nodes(now);
    for scope in Scope::ALL {
        book.begin_records(scope);
    }
    for record in records {
        book.see_record(record.clone(), now);
    }
    for scope in Scope::ALL {
        book.end_records(scope, now);
    }
    (book, now)
}

fn keep(book: &mut Book, session: u64, kept: Kept, now: Instant) {
    book.acknowledged(&node("n"), session, Acknowledged::Kept(kept), now);
}

fn settle(book: &mut Book, session: u64, kept: Vec<Kept>, wanted: &[&str], now: Instant) {
    let wanted = wanted.iter().map(|id| uid(id)).collect();
    let types = vec![ResourceType::POD];
    book.settled(NodeSettled { node: node("n"), session, types, kept, wanted }, now);
}

/// Takes all jobs that are due.
fn jobs(book: &mut Book, now: Instant) -> Vec<String> {
    let jobs = book.take(u32::MAX, now);
    jobs.iter().map(|job| format!("{} {:?}", job.uid, job.act)).collect()
}

fn done(book: &mut Book, id: &str, version: &str, at: u64, now: Instant) {
    let written = Written { version: version.to_owned(), at: Some(at) };
    book.done(&node("n"), &uid(id), Outcome::Written(written), now);
}

#[test]
fn of_a_storm_of_changes_the_newest_is_written_once_per_interval() {
    let (mut book, now) = book(&[]);
    keep(&mut book, 1, kept("a", "u", 1), now);
    assert_eq!(jobs(&mut book, now), [r#"u Create("1")"#]);
    for version in 2..1000 {
        keep(&mut book, 1, kept("a", "u", version), now);
    }
    assert_eq!(jobs(&mut book, now), [""; 0], "it is being written");
    done(&mut book, "u", "1", 10, now);
    assert_eq!(book.next_due(), Some(now + INTERVAL));
    assert_eq!(jobs(&mut book, now + INTERVAL), [r#"u Update("999")"#]);
    done(&mut book, "u", "999", 11, now + INTERVAL);
    assert_eq!(book.next_due(), None);
}

#[test]
fn writes_are_bounded_and_what_waited_longest_goes_first() {
    let (mut book, now) = book(&[]);
    for (second, name) in ["c", "b", "a"].into_iter().enumerate() {
        let second = u32::try_from(second).expect("small");
        keep(&mut book, 1, kept(name, name, 1), now + second * SECOND);
    }
    let taken: Vec<String> = book.take(3, now + 5 * SECOND).iter().map(|job| job.uid.to_string()).collect();
    assert_eq!(taken, ["c", "b"], "each takes two writes");
    assert_eq!(jobs(&mut book, now + 5 * SECOND), [r#"a Create("1")"#]);
}

#[test]
fn an_object_that_is_gone_takes_its_record_with_it() {
    let (mut book, now) =
        book(&[found("a", "u", "1", 10), found("b", "v", "1", 11), found("c", "w", "1", 12)]);
    let gone = |name, id: Option<&str>| Acknowledged::Gone { key: key(name), uid: id.map(uid) };
    book.acknowledged(&node("n"), 1, gone("a", Some("u")), now);
    book.acknowledged(&node("n"), 1, gone("b", None), now);
    keep(&mut book, 1, kept("c", "x", 5), now);
    assert_eq!(jobs(&mut book, now), ["u Delete", "v Delete", "w Delete", r#"x Create("5")"#]);
    for id in ["u", "v", "w"] {
        book.done(&node("n"), &uid(id), Outcome::Absent, now);
    }
    assert_eq!(book.nodes[&node("n")].entries.len(), 1, "nothing is kept of them");
}

#[test]
fn what_a_node_says_it_holds_makes_the_records_right() {
    let records = [
        found("a", "u", "1", 10),
        found("b", "v", "9", 11),
        found("c", "w", "3", 12),
        found("d", "x", "4", 13),
    ];
    let (mut book, now) = book(&records);
    settle(
        &mut book,
        7,
        vec![kept("a", "u", 1), kept("b", "v", 8), kept("e", "y", 2)],
        &["u", "v", "x", "y"],
        now,
    );
    let expected = [r#"v Update("8")"#, "w Delete", r#"y Create("2")"#];
    assert_eq!(jobs(&mut book, now), expected, "x is wanted, and what the node has of it is not known");
}

#[test]
fn what_is_heard_of_an_older_session_or_late_changes_nothing() {
    let (mut book, now) = book(&[]);
    keep(&mut book, 7, kept("a", "u", 5), now);
    keep(&mut book, 6, kept("a", "u", 4), now);
    settle(&mut book, 7, vec![kept("a", "u", 3)], &["u"], now);
    settle(&mut book, 7, Vec::new(), &[], now);
    assert_eq!(jobs(&mut book, now), [r#"u Create("5")"#]);
}

#[test]
fn records_of_a_node_that_is_gone_are_deleted_and_come_back_with_it() {
    let orphan = Found { node: node("m"), ..found("o", "o", "1", 9) };
    let (mut book, now) = book(&[orphan, found("a", "u", "1", 10)]);
    keep(&mut book, 1, kept("b", "v", 1), now);
    assert_eq!(jobs(&mut book, now), ["o Delete", r#"v Create("1")"#]);
    book.lose_node(&node("n"), now);
    done(&mut book, "v", "1", 11, now);
    assert_eq!(jobs(&mut book, now + INTERVAL), ["u Delete", "v Delete"]);
    for id in ["u", "v"] {
        book.done(&node("n"), &uid(id), Outcome::Absent, now);
    }
    book.see_node(node("n"), now);
    keep(&mut book, 1, kept("b", "v", 1), now);
    assert_eq!(jobs(&mut book, now), [r#"v Create("1")"#]);
}

#[test]
fn nothing_is_written_before_all_is_known() {
    let (mut book, now) = (Book::new(INTERVAL), Instant::now());
    keep(&mut book, 1, kept("a", "u", 1), now);
    book.see_node(node("n"), now);
    book.see_record(Found { node: node("m"), ..found("o", "o", "1", 9) }, now);
    assert_eq!((book.next_due(), jobs(&mut book, now)), (None, Vec::new()));
}

#[test]
fn what_others_do_to_records_is_mended_and_what_is_refused_is_left() {
    let (mut book, now) = book(&[found("a", "u", "1", 10)]);
    keep(&mut book, 1, kept("a", "u", 1), now);
    assert_eq!(book.next_due(), None, "it says so already");
    book.lose_record(&found("a", "u", "1", 9), now);
    assert_eq!(book.next_due(), None, "that was heard before");
    book.lose_record(&found("a", "u", "1", 12), now);
    assert_eq!(jobs(&mut book, now), [r#"u Create("1")"#]);
    book.done(&node("n"), &uid("u"), Outcome::Failed, now);
    assert_eq!(jobs(&mut book, now + RETRY), [r#"u Create("1")"#]);
    book.done(&node("n"), &uid("u"), Outcome::Refused, now);
    assert_eq!(book.next_due(), None);
    keep(&mut book, 1, kept("a", "u", 2), now);
    assert_eq!(jobs(&mut book, now + INTERVAL), [r#"u Create("2")"#], "until more is heard");
}

#[test]
fn what_a_node_keeps_is_told_by_its_records_and_by_what_was_heard_since() {
    let (mut book, now) = book(&[
        found("recorded", "r", "4", 10),
        found("dropped", "d", "5", 11),
        found("newer", "n", "6", 12),
        found("announced", "a", "", 13),
    ]);
    keep(&mut book, 1, kept("newer", "n", 7), now);
    keep(&mut book, 1, kept("unwritten", "u", 8), now);
    let gone = Acknowledged::Gone { key: key("dropped"), uid: Some(uid("d")) };
    book.acknowledged(&node("n"), 1, gone, now);
    let listed: Vec<_> = book
        .list(&node("n"))
        .iter()
        .map(|held| format!("{} {}", held.key, held.resource_version.as_ref().expect("a version")))
        .collect();
    let expected = [
        "pod default/announced ",
        "pod default/newer 7",
        "pod default/recorded 4",
        "pod default/unwritten 8",
    ];
    assert_eq!(listed, expected);
    assert_eq!(book.list(&node("m")), []);
}
