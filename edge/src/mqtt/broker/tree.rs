//! Who subscribes to what: filters by their levels.

use std::collections::BTreeMap;

use eventbus::ports::Qos;

/// Subscriptions of many clients. A message is matched by a walk along its topic's levels, whatever the
/// number of subscriptions to other topics.
#[derive(Debug)]
pub(super) struct Tree<K> {
    root: Level<K>,
    subscriptions: usize,
}

#[derive(Debug)]
struct Level<K> {
    /// By the text of the next level, wildcards among them.
    next: BTreeMap<Box<str>, Level<K>>,
    /// Whose filter ends here.
    subscribers: BTreeMap<K, Qos>,
}

impl<K> Default for Level<K> {
    fn default() -> Self {
        Self { next: BTreeMap::new(), subscribers: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Tree<K> {
    pub(super) fn new() -> Self {
        Self { root: Level::default(), subscriptions: 0 }
    }

    /// Returns how many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.subscriptions
    }

    /// Adds a subscription, or changes its QoS.
    pub(super) fn insert(&mut self, filter: &str, subscriber: K, qos: Qos) {
        let mut level = &mut self.root;
        for name in filter.split('/') {
            level = level.next.entry(name.into()).or_default();
        }
        if level.subscribers.insert(subscriber, qos).is_none() {
            self.subscriptions += 1;
        }
    }

    /// Takes a subscription away, and all levels that only it needed.
    pub(super) fn remove(&mut self, filter: &str, subscriber: &K) {
        if self.root.remove(filter.split('/'), subscriber) {
            self.subscriptions -= 1;
        }
    }

    /// Returns who gets what is published to a topic, each once and with the greatest QoS of his filters
    /// that match. A wildcard at the beginning of a filter matches no topic that begins with `$`.
    pub(super) fn matching(&self, topic: &str) -> BTreeMap<K, Qos> {
        let mut found = BTreeMap::new();
        let is_hidden = topic.starts_with('$');
        let mut reached = vec![&self.root];
        for (at, name) in topic.split('/').enumerate() {
            if reached.is_empty() {
                break;
            }
            let sees_wildcards = at > 0 || !is_hidden;
            let mut further = Vec::new();
            for level in reached {
                if sees_wildcards {
                    level.next.get("#").into_iter().for_each(|all| all.tell(&mut found));
                    further.extend(level.next.get("+"));
                }
                further.extend(level.next.get(name));
            }
            reached = further;
        }
        for level in reached {
            level.tell(&mut found);
            // `a/#` is for `a` too.
            level.next.get("#").into_iter().for_each(|all| all.tell(&mut found));
        }
        found
    }
}

impl<K: Ord + Clone> Level<K> {
    fn tell(&self, found: &mut BTreeMap<K, Qos>) {
        for (subscriber, qos) in &self.subscribers {
            let greatest = found.entry(subscriber.clone()).or_insert(*qos);
            *greatest = (*greatest).max(*qos);
        }
    }

    /// Its depth is bounded by the levels of a filter, which are.
    fn remove<'a>(&mut self, mut names: impl Iterator<Item = &'a str>, subscriber: &K) -> bool {
        let Some(name) = names.next() else { return self.subscribers.remove(subscriber).is_some() };
        let Some(next) = self.next.get_mut(name) else { return false };
        let was_there = next.remove(names, subscriber);
        if next.next.is_empty() && next.subscribers.is_empty() {
            self.next.remove(name);
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use protocol::filter::{is_filter, is_topic, matches};

    use super::*;

    #[test]
    fn each_gets_a_message_once_and_with_his_greatest_qos() {
        let mut tree = Tree::new();
        tree.insert("a/#", "x", Qos::AtMostOnce);
        tree.insert("a/+", "x", Qos::ExactlyOnce);
        tree.insert("a/b", "x", Qos::AtLeastOnce);
        tree.insert("a/b", "y", Qos::AtLeastOnce);
        tree.insert("a/b", "y", Qos::AtMostOnce);
        assert_eq!(tree.len(), 4);
        let expect = BTreeMap::from([("x", Qos::ExactlyOnce), ("y", Qos::AtMostOnce)]);
        assert_eq!(tree.matching("a/b"), expect);
        assert_eq!(tree.matching("a"), BTreeMap::from([("x", Qos::AtMostOnce)]));
        assert_eq!(tree.matching("b"), BTreeMap::new());
    }

    /// All texts of up to four levels of these.
    fn texts(levels: &[&str]) -> Vec<String> {
        let mut texts: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        let mut longest = texts.clone();
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}")))
                .collect();
            texts.extend(longest.clone());
        }
        texts
    }

    #[test]
    fn the_tree_matches_as_filters_do_one_by_one() {
        let filters: Vec<String> =
            texts(&["+", "#", "a", "", "$s"]).into_iter().filter(|text| is_filter(text)).collect();
        let mut tree = Tree::new();
        for filter in &filters {
            tree.insert(filter, filter.as_str(), Qos::AtMostOnce);
        }
        for topic in texts(&["a", "", "$s", "b"]).iter().filter(|text| is_topic(text)) {
            let found: Vec<&str> = tree.matching(topic).into_keys().collect();
            let mut expect: Vec<&str> =
                filters.iter().map(String::as_str).filter(|filter| matches(filter, topic)).collect();
            expect.sort_unstable();
            assert_eq!(found, expect, "{topic:?}");
        }
        for filter in &filters {
            tree.remove(filter, &"nobody");
            tree.remove(filter, &filter.as_str());
        }
        assert_eq!(tree.len(), 0);
        assert!(tree.root.next.is_empty(), "nothing is left of what is gone");
    }
}
