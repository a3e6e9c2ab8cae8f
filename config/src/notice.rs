//! What was given and has no effect. It is told once and together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Keys that KubeEdge knows and that have no effect here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    ignored: BTreeSet<String>,
    outdated: BTreeMap<String, String>,
}

impl Notices {
    pub(crate) fn ignored(&mut self, path: &str) {
        self.ignored.insert(path.to_owned());
    }

    pub(crate) fn outdated(&mut self, path: &str, last: &str) {
        self.outdated.insert(path.to_owned(), last.to_owned());
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.ignored.extend(other.ignored);
        self.outdated.extend(other.outdated);
    }

    /// Tells whether everything that was given has an effect.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ignored.is_empty() && self.outdated.is_empty()
    }

    /// Returns the paths of the keys, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().chain(self.outdated.keys()).map(String::as_str)
    }
}

/// One line for all: `not in effect here: modules.edgeHub {projectID, quic.enable}; ...`.
impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if !self.ignored.is_empty() {
            write!(f, "not in effect here: {}", grouped(self.ignored.iter()))?;
            separator = "; ";
        }
        let mut by_version: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for (path, last) in &self.outdated {
            by_version.entry(last).or_default().push(path);
        }
        for (last, paths) in by_version {
            write!(f, "{separator}known to KubeEdge only up to {last}: {}", grouped(paths.into_iter()))?;
            separator = "; ";
        }
        Ok(())
    }
}

fn grouped<'a>(paths: impl Iterator<Item = &'a String>) -> String {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths {
        let depth = if path.starts_with("modules.") { 2 } else { 1 };
        match path.match_indices('.').nth(depth - 1) {
            Some((at, _)) => {
                let (group, rest) = path.split_at(at);
                groups.entry(group.to_owned()).or_default().push(rest.trim_start_matches('.'));
            }
            None => {
                groups.entry(path.clone()).or_default();
            }
        }
    }
    let groups: Vec<String> = groups
        .into_iter()
        .map(|(group, keys)| if keys.is_empty() { group } else { format!("{group} {{{}}}", keys.join(", ")) })
        .collect();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_groups_by_section_and_version() {
        let mut notices = Notices::default();
        for path in ["edgecoreVersion", "modules.edgeHub.quic.enable", "modules.edgeHub.projectID"] {
            notices.ignored(path);
        }
        notices.outdated("modules.edgeMesh.enable", "1.7");
        assert_eq!(
            notices.to_string(),
            "not in effect here: edgecoreVersion, modules.edgeHub {projectID, quic.enable}; \
             known to KubeEdge only up to 1.7: modules.edgeMesh {enable}"
        );
    }
}
