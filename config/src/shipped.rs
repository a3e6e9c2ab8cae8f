//! The files that are shipped, printed by `--defaultconfig` and `--minconfig`.

use crate::Process;

impl Process {
    /// Returns the shipped file with every key that has an effect, its default and its meaning.
    #[must_use]
    pub fn default_config(self) -> &'static str {
        match self {
            Self::CloudCore => include_str!("../cloudcore.yaml"),
            Self::EdgeCore => include_str!("../edgecore.yaml"),
        }
    }

    /// Returns the shipped file with the keys that are usually changed.
    #[must_use]
    pub fn minimal_config(self) -> &'static str {
        match self {
            Self::CloudCore => include_str!("../cloudcore.min.yaml"),
            Self::EdgeCore => include_str!("../edgecore.min.yaml"),
        }
    }
}
