//! The edge process: its catalog of modules and their adapters

pub mod cri;
pub mod ws;

mod ws_frames;
