use super::*;
use crate::inventory::tests::{device, device_key, model, model_key};

fn mapper() -> Mapper {
    Mapper {
        name: "m".to_owned(),
        version: String::new(),
        api_version: String::new(),
        protocol: "p".to_owned(),
        address: b"/m.sock".to_vec(),
    }
}

fn refused() -> Result<(), CallError> {
    Err(CallError::Refused("no".to_owned()))
}

fn away() -> Result<(), CallError> {
    Err(CallError::Unreachable("no".to_owned()))
}

/// A mapper and the node that it serves.
struct World {
    inventory: Inventory,
    line: Line,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut inventory = Inventory::default();
        inventory.put(&model_key("m"), &model("m", "p"));
        inventory.put(&device_key("a"), &device("a", "m", "p", "1"));
        inventory.put(&device_key("b"), &device("b", "m", "p", "1"));
        inventory.complete(Default::default());
        let mut line = Line::new(mapper(), 1, BTreeMap::new());
        line.touch_all(&inventory);
        Self { inventory, line, now: Instant::now() }
    }

    fn next(&mut self) -> Option<Step> {
        self.line.next(self.now, &self.inventory)
    }

    /// Makes the next call and ends it like this; returns what it was.
    fn step(&mut self, done: &Result<(), CallError>) -> String {
        let Some(step) = self.next() else { return "nothing".to_owned() };
        let end = self.line.finished(&step, done, self.now, u32::MAX);
        match end {
            End::Told => format!("{:?} {}", step.verb, step.key.name),
            end => format!("{:?} {}: {end:?}", step.verb, step.key.name),
        }
    }

    fn told(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.step(&Ok(()))).filter(|step| step != "nothing")).collect()
    }
}

#[test]
fn models_are_told_before_their_devices_and_taken_away_after_them() {
    let mut world = World::new();
    assert_eq!(world.told(), ["Create m", "Create a", "Create b"]);
    for key in [model_key("m"), device_key("a"), device_key("b")] {
        for (_, touched) in world.inventory.remove(&key) {
            world.line.touch(&touched);
        }
    }
    assert_eq!(world.told(), ["Remove a", "Remove b", "Remove m"]);
    assert_eq!(world.line.due(), 0);
}

#[test]
fn a_change_of_what_was_told_is_an_update_and_the_same_again_is_nothing() {
    let mut world = World::new();
    world.told();
    for (desired, expect) in [("1", &[][..]), ("2", &["Update a"]), ("2", &[]), ("1", &["Update a"])] {
        world.inventory.put(&device_key("a"), &device("a", "m", "p", desired));
        world.line.touch(&device_key("a"));
        assert_eq!(world.told(), expect, "{desired}");
    }
}

#[test]
fn one_call_is_under_way_at_a_time() {
    let mut world = World::new();
    let step = world.next().expect("the model");
    assert_eq!((world.next(), world.line.wake()), (None, None));
    world.line.finished(&step, &Ok(()), world.now, 0);
    assert!(world.next().is_some());
}

#[test]
fn what_a_mapper_that_is_away_misses_is_told_when_it_is_back() {
    let mut world = World::new();
    assert_eq!(world.step(&away()), "Create m: Away { is_new: true }");
    assert_eq!(world.step(&Ok(())), "nothing");
    assert_eq!(world.line.wake(), Some(world.now + Duration::from_secs(1)));
    for pause in [2, 4, 8, 16, 32, 60, 60] {
        world.now = world.line.wake().expect("it waits");
        assert_eq!(world.step(&away()), "Create m: Away { is_new: false }");
        assert_eq!(world.line.wake(), Some(world.now + Duration::from_secs(pause)));
    }
    world.inventory.put(&device_key("a"), &device("a", "m", "p", "2"));
    world.line.touch(&device_key("a"));
    world.now = world.line.wake().expect("it waits");
    assert_eq!(world.told(), ["Create m", "Create a", "Create b"]);
    assert_eq!(world.line.wake(), None);
}

#[test]
fn a_refused_device_is_told_in_both_ways_and_holds_up_no_other() {
    let mut world = World::new();
    assert_eq!(world.step(&Ok(())), "Create m");
    assert_eq!(world.step(&refused()), "Create a: Refused");
    assert_eq!(world.step(&Ok(())), "Create b");
    assert_eq!(world.step(&Ok(())), "nothing");
    for verb in ["Update", "Create", "Update", "Create"] {
        world.now = world.line.wake().expect("it waits");
        assert_eq!(world.step(&refused()), format!("{verb} a: Refused"));
    }
    world.now = world.line.wake().expect("it waits");
    assert_eq!(world.step(&refused()), "Update a: GivenUp");
    assert_eq!((world.line.wake(), world.line.due()), (None, 0));
    world.line.touch(&device_key("a"));
    assert_eq!(world.told(), ["Create a"]);
}

#[test]
fn devices_wait_for_a_model_that_was_refused() {
    let mut world = World::new();
    assert_eq!(world.step(&refused()), "Create m: Refused");
    assert_eq!(world.step(&Ok(())), "nothing");
    world.now = world.line.wake().expect("it waits");
    assert_eq!(world.told(), ["Update m", "Create a", "Create b"]);
}

#[test]
fn a_mapper_that_knows_no_such_calls_is_not_asked_for_ever() {
    let mut world = World::new();
    for _ in 0..3 {
        world.step(&Err(CallError::Unserved));
    }
    assert_eq!((world.step(&Ok(())), world.line.due()), ("nothing".to_owned(), 0));
}

#[test]
fn a_removal_that_is_refused_is_given_up_in_the_end() {
    let mut world = World::new();
    world.told();
    world.inventory.remove(&device_key("a"));
    world.line.touch(&device_key("a"));
    let mut steps = Vec::new();
    while world.line.told.contains_key(&device_key("a")) {
        steps.push(world.step(&refused()));
        world.now = world.line.wake().unwrap_or(world.now);
    }
    assert_eq!((steps.len(), steps.last().map(String::as_str)), (6, Some("Remove a: GivenUp")));
}

#[test]
fn a_change_during_a_call_is_told_after_it() {
    let mut world = World::new();
    assert_eq!(world.step(&Ok(())), "Create m");
    let step = world.next().expect("a device");
    world.inventory.put(&device_key("a"), &device("a", "m", "p", "2"));
    world.line.touch(&device_key("a"));
    world.line.finished(&step, &Ok(()), world.now, 0);
    assert_eq!(world.told(), ["Update a", "Create b"]);
}
