//! What a call leaves behind when its caller goes away in the middle of it, as a process that is killed
//! does.

use std::time::Duration;

use edged::ports::Runtime;

use crate::pod::TestPod;
use crate::{variable, with_containerd};

/// How many starts are cut off, each a little later than the one before.
const CUTS: u32 = 40;
const STEP: Duration = Duration::from_millis(4);

#[tokio::test]
async fn a_start_that_was_cut_off_can_be_removed() {
    with_containerd!("cut_off", async |pod| {
        pod.run_sandbox().await;
        for attempt in 0..CUTS {
            let mut spec = pod.container("main", "exec sleep 1000");
            spec.attempt = attempt;
            let id = pod.create(&spec).await;
            let cut = tokio::time::timeout(STEP * attempt, pod.cri.start_container(&id)).await;
            pod.until("it is removed", async |pod| {
                let stopped = pod.cri.stop_container(&id, Duration::ZERO).await;
                let removed = pod.cri.remove_container(&id).await;
                eprintln!("{attempt} {cut:?} {stopped:?} {removed:?}");
                removed.is_ok()
            })
            .await;
        }
    });
}
