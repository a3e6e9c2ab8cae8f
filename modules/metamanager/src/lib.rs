//! The edge's durable copy of its Kubernetes objects
