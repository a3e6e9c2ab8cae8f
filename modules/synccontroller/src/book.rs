//! What nodes keep, what the records say, and which of them are to be written.
//!
//! Nothing here is written at once: what differs is queued, each record once, and is taken some at a
//! time. Of an object that changes often only the newest version is written, and only when the
//! record was left alone for long enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::cloud::{Acknowledged, NodeSettled};
use protocol::{Held, NodeName, ResourceVersion, Uid};
use tokio::time::Instant;

use crate::record::{Found, Scope, Subject, Written};

/// How long to wait before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What was heard of an object on a node since this process began.
#[derive(Debug, Clone, PartialEq)]
enum Word {
    /// Nothing: the record stays as it is.
    Nothing,
    /// The node keeps this version.
    Kept(ResourceVersion),
    /// The node keeps it no longer.
    Gone,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    word: Word,
    /// The session of the word: what is heard of an older one is late.
    session: u64,
    written: Option<Written>,
    not_before: Option<Instant>,
    queued: Option<Instant>,
    /// Whether it is being written.
    busy: bool,
}

/// What is to be done about a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// It is missing, and is to say this version.
    Create(String),
    /// It is to say this version.
    Update(String),
    Delete,
}

impl Act {
    /// How many writes it takes.
    const fn writes(&self) -> u32 {
        match self {
            Self::Create(_) => 2,
            Self::Update(_) | Self::Delete => 1,
        }
    }
}

/// A record that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) node: NodeName,
    pub(crate) uid: Uid,
    pub(crate) subject: Subject,
    pub(crate) act: Act,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The record is this now.
    Written(Written),
    /// There is no such record now.
    Absent,
    /// The API server will not have it, as when its namespace is gone.
    Refused,
    /// It may succeed later.
    Failed,
}

#[derive(Debug, Default)]
struct Node {
    exists: bool,
    entries: BTreeMap<Uid, Entry>,
}

/// All records.
#[derive(Debug)]
pub(crate) struct Book {
    nodes: BTreeMap<NodeName, Node>,
    queue: BTreeSet<(Instant, NodeName, Uid)>,
    node_listing: Option<BTreeSet<NodeName>>,
    record_listings: BTreeMap<Scope, BTreeSet<(NodeName, Uid)>>,
    nodes_known: bool,
    records_known: BTreeSet<Scope>,
    interval: Duration,
}

impl Book {
    /// Makes an empty book, of records that are left alone for `interval` after each write.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            nodes: BTreeMap::new(),
            queue: BTreeSet::new(),
            node_listing: None,
            record_listings: BTreeMap::new(),
            nodes_known: false,
            records_known: BTreeSet::new(),
            interval,
        }
    }

    /// Takes what a node has acknowledged.
    pub(crate) fn acknowledged(&mut self, node: &NodeName, session: u64, change: Acknowledged, now: Instant) {
        let entries = &mut self.nodes.entry(node.clone()).or_default().entries;
        let mut touched = Vec::new();
        match change {
            Acknowledged::Kept(kept) => {
                if !entries.contains_key(&kept.uid) {
                    // It takes the place of the one that had its name.
                    touched = end(entries, session, |_, subject| subject.has_key(&kept.key));
                }
                let word = Word::Kept(kept.version.clone());
                hear(entries, &kept.uid, session, word, || Subject::of(&kept));
                touched.push(kept.uid);
            }
            Acknowledged::Gone { key, uid: None } => {
                touched = end(entries, session, |_, subject| subject.has_key(&key));
            }
            Acknowledged::Gone { uid: Some(uid), .. } => {
                touched = end(entries, session, |other, _| *other == uid);
            }
        }
        self.refresh_all(node, &touched, now);
    }

    /// Takes what a node held when its session began. What it was told since then is newer.
    pub(crate) fn settled(&mut self, settled: NodeSettled, now: Instant) {
        let NodeSettled { node, session, types, kept, wanted } = settled;
        let entries = &mut self.nodes.entry(node.clone()).or_default().entries;
        // What was heard in this session already is newer than what the node said at its beginning.
        let mut touched = end(entries, session.saturating_sub(1), |uid, subject| {
            !wanted.contains(uid) && types.iter().any(|known| subject.is_of_type(known.as_str()))
        });
        for kept in kept {
            if entries.get(&kept.uid).is_none_or(|entry| entry.session < session) {
                let word = Word::Kept(kept.version.clone());
                hear(entries, &kept.uid, session, word, || Subject::of(&kept));
                touched.push(kept.uid);
            }
        }
        self.refresh_all(&node, &touched, now);
    }

    /// Notes that a list of all nodes begins.
    pub(crate) fn begin_nodes(&mut self) {
        self.node_listing = Some(BTreeSet::new());
    }

    pub(crate) fn see_node(&mut self, name: NodeName, now: Instant) {
        if let Some(listing) = &mut self.node_listing {
            listing.insert(name.clone());
        }
        let node = self.nodes.entry(name.clone()).or_default();
        if !std::mem::replace(&mut node.exists, true) {
            self.refresh_node(&name, now);
        }
    }

    /// Notes that a node is gone: its records go too, and what is known of it. One that comes back is
    /// told all anew.
    pub(crate) fn lose_node(&mut self, name: &NodeName, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.exists = false;
        for entry in node.entries.values_mut() {
            entry.word = Word::Nothing;
        }
        self.refresh_node(name, now);
    }

    /// Notes that the list ended: nodes that were not in it are gone.
    pub(crate) fn end_nodes(&mut self, now: Instant) {
        let Some(seen) = self.node_listing.take() else { return };
        let all: Vec<(NodeName, bool)> =
            self.nodes.iter().map(|(name, node)| (name.clone(), node.exists)).collect();
        for (name, existed) in all.into_iter().filter(|(name, _)| !seen.contains(name)) {
            if existed {
                self.lose_node(&name, now);
            } else {
                self.refresh_node(&name, now);
            }
        }
        self.nodes_known = true;
    }

    /// Notes that a list of all records begins.
    pub(crate) fn begin_records(&mut self, scope: Scope) {
        self.record_listings.insert(scope, BTreeSet::new());
    }

    pub(crate) fn see_record(&mut self, found: Found, now: Instant) {
        let Found { node, uid, subject, written } = found;
        if let Some(listing) = self.record_listings.get_mut(&subject.scope()) {
            listing.insert((node.clone(), uid.clone()));
        }
        let entries = &mut self.nodes.entry(node.clone()).or_default().entries;
        let entry = entries.entry(uid.clone()).or_insert_with(|| Entry::new(subject));
        if entry.is_news(&written) {
            entry.written = Some(written);
            self.refresh(&node, &uid, now);
        }
    }

    /// Notes that a record is gone; `last` is its last state.
    pub(crate) fn lose_record(&mut self, last: &Found, now: Instant) {
        let Some(node) = self.nodes.get_mut(&last.node) else { return };
        let Some(entry) = node.entries.get_mut(&last.uid) else { return };
        if entry.is_news(&last.written) {
            entry.written = None;
            self.refresh(&last.node, &last.uid, now);
        }
    }

    /// Notes that the list ended: records that were not in it are gone.
    pub(crate) fn end_records(&mut self, scope: Scope, now: Instant) {
        let Some(seen) = self.record_listings.remove(&scope) else { return };
        let mut gone = Vec::new();
        for (name, node) in &mut self.nodes {
            for (uid, entry) in &mut node.entries {
                let is_listed = seen.contains(&(name.clone(), uid.clone()));
                if entry.subject.scope() == scope && entry.written.is_some() && !is_listed && !entry.busy {
                    entry.written = None;
                    gone.push((name.clone(), uid.clone()));
                }
            }
        }
        for (node, uid) in gone {
            self.refresh(&node, &uid, now);
        }
        self.records_known.insert(scope);
    }

    /// Tells whether it is known what there is.
    pub(crate) fn is_known(&self) -> bool {
        self.nodes_known && self.records_known.len() == Scope::ALL.len()
    }

    /// Lists what a node keeps, by what was heard of it and by its records.
    pub(crate) fn list(&self, node: &NodeName) -> Vec<Held> {
        let entries = self.nodes.get(node).into_iter().flat_map(|node| &node.entries);
        entries.filter_map(|(uid, entry)| entry.held(uid)).collect()
    }

    /// Returns when something is to be written; `None` while nothing is, or while it is not known
    /// what there is.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|(due, ..)| *due).filter(|_| self.is_known())
    }

    /// Takes what is due, up to a number of writes: what has waited longest first.
    pub(crate) fn take(&mut self, writes_max: u32, now: Instant) -> Vec<Job> {
        let (mut jobs, mut writes) = (Vec::new(), 0);
        while self.next_due().is_some_and(|due| due <= now) && writes < writes_max {
            let Some((_, node, uid)) = self.queue.pop_first() else { break };
            let Some(owner) = self.nodes.get_mut(&node) else { continue };
            let Some(entry) = owner.entries.get_mut(&uid) else { continue };
            entry.queued = None;
            let Some(act) = entry.wanted(owner.exists) else { continue };
            entry.busy = true;
            writes += act.writes();
            jobs.push(Job { subject: entry.subject.clone(), node, uid, act });
        }
        jobs
    }

    /// Takes what came of a job.
    pub(crate) fn done(&mut self, node: &NodeName, uid: &Uid, outcome: Outcome, now: Instant) {
        let Some(entry) = self.nodes.get_mut(node).and_then(|node| node.entries.get_mut(uid)) else { return };
        entry.busy = false;
        entry.not_before = Some(now + if outcome == Outcome::Failed { RETRY } else { self.interval });
        match outcome {
            Outcome::Written(written) if entry.is_news(&written) => entry.written = Some(written),
            Outcome::Written(_) | Outcome::Failed => {}
            Outcome::Absent => {
                entry.written = None;
                entry.not_before = None;
            }
            Outcome::Refused => entry.word = Word::Nothing,
        }
        self.refresh(node, uid, now);
    }

    fn refresh_node(&mut self, name: &NodeName, now: Instant) {
        let entries = self.nodes.get(name).into_iter().flat_map(|node| node.entries.keys());
        let all: Vec<Uid> = entries.cloned().collect();
        self.refresh_all(name, &all, now);
        if self.nodes.get(name).is_some_and(|node| !node.exists && node.entries.is_empty()) {
            self.nodes.remove(name);
        }
    }

    fn refresh_all(&mut self, node: &NodeName, uids: &[Uid], now: Instant) {
        for uid in uids {
            self.refresh(node, uid, now);
        }
    }

    /// Queues a record that is to be written, and forgets one of which there is nothing to say.
    fn refresh(&mut self, name: &NodeName, uid: &Uid, now: Instant) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(entry) = node.entries.get_mut(uid) else { return };
        let is_wanted = entry.wanted(node.exists).is_some() && !entry.busy;
        match entry.queued {
            None if is_wanted => {
                let due = entry.not_before.map_or(now, |not_before| not_before.max(now));
                entry.queued = Some(due);
                self.queue.insert((due, name.clone(), uid.clone()));
            }
            Some(due) if !is_wanted => {
                entry.queued = None;
                self.queue.remove(&(due, name.clone(), uid.clone()));
            }
            Some(_) | None => {}
        }
        if !entry.busy && entry.written.is_none() && !matches!(entry.word, Word::Kept(_)) {
            node.entries.remove(uid);
        }
    }
}

impl Entry {
    const fn new(subject: Subject) -> Self {
        Self {
            subject,
            word: Word::Nothing,
            session: 0,
            written: None,
            not_before: None,
            queued: None,
            busy: false,
        }
    }

    /// Returns what the node keeps of the object, if it is not known to have dropped it.
    fn held(&self, uid: &Uid) -> Option<Held> {
        let version = match (&self.word, &self.written) {
            (Word::Kept(version), _) => version.clone(),
            (Word::Nothing, Some(written)) => ResourceVersion::new(&written.version),
            (Word::Nothing, None) | (Word::Gone, _) => return None,
        };
        Some(Held { key: self.subject.key()?, uid: Some(uid.clone()), resource_version: Some(version) })
    }

    /// Returns what is to be done, given whether the node exists.
    fn wanted(&self, node_exists: bool) -> Option<Act> {
        match (&self.written, &self.word) {
            (Some(_), _) if !node_exists => Some(Act::Delete),
            (Some(_), Word::Gone) => Some(Act::Delete),
            (Some(written), Word::Kept(version)) if written.version != version.as_str() => {
                Some(Act::Update(version.to_string()))
            }
            (None, Word::Kept(version)) if node_exists => Some(Act::Create(version.to_string())),
            (Some(_) | None, _) => None,
        }
    }

    /// Tells whether a state of the record is newer than what is known of it.
    fn is_news(&self, heard: &Written) -> bool {
        match (self.written.as_ref().and_then(|written| written.at), heard.at) {
            (Some(known), Some(heard)) => known < heard,
            _ => true,
        }
    }
}

/// Notes what was heard of an object, unless something was in a later session.
fn hear(
    entries: &mut BTreeMap<Uid, Entry>,
    uid: &Uid,
    session: u64,
    word: Word,
    subject: impl FnOnce() -> Subject,
) {
    let entry = entries.entry(uid.clone()).or_insert_with(|| Entry::new(subject()));
    if entry.session <= session {
        entry.session = session;
        entry.word = word;
    }
}

/// Ends what was heard up to a session of the objects that `ends` chooses, and returns their uids.
fn end(entries: &mut BTreeMap<Uid, Entry>, session: u64, ends: impl Fn(&Uid, &Subject) -> bool) -> Vec<Uid> {
    let mut ended = Vec::new();
    for (uid, entry) in entries {
        if entry.session <= session && ends(uid, &entry.subject) {
            entry.session = session;
            entry.word = Word::Gone;
            ended.push(uid.clone());
        }
    }
    ended
}

#[cfg(test)]
mod tests;
