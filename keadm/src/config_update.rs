//! `keadm config-update`: changes keys of edgecore.yaml.

use std::path::PathBuf;

use node_config::{ConfigError, Document, Ending, Process};

use crate::say::{say, warn};
use crate::script::{self, ScriptError};
use crate::services::{ServiceError, Services};
use crate::written::{self, FileError};

const CONFIG_MODE: u32 = 0o600;
const REMARK: [&str; 1] =
    ["Written by keadm config-update; edgecore --defaultconfig prints every key with its meaning."];

/// The flags of `keadm config-update`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigUpdate {
    /// Keys: modules.edgeHub.heartbeat=30, list[0]=x, list={a,b}, key=null; several with commas between or
    /// with several --set.
    #[arg(long = "set", value_name = "KEY=VALUE,...", required = true)]
    sets: Vec<String>,

    /// The file.
    #[arg(long, value_name = "FILE", default_value = Process::EdgeCore.default_file())]
    config: PathBuf,

    /// Prints the file instead of writing it.
    #[arg(short = 'd', long)]
    dry_run: bool,

    /// A script that runs first.
    #[arg(long, value_name = "SCRIPT")]
    pre_run: Option<PathBuf>,

    /// A script that runs in the end.
    #[arg(long, value_name = "SCRIPT")]
    post_run: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("there is no {}: join a cluster first (keadm join), or name the file by --config", .0.display())]
    Missing(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("nothing was changed")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("the file was changed and edgecore could not be restarted")]
    Service(#[from] ServiceError),
}

/// Changes the file, if the result is valid, and restarts edgecore where systemd runs it.
pub(crate) async fn run(flags: ConfigUpdate, services: &dyn Services) -> Result<Ending, UpdateError> {
    let path = &flags.config;
    let before = written::read(path)?.ok_or_else(|| UpdateError::Missing(path.clone()))?;
    let name = path.display().to_string();
    let catalog = edgecore::inert_catalog();
    let mut document = Document::read(Process::EdgeCore, &catalog, &name, &before)?;
    for set in &flags.sets {
        document.assign("--set", set)?;
    }
    let text = document.render(&REMARK).map_err(ConfigError::from)?;
    let loaded = document.load(&catalog, &name, &text)?;
    if !loaded.notices.is_empty() {
        warn(&format!("{name} has keys {}", loaded.notices));
    }
    if flags.dry_run {
        say(&text);
        return Ok(Ending::Asked);
    }
    if let Some(script) = &flags.pre_run {
        script::run(script).await?;
    }
    written::write(path, &text, CONFIG_MODE)?;
    say(&format!("{name} is written; the one before is {name}.old"));
    if services.is_active(Process::EdgeCore).await {
        services.start(Process::EdgeCore).await?;
        say("edgecore was restarted");
    } else {
        warn("edgecore is not run by systemd: restart it for the change to act");
    }
    if let Some(script) = &flags.post_run {
        script::run(script).await?;
    }
    Ok(Ending::Asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::play::NoServices;

    fn flags(config: &std::path::Path, set: &str) -> ConfigUpdate {
        ConfigUpdate {
            sets: vec![set.to_owned()],
            config: config.to_owned(),
            dry_run: false,
            pre_run: None,
            post_run: None,
        }
    }

    #[tokio::test]
    async fn only_a_valid_change_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("edgecore.yaml");
        let error =
            run(flags(&path, "modules.edgeHub.heartbeat=30"), &NoServices).await.expect_err("no file");
        assert!(matches!(error, UpdateError::Missing(_)), "{error}");

        std::fs::write(&path, "kind: EdgeCore\nmodules: {edgeHub: {heartbeat: 15}}\n").expect("written");
        for set in
            ["modules.edgeHub.heartbeat=0", "modules.edgeHub.hartbeat=1", "modules.edgeHub.heartbeat=x"]
        {
            let error = run(flags(&path, set), &NoServices).await.expect_err(set);
            assert!(matches!(error, UpdateError::Config(_)), "{error}");
        }
        run(flags(&path, "modules.edgeHub.heartbeat=30"), &NoServices).await.expect("it is valid");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.contains("heartbeat: 30"), "{text}");
        assert!(directory.path().join("edgecore.yaml.old").exists());
    }
}
