//! Identifiers, each its own type, each checked once where it enters.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Says why a text is no valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {problem}")]
pub struct NameError {
    what: &'static str,
    text: String,
    problem: &'static str,
}

/// The longest name that Kubernetes accepts (a DNS-1123 subdomain), in bytes.
const NAME_BYTES_MAX: usize = 253;

fn path_segment(what: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > NAME_BYTES_MAX {
        "is longer than 253 bytes"
    } else if text == "." || text == ".." {
        "is a path step"
    } else if text.contains(['/', '%']) || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "contains '/', '%', white space or a control character"
    } else {
        return Ok(text.into());
    };
    Err(NameError { what, text: text.chars().take(64).collect(), problem })
}

/// Checks a name as Kubernetes checks those of nodes. One that it would refuse must not get a
/// certificate.
fn dns_subdomain(what: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let name = path_segment(what, text)?;
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, last) = (label.bytes().next(), label.bytes().next_back());
        first.is_some_and(fits)
            && last.is_some_and(fits)
            && label.bytes().all(|byte| fits(byte) || byte == b'-')
    };
    if text.split('.').all(is_label) {
        return Ok(name);
    }
    let problem = "is no DNS name: lower-case letters, digits, '-' and '.', each part beginning and ending \
                   with a letter or a digit";
    Err(NameError { what, text: text.chars().take(64).collect(), problem })
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it an identifier.
            ///
            /// # Errors
            ///
            /// When it is empty, longer than 253 bytes, or could not stand as one segment of a path; for
            /// the name of a node also when it is no DNS name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check($what, text).map(Self)
            }

            /// Returns the identifier's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    };
}

identifier!(
    /// The name of a node.
    NodeName, "node name", dns_subdomain
);
identifier!(
    /// The name of a Kubernetes namespace.
    Namespace, "namespace", path_segment
);
identifier!(
    /// The name of an object within its namespace and type.
    ObjectName, "object name", path_segment
);
identifier!(
    /// The uid that the API server gave an object.
    Uid, "uid", path_segment
);

/// The version that the API server gave to a state of an object.
///
/// Opaque to clients, but upstream's cloud and edge compare it as a number, and so must we
/// to decide which of two states is newer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceVersion(Arc<str>);

impl ResourceVersion {
    /// Wraps the text of a resource version.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number that orders this version among others, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl fmt::Debug for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of a resource as the link spells it: the kind in lower case, singular (`pod`).
///
/// Open, not closed: the cloud derives a type for any custom resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(Cow<'static, str>);

impl ResourceType {
    /// Pods.
    pub const POD: Self = Self(Cow::Borrowed("pod"));
    /// Config maps.
    pub const CONFIG_MAP: Self = Self(Cow::Borrowed("configmap"));
    /// Secrets.
    pub const SECRET: Self = Self(Cow::Borrowed("secret"));
    /// Nodes.
    pub const NODE: Self = Self(Cow::Borrowed("node"));
    /// Leases.
    pub const LEASE: Self = Self(Cow::Borrowed("lease"));
    /// Events.
    pub const EVENT: Self = Self(Cow::Borrowed("event"));
    /// Devices.
    pub const DEVICE: Self = Self(Cow::Borrowed("device"));
    /// Device models.
    pub const DEVICE_MODEL: Self = Self(Cow::Borrowed("devicemodel"));

    /// Checks `text` and makes it a resource type.
    ///
    /// # Errors
    ///
    /// When it could not stand as one segment of a resource path.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        path_segment("resource type", text).map(|text| Self(Cow::Owned(text.as_ref().to_owned())))
    }

    /// Returns the type's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_step_out_of_a_path_is_refused() {
        for text in ["", ".", "..", "a/b", "a b", "a\nb", "a%2fb", &"x".repeat(254)] {
            assert!(ObjectName::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "kube-root-ca.crt", "system:node", "ip-10-0-0-1.ec2"] {
            assert_eq!(ObjectName::parse(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn the_name_of_a_node_is_a_dns_name() {
        for text in ["n", "edge-1", "ip-10-0-0-1.ec2.internal", "0", "a--b"] {
            assert_eq!(NodeName::parse(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["Edge-1", "edge_1", "-edge", "edge-", "a..b", ".a", "a.", "a.-b", "system:node", "kantine-ö"]
        {
            let error = NodeName::parse(text).expect_err(text);
            assert!(error.to_string().contains("is no DNS name"), "{error}");
        }
    }

    #[test]
    fn a_resource_version_orders_only_when_it_is_a_number() {
        assert_eq!(ResourceVersion::new("42").number(), Some(42));
        assert_eq!(ResourceVersion::new("x").number(), None);
        assert_eq!(ResourceVersion::new("").number(), None);
    }
}
