//! The messages and clients that `build.rs` generates from `proto/`.

#![expect(clippy::all, unreachable_pub, reason = "generated code, of which a part is used")]

use std::fmt;

tonic::include_proto!("runtime.v1");

pub(super) mod tasks {
    tonic::include_proto!("containerd.services.tasks.v1");
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfig(***)")
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.key)
    }
}
