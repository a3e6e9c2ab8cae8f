//! The messages of KubeEdge's device mapper interface, DMI v1beta1.
//!
//! Plain values without a transport: the edge's module and mappers decide by them, and `dmi-grpc` carries
//! them.

mod value;

/// The messages that `build.rs` generates from `proto/`.
#[expect(missing_docs, reason = "generated code; docs/dmi.md says what its fields are for")]
pub mod v1beta1 {
    use std::fmt;

    include!(concat!(env!("OUT_DIR"), "/v1beta1.rs"));

    /// Values may be passwords, keys are not.
    impl fmt::Debug for CustomizedValue {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_set().entries(self.data.keys()).finish()
        }
    }

    impl fmt::Debug for AnomalyDetection {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_set().entries(self.data.keys()).finish()
        }
    }
}

pub use prost::Message as ProtobufMessage;
pub use value::{Any, ValueError, from_any, to_any};

#[cfg(test)]
mod tests;
