//! systemd: the units that keadm writes, and what it asks of the manager.

use std::io;
use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use node_config::Process;
use tokio::process::Command;

/// Says why the manager did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("systemctl could not be run")]
    Run(#[source] io::Error),
    #[error("systemctl {arguments} failed: {output}")]
    Failed { arguments: String, output: String },
}

/// What runs services. Tests play it.
#[async_trait]
pub(crate) trait Services: Send + Sync {
    /// Tells whether systemd is what runs this machine.
    fn is_there(&self) -> bool;

    /// Tells whether a service runs.
    async fn is_active(&self, process: Process) -> bool;

    /// Starts a service whose unit was written, now and at each boot.
    async fn start(&self, process: Process) -> Result<(), ServiceError>;

    /// Stops a service, now and for good.
    async fn stop(&self, process: Process) -> Result<(), ServiceError>;

    /// Lets the manager notice that units came or went.
    async fn reload(&self) -> Result<(), ServiceError>;
}

/// The machine's own systemd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Systemd;

#[async_trait]
impl Services for Systemd {
    fn is_there(&self) -> bool {
        // As sd_booted(3) finds out.
        Path::new("/run/systemd/system").is_dir()
    }

    async fn is_active(&self, process: Process) -> bool {
        self.is_there() && systemctl(&["is-active", "--quiet", process.name()]).await.is_ok()
    }

    async fn start(&self, process: Process) -> Result<(), ServiceError> {
        self.reload().await?;
        systemctl(&["enable", process.name()]).await?;
        systemctl(&["restart", process.name()]).await
    }

    async fn stop(&self, process: Process) -> Result<(), ServiceError> {
        systemctl(&["disable", "--now", process.name()]).await
    }

    async fn reload(&self) -> Result<(), ServiceError> {
        systemctl(&["daemon-reload"]).await
    }
}

async fn systemctl(arguments: &[&str]) -> Result<(), ServiceError> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(ServiceError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ServiceError::Failed { arguments: arguments.join(" "), output })
}

/// Returns the text of a process's unit.
pub(crate) fn unit(process: Process, program: &Path, config: &Path) -> String {
    let (description, after, service) = match process {
        Process::CloudCore => ("The cloud of a Beehive cluster", "network-online.target", ""),
        Process::EdgeCore => (
            "The edge node of a Beehive cluster",
            "network-online.target containerd.service crio.service",
            "OOMScoreAdjust=-999\n",
        ),
    };
    let mut command = program.display().to_string();
    if config != Path::new(process.default_file()) {
        command = format!("{command} --config {}", config.display());
    }
    format!(
        "# Written by keadm.\n\
         [Unit]\n\
         Description={description}\n\
         Wants=network-online.target\n\
         After={after}\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         ExecStart={command}\n\
         Restart=always\n\
         RestartSec=10\n\
         LimitNOFILE=1048576\n\
         {service}\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_starts_the_program_and_never_gives_up() {
        let text = unit(
            Process::EdgeCore,
            Path::new("/usr/local/bin/edgecore"),
            Path::new("/etc/kubeedge/config/edgecore.yaml"),
        );
        for line in
            ["ExecStart=/usr/local/bin/edgecore", "Restart=always", "OOMScoreAdjust=-999", "[Install]"]
        {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let elsewhere = unit(Process::CloudCore, Path::new("/opt/cloudcore"), Path::new("/srv/c.yaml"));
        assert!(elsewhere.contains("ExecStart=/opt/cloudcore --config /srv/c.yaml\n"), "{elsewhere}");
        assert!(!elsewhere.contains("OOMScoreAdjust"), "{elsewhere}");
    }
}
