//! What outlives the process, and what a disk that fails does.

use store::Fault;

use super::*;

#[tokio::test(flavor = "local", start_paused = true)]
async fn after_a_restart_only_what_changed_meanwhile_is_told() {
    let world = World::usual();
    world.mappers.serve(ADDRESS, Manner::Willing);
    let probe = world.start().await;
    world.register("p", true).await.expect("it may register");
    world.change(&probe, &device_key("a"), Some(device("a", "m", "p", "2"))).await;
    assert_eq!(world.heard(), ["update a"]);
    drop(probe);
    let world = World { store: world.store.crash(), ..world };
    world.objects.borrow_mut().insert(device_key("b"), device("b", "m", "p", "5"));
    world.objects.borrow_mut().insert(device_key("c"), device("c", "m", "p", "1"));
    let probe = world.start().await;
    assert_eq!(world.heard(), ["update b", "register c"]);
    drop(probe);
    let world = World { store: world.store.crash(), ..world };
    world.objects.borrow_mut().remove(&device_key("c"));
    let _probe = world.start().await;
    assert_eq!(world.heard(), ["remove c"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nothing_is_taken_from_a_mapper_before_the_devices_are_known() {
    let world = World::usual();
    world.mappers.serve(ADDRESS, Manner::Willing);
    let probe = world.start().await;
    world.register("p", true).await.expect("it may register");
    drop(probe);
    let world = World { store: world.store.crash(), ..world };
    *world.is_meta_down.borrow_mut() = true;
    world.objects.borrow_mut().remove(&device_key("a"));
    world.objects.borrow_mut().remove(&device_key("b"));
    world.unreadable.borrow_mut().push(device_key("b"));
    let probe = world.start().await;
    probe.advance(10 * SECOND).await;
    assert_eq!(world.heard(), [""; 0]);
    *world.is_meta_down.borrow_mut() = false;
    probe.advance(10 * SECOND).await;
    assert_eq!(world.heard(), ["remove a"], "b is there and cannot be read");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_registration_is_answered_only_when_it_is_on_disk() {
    let world = World::usual();
    let probe = world.start().await;
    world.store.break_down(Fault::Refused);
    assert_eq!(cause(world.register("p", true).await), Some(Cause::Unavailable));
    world.store.mend();
    probe.advance(61 * SECOND).await;
    assert!(world.register("p", true).await.is_ok());
    drop(probe);
    let world = World { store: world.store.crash(), ..world };
    world.mappers.serve(ADDRESS, Manner::Willing);
    world.objects.borrow_mut().insert(device_key("a"), device("a", "m", "p", "2"));
    let _probe = world.start().await;
    assert_eq!(world.heard(), ["update a"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_damaged_record_keeps_nobody_from_starting() {
    let world = World::usual();
    let probe = world.start().await;
    world.register("p", true).await.expect("it may register");
    drop(probe);
    world.store.corrupt(crate::mapper::TOLD, b"p\0device\0default\0a");
    world.mappers.serve(ADDRESS, Manner::Willing);
    let _probe = world.start().await;
    assert_eq!(world.heard(), ["register a"], "nobody remembers that it was told");
}
