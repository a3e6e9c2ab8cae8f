//! Moves Kubernetes objects to the nodes that need them and node reports to Kubernetes
