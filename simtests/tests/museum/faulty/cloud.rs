//! Clouds with one faulty part.

use beehive::{Catalog, Module};
use cloudcore::CloudPorts;
use edgecontroller::EdgeController;
use scheduler::{NodeLifecycle, Scheduler};

use super::hub::{Habit, OriginalHub};
use crate::exhibit::Cast;

/// What ships, with the original's hub in the place of ours.
fn with_original_hub(ports: CloudPorts, habit: Option<Habit>) -> Catalog {
    let CloudPorts { kube, listeners, api_server, .. } = ports;
    let server = api_server.expect("a simulated cloud has its own API server");
    Catalog::new()
        .with::<apiserver::ApiServerModule>(server)
        .with::<OriginalHub>((cloudhub::Ports { listeners }, habit))
        .with::<EdgeController>(kube.clone())
        .with::<Scheduler>(kube.clone())
        .with::<NodeLifecycle>(kube)
}

/// A cast whose cloud has the original's hub with one of its habits.
pub(crate) fn original_hub(habit: Habit) -> Cast {
    Cast::ours().cloud(move |ports| with_original_hub(ports, Some(habit)))
}

/// A cast whose cloud has the original's hub without its habits: as slow, and not wrong.
pub(crate) fn simple_hub() -> Cast {
    Cast::ours().cloud(|ports| with_original_hub(ports, None))
}

/// A cast whose cloud has one module more.
pub(crate) fn cloud_with<M: Module<Ports = kube::Client>>() -> Cast {
    Cast::ours().cloud(|ports| {
        let kube = ports.kube.clone();
        cloudcore::catalog(ports).with::<M>(kube)
    })
}
