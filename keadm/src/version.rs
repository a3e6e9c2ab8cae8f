//! `keadm version`.

use clap::ValueEnum;
use node_config::Ending;
use serde::Serialize;

use crate::say::say;

/// How the version is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// `keadm 0.1.0`
    Text,
    /// The number alone.
    Short,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// The flags of `keadm version`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Version {
    /// How the version is printed.
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    output: Output,
}

/// With the keys that KubeEdge's has, as far as they have a meaning.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    major: &'static str,
    minor: &'static str,
    git_version: &'static str,
    compiler: &'static str,
    platform: String,
}

/// Prints the version.
pub(crate) fn print(flags: &Version) -> Ending {
    match text(flags.output) {
        Some(text) => say(text.trim_end()),
        None => return Ending::Broken,
    }
    Ending::Asked
}

fn text(output: Output) -> Option<String> {
    let facts = Facts {
        major: env!("CARGO_PKG_VERSION_MAJOR"),
        minor: env!("CARGO_PKG_VERSION_MINOR"),
        git_version: concat!("v", env!("CARGO_PKG_VERSION")),
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, architecture()),
    };
    match output {
        Output::Text => Some(format!("keadm {}", env!("CARGO_PKG_VERSION"))),
        Output::Short => Some(facts.git_version.to_owned()),
        Output::Json => serde_json::to_string_pretty(&facts).ok(),
        Output::Yaml => serde_json::to_value(&facts).ok().and_then(|facts| node_config::to_yaml(&facts).ok()),
    }
}

/// Returns the machine's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_the_number() {
        for output in Output::value_variants() {
            let text = text(*output).expect("it can be written");
            assert!(text.contains(env!("CARGO_PKG_VERSION")), "{output:?}: {text}");
        }
        let yaml = text(Output::Yaml).expect("it can be written");
        assert!(yaml.contains(concat!("gitVersion: v", env!("CARGO_PKG_VERSION"))), "{yaml}");
    }
}
