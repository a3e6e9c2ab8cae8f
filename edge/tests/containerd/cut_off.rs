//! What a call leaves behind when its caller goes away in the middle of it, as a process that is killed
//! does.

use std::time::Duration;

use edged::ports::Runtime;
use futures::future::join_all;

use crate::pod::TestPod;
use crate::{variable, with_containerd};

/// How many starts are cut off at once, how often that is done, and by how much later each time.
const CONTAINERS: u32 = 8;
const ROUNDS: u32 = 10;
const STEP: Duration = Duration::from_millis(8);

#[tokio::test]
async fn a_start_that_was_cut_off_can_be_removed() {
    with_containerd!("cut_off", async |pod| {
        pod.run_sandbox().await;
        let pod = &*pod;
        for round in 0..ROUNDS {
            join_all((0..CONTAINERS).map(|number| cut_off(pod, round, number))).await;
        }
        assert!(pod.listed().await.containers.is_empty());
    });
}

async fn cut_off(pod: &TestPod, round: u32, number: u32) {
    let mut spec = pod.container(&format!("c{number}"), "exec sleep 1000");
    spec.attempt = round;
    let id = pod.create(&spec).await;
    let patience = STEP * (round + number);
    // Whether it came to a start or not, what there is of it must go.
    drop(tokio::time::timeout(patience, pod.cri.start_container(&id)).await);
    pod.until("it is removed", async |pod| {
        pod.cri.stop_container(&id, Duration::ZERO).await.expect("it stops");
        pod.cri.remove_container(&id).await.is_ok()
    })
    .await;
}
