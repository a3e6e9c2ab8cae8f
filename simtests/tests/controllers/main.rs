//! The cloud's controllers over the embedded API server, in one thread and on a paused clock.

mod cluster;
mod devicecontroller;
mod edgecontroller;
mod lifecycle;
mod router;
mod scheduler;
mod settling;
mod synccontroller;
