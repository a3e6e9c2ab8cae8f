//! What telemetry costs. It prints, and asserts no time.

use super::*;

const DEVICES_HERE: usize = 5000;
const UPDATES: usize = 100_000;

#[tokio::test(flavor = "local", start_paused = true)]
async fn ten_thousand_updates_a_second_of_five_thousand_devices() {
    let store = MemoryStore::new();
    let names: Vec<String> = (0..DEVICES_HERE).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let probe = with(&names).start(&store, online).await;
    probe.settle().await;
    told(&probe);
    let before = store.commits();
    let cpu = cpu();
    for second in 0..UPDATES / 10_000 {
        let bus = probe.bus();
        for n in 0..10_000 {
            let payload = format!(r#"{{"event_id":"e","timestamp":0,"twin":{{"temperature":{{"actual":{{"value":"{second}.{n}"}},"metadata":{{"type":"float"}}}}}}}}"#);
            let call = CallDevice { call: DeviceCall::UpdateTwins(id(names[n % DEVICES_HERE])), payload: payload.into() };
            bus.to(group::TWIN).send(call).await.expect("it is there");
        }
        probe.advance(Duration::from_secs(1)).await;
        let (told, reported) = (probe.asked::<PublishLocal>().len(), probe.asked::<AskCloud>().len());
        let _published = probe.published::<TwinReported>().len();
        println!("second {second}: told {told}, reports {reported}, commits {}, cpu {:?}", store.commits() - before, self::cpu() - cpu);
    }
    println!("{:?} an update", (self::cpu() - cpu) / u32::try_from(UPDATES).expect("few"));
    probe.stop().await;
}

/// Returns the time that this thread had a processor.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(stat.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or_default())
}
