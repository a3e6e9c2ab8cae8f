//! The edge process: its catalog of modules and their adapters

pub mod cri;
pub mod files;
pub mod machine;
pub mod prober;
pub mod ws;

mod ws_frames;
