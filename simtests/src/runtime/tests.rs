//! The simulated runtime keeps the promises of every runtime, and its faults do what they say.

use edged::conformance::{run, sandbox};

use super::*;

/// Runs a future on a clock that is paused.
fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

fn runtime() -> SimRuntime {
    let world = World::new(1);
    let clock = Arc::new(SimClock::new(world.start));
    SimRuntime::new(&"edge-01".into(), &world, &clock, MemoryFiles::new())
}

#[test]
fn the_simulated_runtime_conforms() {
    paused(async { run(&runtime(), "example.com/app:1", "/logs".as_ref()).await });
}

#[test]
fn a_call_fails_without_an_effect_or_has_one_without_an_answer() {
    paused(async {
        let runtime = runtime();
        runtime.set_trouble(RuntimeTrouble { failing: 1.0, ..RuntimeTrouble::default() });
        assert!(matches!(
            runtime.run_sandbox(&sandbox("/logs".as_ref())).await,
            Err(RuntimeError::Failed(_))
        ));
        assert_eq!(runtime.inventory().await.len(), 0);
        runtime.set_trouble(RuntimeTrouble { unanswered: 1.0, ..RuntimeTrouble::default() });
        assert!(matches!(
            runtime.run_sandbox(&sandbox("/logs".as_ref())).await,
            Err(RuntimeError::TimedOut(_))
        ));
        assert_eq!(runtime.inventory().await.len(), 1);
        runtime.set_trouble(RuntimeTrouble { is_away: true, ..RuntimeTrouble::default() });
        assert!(matches!(runtime.list().await, Err(RuntimeError::Unavailable(_))));
        runtime.set_trouble(RuntimeTrouble::default());
        assert_eq!(runtime.list().await.map(|list| list.len()), Ok(1));
    });
}
