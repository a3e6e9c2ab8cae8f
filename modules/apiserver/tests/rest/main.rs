//! The REST API as clients see it, called in-process over a store in memory.

mod access;
mod cluster;
mod custom;
mod durability;
mod garbage;
mod kube_rs;
mod lifecycle;
mod module;
mod objects;
mod pods;
mod services;
mod versions;
mod watching;
