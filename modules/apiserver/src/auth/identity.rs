//! The identity of a request.

use std::collections::BTreeMap;
use std::fmt;

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, such as `system:node:edge-01`.
    pub name: String,
    /// The user's uid, empty where there is none.
    pub uid: String,
    /// The groups, without `system:authenticated`, which every known identity is in.
    pub groups: Vec<String>,
    /// What else is known.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";

impl Identity {
    /// Makes an identity that was verified by the caller.
    #[must_use]
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let groups = groups.into_iter().map(Into::into).collect();
        Self { name: name.into(), uid: String::new(), groups, extra: BTreeMap::new() }
    }

    /// The identity of the cluster's administrator.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", [MASTERS])
    }

    /// The identity of a request without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED])
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Returns all groups, with the one that every authenticated user is in.
    pub(crate) fn all_groups(&self) -> Vec<String> {
        let mut groups = self.groups.clone();
        if !self.is_anonymous() && !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        groups
    }

    pub(crate) fn in_group(&self, group: &str) -> bool {
        let implied = group == AUTHENTICATED && !self.is_anonymous();
        implied || self.groups.iter().any(|other| other == group)
    }
}

/// A bearer token that is given, not made: the administrator's, or a bootstrap token.
#[derive(Clone)]
pub struct StaticToken {
    /// The secret.
    pub token: String,
    /// Who presents it.
    pub identity: Identity,
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticToken").field("token", &"***").field("identity", &self.identity).finish()
    }
}

/// Compares secrets in a time that does not depend on where they differ.
pub(crate) fn same_secret(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (l, r)| differ | (l ^ r)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_identity_is_authenticated() {
        assert!(Identity::new("ann", Vec::<String>::new()).in_group("system:authenticated"));
        assert!(!Identity::anonymous().in_group("system:authenticated"));
        assert!(Identity::admin().in_group(MASTERS));
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = StaticToken { token: "hunter2".to_owned(), identity: Identity::admin() };
        assert!(!format!("{token:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(b"abc", b"abc"));
        assert!(!same_secret(b"abc", b"abd"));
        assert!(!same_secret(b"abc", b"ab"));
    }
}
