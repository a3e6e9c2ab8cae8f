//! Kills a process in the middle of its commits: what it acknowledged must be there.
//!
//! The test runs itself as the child, so it has no harness.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use store::{Batch, Store};
use store_sled::SledStore;

const TREE: &str = "acked";
const CHILD: &str = "--child";
const ROUNDS: u64 = 6;
const ACKNOWLEDGED_MIN: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [CHILD, path, first] => return child(Path::new(path), first),
        all if all.contains(&"--list") => {
            if !all.contains(&"--ignored") {
                say("what_was_acknowledged_survives_kill_nine: test");
            }
        }
        _ => {
            what_was_acknowledged_survives_kill_nine();
            say("test what_was_acknowledged_survives_kill_nine ... ok");
        }
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody reads");
}

/// Commits from four threads and prints each number once it is durable.
fn child(path: &Path, first: &str) -> ExitCode {
    let store = SledStore::open(path).expect("the parent closed it");
    let first: u64 = first.parse().expect("the parent passes a number");
    thread::scope(|scope| {
        for lane in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().build().expect("it needs no driver");
                for number in (first + lane..).step_by(4) {
                    let size = if number % 16 == 0 { 300_000 } else { 100 };
                    let value = vec![number.to_le_bytes()[0]; size];
                    let batch = Batch::new().put(TREE, number.to_be_bytes().to_vec(), value.clone()).put(
                        "twin",
                        number.to_be_bytes().to_vec(),
                        value,
                    );
                    runtime.block_on(store.commit(batch)).expect("the disk is sound");
                    say(&number.to_string());
                }
            });
        }
    });
    ExitCode::FAILURE
}

fn what_was_acknowledged_survives_kill_nine() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let first = round << 32;
        acknowledged.extend(run_and_kill(directory.path(), first));
        let store = SledStore::open(directory.path()).expect("a killed store opens");
        for number in &acknowledged {
            let key = number.to_be_bytes();
            let value = store.get(TREE, &key).expect("it is readable");
            let value =
                value.unwrap_or_else(|| panic!("round {round}: {number} was acknowledged and is gone"));
            assert!(value.iter().all(|byte| *byte == key[7]), "{number} has its value");
        }
        let all = store.scan(TREE, b"", None, usize::MAX).expect("it is readable");
        let twins = store.scan("twin", b"", None, usize::MAX).expect("it is readable");
        assert!(all == twins, "round {round}: a batch was torn");
    }
}

fn run_and_kill(path: &Path, first: u64) -> Vec<u64> {
    let program = std::env::current_exe().expect("a test knows itself");
    let mut child = Command::new(program)
        .arg(CHILD)
        .arg(path)
        .arg(first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let number = line.parse::<u64>().expect("the child prints numbers");
            sender.send(number).expect("the parent listens");
        }
    });
    let mut acknowledged: Vec<u64> = receiver.iter().take(ACKNOWLEDGED_MIN).collect();
    child.kill().expect("the child runs");
    child.wait().expect("the child ran");
    acknowledged.extend(receiver.iter());
    reader.join().expect("every line is a number");
    assert!(acknowledged.len() >= ACKNOWLEDGED_MIN, "the child ended by itself");
    acknowledged
}
