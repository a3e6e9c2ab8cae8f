//! The simulated link keeps the promises of every link, and its faults do what they say.

use wire::conformance::{Promise, check};

use super::*;

const BYTES_MAX: usize = 1 << 16;

/// Runs a future on a clock that is paused.
fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn the_simulated_link_conforms() {
    for promise in Promise::ALL {
        paused(async {
            let network = Network::new(&World::new(3));
            let (left, right) = network.connect("edge", Codec::Native, BYTES_MAX, BYTES_MAX);
            check(promise, left, right, BYTES_MAX).await;
        });
    }
}
