//! The bug museum: failures that users of KubeEdge reported, as scenarios.
//!
//! Each exhibit is one scenario, run twice: on what ships, where it must hold, and with one part in
//! the place of ours that behaves as the report says, where it must fail in the way that the report
//! describes. `docs/bug-museum.md` lists them.

mod exhibit;
mod faulty;
#[path = "../link/hubs.rs"]
mod hubs;
#[path = "../link/shaped.rs"]
mod shaped;
mod things;

mod cold_start;
mod divergence;
mod doubled_pods;
mod early_answer;
mod empty_list;
mod empty_object;
mod endless_queue;
mod evicted_pods;
mod failing_store;
mod false_name;
mod half_open;
mod idle_traffic;
mod large_frame;
mod late_leases;
mod lost_answer;
mod lost_events;
mod lost_status;
mod module_panics;
mod old_token;
mod orphans;
mod out_of_order;
mod pile_up;
mod restart_cures;
mod return_of_all;
mod second_connection;
mod slow_neighbour;
mod slow_start;
mod status_flood;
mod storm;
mod stuck_terminating;
mod write_per_object;
