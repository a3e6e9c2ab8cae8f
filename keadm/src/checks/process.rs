//! Whether a process runs.

use node_config::Process;

use crate::finding::Finding;
use crate::services::Services;
use crate::world::World;

const CHECK: &str = "process";

/// Looks for the process, and whether something restarts it. The name is what the kernel keeps of it.
pub(crate) async fn look(world: &dyn World, services: &dyn Services, process: Process) -> Finding {
    let name = process.name();
    let found: Vec<u32> =
        world.processes().into_iter().filter(|seen| seen.name == name).map(|seen| seen.id).collect();
    let start = if services.is_there() {
        format!("systemctl start {name}; why it ended: journalctl -u {name} -e")
    } else {
        format!("start {name}; its last line on standard error says why it ended")
    };
    match found[..] {
        [] => Finding::failed(CHECK, format!("{name} does not run"), start),
        [id] if services.is_active(process).await => {
            Finding::ok(CHECK, format!("{name} runs as process {id}, under systemd"))
        }
        [id] => Finding::ok(CHECK, format!("{name} runs as process {id}")),
        [..] => Finding::warning(
            CHECK,
            format!("{name} runs {} times", found.len()),
            "stop those that are not for this configuration",
        ),
    }
}

/// Tells whether a process runs.
pub(crate) fn is_running(world: &dyn World, process: Process) -> bool {
    world.processes().iter().any(|seen| seen.name == process.name())
}

/// Looks for an agent that wants the same pods.
pub(crate) fn rival(world: &dyn World) -> Option<Finding> {
    let found = world.processes().into_iter().find(|seen| seen.name == "kubelet")?;
    Some(Finding::failed(
        "rival",
        format!("kubelet runs as process {}", found.id),
        "one agent runs a machine's pods: systemctl disable --now kubelet",
    ))
}
