//! The soak: one seed after another, each run twice.

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use simtests::{Outcome, Profile, Schedule, Summary, explore};

/// Runs the whole cluster under random faults, one seed after another. Each seed runs twice: both
/// runs must leave the same trace.
///
/// Standard output has one line for each seed and a summary, standard error has the progress.
///
/// Exit codes: 0 all seeds hold; 2 the command line or the scenario is wrong; 3 something panicked;
/// 4 something that had to come true did not; 5 an invariant is broken; 6 two runs of one seed went
/// apart.
#[derive(Debug, Parser)]
#[command(name = "simtests", version)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 10)]
    seeds: u64,

    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,

    /// How many edges the cluster has.
    #[arg(long)]
    edges: Option<u32>,

    /// Which faults there are: all, calm, crashes, links, disks, api, runtimes or clocks.
    #[arg(long, default_value = "all")]
    scenario: String,

    /// Run one seed and print its schedule and its whole trace.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,

    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    match soak(&Args::parse()) {
        Ok(code) => ExitCode::from(code),
        // Who reads the output has gone away.
        Err(_closed) => ExitCode::from(1),
    }
}

fn soak(args: &Args) -> io::Result<u8> {
    let mut progress = io::stderr().lock();
    let Some(mut profile) = Profile::named(&args.scenario) else {
        let known: Vec<&str> = Profile::names().collect();
        writeln!(progress, "no scenario is named {}: there are {}", args.scenario, known.join(", "))?;
        return Ok(2);
    };
    profile.edges = args.edges.unwrap_or(profile.edges);
    if let Some(seed) = args.replay {
        return replay(&Schedule::generate(seed, &profile));
    }
    let mut out = io::stdout().lock();
    let (mut total, mut violations, mut code) = (Summary::default(), 0_u64, 0);
    let watch = Stopwatch::start();
    for seed in args.first..args.first.saturating_add(args.seeds) {
        write!(progress, "\rseed {seed}, {violations} violations ")?;
        let outcome = explore(&Schedule::generate(seed, &profile));
        let (summary, trace) = (&outcome.summary, &outcome.trace);
        writeln!(
            out,
            "seed={seed} trace={:016x} sim={:.3} events={} faults={}",
            trace.hash(),
            summary.simulated.as_secs_f64(),
            summary.events,
            summary.faults_total()
        )?;
        total.add(summary);
        if let Some(failure) = &outcome.failure {
            violations += 1;
            code = failure.exit_code();
            explain(&mut progress, args, &profile, &outcome)?;
            if !args.keep_going {
                break;
            }
        }
    }
    writeln!(progress)?;
    let wall = watch.elapsed();
    // Each seed ran twice.
    let ratio = 2.0 * total.simulated.as_secs_f64() / wall.as_secs_f64().max(1e-9);
    write!(out, "{total}")?;
    writeln!(out, "violations {violations}")?;
    writeln!(out, "wall time  {:.1} s, {ratio:.0} simulated seconds a second", wall.as_secs_f64())?;
    Ok(code)
}

/// Prints everything about one seed.
fn replay(schedule: &Schedule) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    for step in &schedule.steps {
        writeln!(out, "plan {step}")?;
    }
    let outcome = explore(schedule);
    for line in outcome.trace.lines() {
        writeln!(out, "{line}")?;
    }
    write!(out, "{}", outcome.summary)?;
    writeln!(out, "{outcome}")?;
    Ok(outcome.failure.as_ref().map_or(0, simtests::Failure::exit_code))
}

/// Prints why a seed failed, and how to run it again.
fn explain(to: &mut impl Write, args: &Args, profile: &Profile, outcome: &Outcome) -> io::Result<()> {
    writeln!(to, "\n{outcome}")?;
    writeln!(to, "commit {}", commit())?;
    writeln!(
        to,
        "replay: cargo run --release -p simtests -- --scenario {} --edges {} --replay {}",
        args.scenario, profile.edges, outcome.seed
    )
}

/// Returns the commit that is checked out, as far as git can say.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}

/// Real time, which only the soak's own figures are about.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how fast the simulation runs is measured in real time")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
