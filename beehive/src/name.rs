//! The names that modules and groups go by.

use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(&'static str);

        impl $name {
            /// Makes a name. It is written in logs, in errors and in configuration files.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                assert!(!name.is_empty(), "a name has at least one character");
                Self(name)
            }

            /// Returns the name's text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.0)
            }
        }
    };
}

name! {
    /// Names a module. No two modules of a catalog share one.
    ModuleName
}

name! {
    /// Names a group of modules: the address of a request.
    Group
}

impl Group {
    /// Returns whether two groups are the same; quick where both come from one constant.
    #[inline]
    pub(crate) fn is(self, other: Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0 == other.0
    }
}
