//! The soak: one seed after another, each run twice.

mod scenario;
mod workers;

use std::io::{self, Write};
use std::num::NonZero;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use clap::Parser;
use mimalloc::MiMalloc;
use scenario::Scenario;
use simtests::{Outcome, Schedule, Summary};

/// A simulation allocates far more than it computes.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Runs the whole cluster under random faults, one run for each seed, and again: both runs of a seed
/// must leave the same trace.
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

    /// How many edges there are: 5; in the scenario fleet 1000 that are cut off, in resync 40, in devices 20.
    #[arg(long)]
    edges: Option<u32>,

    /// How many objects each edge needs in the scenario resync: 2000; how many devices it has in devices: 500.
    #[arg(long)]
    objects: Option<u32>,

    /// Which faults there are: all, calm, crashes, links, disks, api, runtimes or clocks. Or fleet:
    /// edges lose their links at once and get them back at once, a tenth as many others do not. Or
    /// resync: each edge is told thousands of objects at once over 512 kbit/s, and no lease is late. Or
    /// devices: thousands of them report while links are cut and processes crash.
    #[arg(long, default_value = "all")]
    scenario: String,

    /// Run one seed and print its schedule and its whole trace.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,

    /// How many seeds run at a time; as many as there are cores when it is not given.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,

    /// Run each seed once, in half the time: runs that are not decided by their seed go unnoticed.
    #[arg(long)]
    once: bool,

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
    let Some(scenario) = Scenario::named(&args.scenario, args.edges, args.objects) else {
        let known = Scenario::names().join(", ");
        writeln!(progress, "no scenario is named {}: there are {known}", args.scenario)?;
        return Ok(2);
    };
    if let Some(seed) = args.replay {
        return replay(&scenario, seed);
    }
    let mut out = io::stdout().lock();
    let (mut total, mut violations, mut code) = (Summary::default(), 0_u64, 0);
    let watch = Stopwatch::start();
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let seeds = args.first..args.first.saturating_add(args.seeds);
    let run = |seed| Told::from(scenario.run(seed, args.once));
    workers::in_order(seeds, jobs.get(), run, |seed, told| -> io::Result<bool> {
        writeln!(out, "{}", told.line)?;
        total.add(&told.summary);
        if let Some(outcome) = told.failed {
            violations += 1;
            code = outcome.failure.as_ref().map_or(code, simtests::Failure::exit_code);
            explain(&mut progress, args, &scenario, &outcome)?;
        }
        if let Some(note) = told.note {
            writeln!(progress, "{note}")?;
        }
        write!(progress, "\rseed {seed}, {violations} violations ")?;
        Ok(violations == 0 || args.keep_going)
    })?;
    writeln!(progress)?;
    let wall = watch.elapsed();
    let runs = if args.once { 1.0 } else { 2.0 };
    let ratio = runs * total.simulated.as_secs_f64() / wall.as_secs_f64().max(1e-9);
    write!(out, "{total}")?;
    writeln!(out, "violations {violations}")?;
    let wall = wall.as_secs_f64();
    writeln!(out, "wall time  {wall:.1} s, {ratio:.0} simulated seconds a second, {jobs} at a time")?;
    Ok(code)
}

/// What is kept of a seed that ran: its whole trace only if it failed.
struct Told {
    line: String,
    /// What a scenario that is no schedule of faults says of its run.
    note: Option<String>,
    summary: Summary,
    failed: Option<Box<Outcome>>,
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        let (line, summary) = (outcome.line(), outcome.summary.clone());
        let last = outcome.trace.lines().next_back();
        let note = last.filter(|line| line.contains(" note ")).map(str::to_owned);
        Self { line, note, summary, failed: outcome.failure.is_some().then(|| Box::new(outcome)) }
    }
}

/// Prints everything about one seed.
fn replay(scenario: &Scenario, seed: u64) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    if let Scenario::Faults(profile) = scenario {
        for step in &Schedule::generate(seed, profile).steps {
            writeln!(out, "plan {step}")?;
        }
    }
    let outcome = scenario.run(seed, false);
    for line in outcome.trace.lines() {
        writeln!(out, "{line}")?;
    }
    write!(out, "{}", outcome.summary)?;
    writeln!(out, "{outcome}")?;
    Ok(outcome.failure.as_ref().map_or(0, simtests::Failure::exit_code))
}

/// Prints why a seed failed, and how to run it again.
fn explain(to: &mut impl Write, args: &Args, scenario: &Scenario, outcome: &Outcome) -> io::Result<()> {
    writeln!(to, "\n{outcome}")?;
    writeln!(to, "commit {}", commit())?;
    writeln!(
        to,
        "replay: cargo run --release -p simtests -- --scenario {} {} --replay {}",
        args.scenario,
        scenario.size(),
        outcome.seed
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
