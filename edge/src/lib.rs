//! The edge process: its catalog of modules and their adapters

pub mod cri;
