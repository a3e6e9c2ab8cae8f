//! Typed in-process actor bus: pluggable modules, group routing, supervision
