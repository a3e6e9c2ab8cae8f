//! The cloud process: its catalog of modules and their adapters

pub mod https;
pub mod ws;

mod ws_frames;
