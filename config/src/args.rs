//! The command line of cloudcore and edgecore.

use std::path::PathBuf;

use clap::Args;

use crate::settings::{LogLevel, Settings};

/// Flags that both processes have. KubeEdge's are all there.
#[derive(Debug, Clone, Default, Args)]
pub struct ProcessArgs {
    /// The configuration file; the default is that of the process under /etc/kubeedge/config.
    #[arg(long, value_name = "FILE", env = "BEEHIVE_CONFIG")]
    pub config: Option<PathBuf>,

    /// Prints a configuration with every key that has an effect, its default and its meaning.
    #[arg(long, conflicts_with_all = ["minconfig", "config"])]
    pub defaultconfig: bool,

    /// Prints a configuration with the keys that are usually changed.
    #[arg(long, conflicts_with = "config")]
    pub minconfig: bool,

    /// How much is logged: error, warn, info, debug or trace; overrides log.level of the file.
    #[arg(long, value_name = "LEVEL", env = "BEEHIVE_LOG", value_parser = parse_level)]
    pub log_level: Option<LogLevel>,

    /// KubeEdge's log verbosity: 4 is debug, 5 and more is trace.
    #[arg(short = 'v', long = "v", value_name = "NUMBER")]
    pub verbosity: Option<u8>,

    /// Accepted as KubeEdge's flag; no effect.
    #[arg(long, value_name = "PATTERN=NUMBER,...", hide = true)]
    pub vmodule: Option<String>,

    /// Accepted as KubeEdge's flag; no effect.
    #[arg(long, value_name = "DURATION", hide = true)]
    pub log_flush_frequency: Option<String>,
}

fn parse_level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "must be error, warn, info, debug or trace".to_owned())
}

impl ProcessArgs {
    /// Returns how much is to be logged: what the flags say, else what the file says.
    #[must_use]
    pub fn log_level(&self, settings: Option<&Settings>) -> LogLevel {
        self.log_level
            .or(self.verbosity.map(LogLevel::of_verbosity))
            .or(settings.map(|settings| settings.log_level))
            .unwrap_or(LogLevel::Info)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Process {
        #[command(flatten)]
        args: ProcessArgs,
    }

    fn parse(line: &str) -> Result<ProcessArgs, clap::Error> {
        Process::try_parse_from(line.split(' ')).map(|process| process.args)
    }

    #[test]
    fn the_flags_of_kubeedges_units_are_accepted() {
        let args = parse("edgecore --config=/etc/x.yaml --v=4 --log-flush-frequency 5s --vmodule a=1")
            .expect("they are flags");
        assert_eq!(args.config, Some(PathBuf::from("/etc/x.yaml")));
        assert_eq!(args.log_level(None), LogLevel::Debug);
        assert_eq!(parse("edgecore -v 2").expect("it is a flag").log_level(None), LogLevel::Info);
        assert_eq!(
            parse("edgecore --log-level TRACE").expect("it is a flag").log_level(None),
            LogLevel::Trace
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in ["x --minconfig --defaultconfig", "x --log-level loud", "x --config", "x --unknown"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
