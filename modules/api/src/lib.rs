//! Kubernetes custom resources of KubeEdge as Rust types
