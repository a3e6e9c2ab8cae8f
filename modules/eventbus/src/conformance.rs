//! What every client of a broker must do, real or not. Each adapter's tests run this suite.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::memory::message;
use crate::ports::{
    Arrivals, Arrived, ConnectTo, Connection, Credentials, Mqtt, MqttError, Publication, Qos,
};

/// Long enough for any machine; only a failing check waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than a broker delivers unacknowledged.
const MANY: usize = 200;

/// A promise of a client and its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What is published arrives, in order, whatever its bytes.
    MessagesArriveInOrder,
    /// `+`, `#` and topics that begin with `$` are treated as the standard says.
    WildcardsMatch,
    /// What was not acknowledged comes again, and what was does not.
    UnacknowledgedComesAgain,
    /// A session that is not clean has what came while its client was away.
    SessionsOutliveTheirClient,
    /// A clean session forgets.
    CleanSessionsForget,
    /// A second client with the same id ends the first one.
    TheNewestClientWins,
    /// A message beyond the limit is an error that only its receiver has, and none to a sender.
    OversizeIsAnError,
    /// A client without the password is refused.
    StrangersAreRefused,
    /// What is published with QoS 0 arrives and needs no acknowledgement.
    OnceIsEnough,
    /// What is published with QoS 2 arrives, once, and is taken as what is published with QoS 1.
    ExactlyOnceArrives,
    /// The broker keeps what is retained, and nothing else, for those that come later.
    RetainedIsKept,
    /// An end in order is an end.
    CloseIsSeen,
}

impl Promise {
    /// All promises.
    pub const ALL: [Self; 12] = [
        Self::MessagesArriveInOrder,
        Self::WildcardsMatch,
        Self::UnacknowledgedComesAgain,
        Self::SessionsOutliveTheirClient,
        Self::CleanSessionsForget,
        Self::TheNewestClientWins,
        Self::OversizeIsAnError,
        Self::StrangersAreRefused,
        Self::OnceIsEnough,
        Self::ExactlyOnceArrives,
        Self::RetainedIsKept,
        Self::CloseIsSeen,
    ];
}

/// Checks one promise. `to` tells how to connect to a broker that asks for a password; client ids and
/// topics begin with the promise's name, so that one broker serves all checks.
///
/// # Panics
///
/// When the promise is broken.
pub async fn check(promise: Promise, mqtt: &dyn Mqtt, to: &ConnectTo) {
    let world = World { mqtt, to, name: format!("{promise:?}") };
    let checking = async {
        match promise {
            Promise::MessagesArriveInOrder => messages_arrive_in_order(&world).await,
            Promise::WildcardsMatch => wildcards_match(&world).await,
            Promise::UnacknowledgedComesAgain => unacknowledged_comes_again(&world).await,
            Promise::SessionsOutliveTheirClient => sessions_outlive_their_client(&world).await,
            Promise::CleanSessionsForget => clean_sessions_forget(&world).await,
            Promise::TheNewestClientWins => the_newest_client_wins(&world).await,
            Promise::OversizeIsAnError => oversize_is_an_error(&world).await,
            Promise::StrangersAreRefused => strangers_are_refused(&world).await,
            Promise::OnceIsEnough => once_is_enough(&world).await,
            Promise::ExactlyOnceArrives => exactly_once_arrives(&world).await,
            Promise::RetainedIsKept => retained_is_kept(&world).await,
            Promise::CloseIsSeen => close_is_seen(&world).await,
        }
    };
    assert!(timeout(PATIENCE, checking).await.is_ok(), "{promise:?} takes for ever");
}

struct World<'a> {
    mqtt: &'a dyn Mqtt,
    to: &'a ConnectTo,
    name: String,
}

impl World<'_> {
    async fn connect(&self, id: &str, is_clean: bool) -> Connection {
        let client_id = format!("{}-{id}", self.name);
        let to = ConnectTo { client_id, is_clean, ..self.to.clone() };
        self.mqtt.connect(to).await.expect("the broker is there")
    }

    fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }
}

/// Acts while the arrivals are read, as ports ask for; nothing may arrive meanwhile.
async fn acting<T>(
    arrivals: &mut Box<dyn Arrivals>,
    act: impl Future<Output = Result<T, MqttError>>,
) -> Result<T, MqttError> {
    tokio::select! {
        biased;
        done = act => done,
        arrived = arrivals.next() => panic!("nothing is expected: {arrived:?}"),
    }
}

async fn subscribe(connection: &mut Connection, filter: &str) {
    let client = connection.client.clone();
    acting(&mut connection.arrivals, client.subscribe(filter)).await.expect("it may subscribe");
}

async fn publish(connection: &mut Connection, publication: Publication) {
    let client = connection.client.clone();
    acting(&mut connection.arrivals, client.publish(publication)).await.expect("it may publish");
}

async fn next(connection: &mut Connection) -> Arrived {
    connection.arrivals.next().await.expect("the connection is up")
}

/// Returns the next message's payload and acknowledges it.
async fn take(connection: &mut Connection) -> Bytes {
    let arrived = next(connection).await;
    connection.client.acknowledge(arrived.receipt).expect("the connection is up");
    arrived.payload
}

async fn messages_arrive_in_order(world: &World<'_>) {
    let (mut sender, mut receiver) = (world.connect("s", true).await, world.connect("r", true).await);
    subscribe(&mut receiver, &world.topic("#")).await;
    let payload = |number: usize| Bytes::from(vec![u8::try_from(number).unwrap_or(255); number]);
    let sending = async {
        for number in 0..MANY {
            publish(&mut sender, message(&world.topic(&number.to_string()), payload(number))).await;
        }
    };
    let reading = async {
        for number in 0..MANY {
            let arrived = next(&mut receiver).await;
            assert_eq!(arrived.topic, world.topic(&number.to_string()));
            assert_eq!(arrived.payload, payload(number));
            receiver.client.acknowledge(arrived.receipt).expect("the connection is up");
        }
    };
    tokio::join!(sending, reading);
}

async fn wildcards_match(world: &World<'_>) {
    let (mut sender, mut receiver) = (world.connect("s", true).await, world.connect("r", true).await);
    let name = &world.name;
    for filter in [format!("$hw/{name}/+/+/twin/+"), format!("+/user/{name}/#"), format!("{name}/a")] {
        subscribe(&mut receiver, &filter).await;
    }
    for (topic, payload) in [
        (format!("$hw/{name}/n/d/twin/update"), "1"),
        (format!("$hw/{name}/n/d/twin/update/result"), "no"),
        (format!("$hw/{name}/d/twin/update"), "no"),
        (format!("$hw/user/{name}/x"), "no"),
        (format!("x/user/{name}"), "2"),
        (format!("x/user/{name}/y/z"), "3"),
        (format!("{name}/a/b"), "no"),
        (format!("{name}/a"), "4"),
    ] {
        publish(&mut sender, message(&topic, payload)).await;
    }
    for expect in ["1", "2", "3", "4"] {
        assert_eq!(take(&mut receiver).await, expect);
    }
}

async fn unacknowledged_comes_again(world: &World<'_>) {
    let mut sender = world.connect("s", true).await;
    let mut receiver = world.connect("r", false).await;
    subscribe(&mut receiver, &world.topic("#")).await;
    for payload in ["1", "2", "3"] {
        publish(&mut sender, message(&world.topic("a"), payload)).await;
    }
    assert_eq!(take(&mut receiver).await, "1");
    assert_eq!(next(&mut receiver).await.payload, "2");
    assert_eq!(next(&mut receiver).await.payload, "3");
    receiver.client.close().await;
    drop(receiver);
    let mut receiver = world.connect("r", false).await;
    assert!(receiver.is_resumed);
    assert_eq!(take(&mut receiver).await, "2");
    assert_eq!(take(&mut receiver).await, "3");
    publish(&mut sender, message(&world.topic("a"), "4")).await;
    assert_eq!(take(&mut receiver).await, "4");
    forget(world, receiver).await;
}

/// Leaves nothing of a session with the broker, which may outlive the check.
async fn forget(world: &World<'_>, receiver: Connection) {
    receiver.client.close().await;
    drop(receiver);
    world.connect("r", true).await.client.close().await;
}

async fn sessions_outlive_their_client(world: &World<'_>) {
    let mut sender = world.connect("s", true).await;
    let mut receiver = world.connect("r", false).await;
    assert!(!receiver.is_resumed);
    subscribe(&mut receiver, &world.topic("#")).await;
    receiver.client.close().await;
    drop(receiver);
    for payload in ["1", "2"] {
        publish(&mut sender, message(&world.topic("a"), payload)).await;
    }
    let mut receiver = world.connect("r", false).await;
    assert!(receiver.is_resumed);
    assert_eq!(take(&mut receiver).await, "1");
    assert_eq!(take(&mut receiver).await, "2");
    forget(world, receiver).await;
}

async fn clean_sessions_forget(world: &World<'_>) {
    let mut sender = world.connect("s", true).await;
    let mut receiver = world.connect("r", false).await;
    subscribe(&mut receiver, &world.topic("#")).await;
    receiver.client.close().await;
    drop(receiver);
    publish(&mut sender, message(&world.topic("a"), "1")).await;
    let mut receiver = world.connect("r", true).await;
    assert!(!receiver.is_resumed);
    publish(&mut sender, message(&world.topic("a"), "2")).await;
    subscribe(&mut receiver, &world.topic("#")).await;
    publish(&mut sender, message(&world.topic("a"), "3")).await;
    assert_eq!(take(&mut receiver).await, "3");
    receiver.client.close().await;
    drop(receiver);
    assert!(!world.connect("r", false).await.is_resumed);
    world.connect("r", true).await.client.close().await;
}

async fn the_newest_client_wins(world: &World<'_>) {
    let mut older = world.connect("r", true).await;
    let mut newer = world.connect("r", true).await;
    older.arrivals.next().await.expect_err("the older connection ended");
    subscribe(&mut newer, &world.topic("#")).await;
    publish_to_itself(&mut newer, &world.topic("a")).await;
}

/// Publishes a message that comes back.
async fn publish_to_itself(connection: &mut Connection, topic: &str) {
    let client = connection.client.clone();
    let (published, arrived) = tokio::join!(client.publish(message(topic, "x")), connection.arrivals.next());
    published.expect("it may publish");
    let arrived = arrived.expect("the connection is up");
    assert_eq!(arrived.topic, topic);
    client.acknowledge(arrived.receipt).expect("the connection is up");
}

async fn oversize_is_an_error(world: &World<'_>) {
    let small = ConnectTo { packet_bytes_max: 1024, ..world.to.clone() };
    let small = World { to: &small, name: world.name.clone(), mqtt: world.mqtt };
    let (mut sender, mut receiver) = (world.connect("s", true).await, small.connect("r", true).await);
    let mut small_sender = small.connect("t", true).await;
    subscribe(&mut receiver, &world.topic("#")).await;
    let large = message(&world.topic("a"), vec![0; 2048]);
    let client = small_sender.client.clone();
    let refused = acting(&mut small_sender.arrivals, client.publish(large.clone())).await;
    assert_eq!(refused, Err(MqttError::TooLarge { max: 1024 }));
    publish(&mut small_sender, message(&world.topic("a"), vec![0; 900])).await;
    assert_eq!(take(&mut receiver).await.len(), 900);
    publish(&mut sender, large).await;
    assert_eq!(receiver.arrivals.next().await, Err(MqttError::TooLarge { max: 1024 }));
    publish(&mut sender, message(&world.topic("b"), "still there")).await;
}

async fn strangers_are_refused(world: &World<'_>) {
    let known = world.to.credentials.clone().expect("a broker that asks for a password");
    let wrong = Credentials { password: crate::Password::new("wrong"), ..known };
    for credentials in [None, Some(wrong)] {
        let client_id = format!("{}-r", world.name);
        let to = ConnectTo { credentials, client_id, ..world.to.clone() };
        let outcome = world.mqtt.connect(to).await;
        assert!(matches!(outcome, Err(MqttError::Refused(_))), "{outcome:?}");
    }
}

async fn once_is_enough(world: &World<'_>) {
    let (mut sender, mut receiver) = (world.connect("s", true).await, world.connect("r", true).await);
    subscribe(&mut receiver, &world.topic("#")).await;
    for number in 0..MANY {
        let once = Publication { qos: Qos::AtMostOnce, ..message(&world.topic("a"), number.to_string()) };
        publish(&mut sender, once).await;
        assert_eq!(next(&mut receiver).await.payload, number.to_string());
    }
}

async fn exactly_once_arrives(world: &World<'_>) {
    let (mut sender, mut receiver) = (world.connect("s", true).await, world.connect("r", true).await);
    subscribe(&mut receiver, &world.topic("#")).await;
    for number in 0..MANY {
        let once = Publication { qos: Qos::ExactlyOnce, ..message(&world.topic("a"), number.to_string()) };
        // Its publisher may hear that it was taken before or after its receiver has it.
        let client = sender.client.clone();
        let (published, payload) =
            tokio::join!(acting(&mut sender.arrivals, client.publish(once)), take(&mut receiver));
        published.expect("it may publish");
        assert_eq!(payload, number.to_string());
    }
}

async fn retained_is_kept(world: &World<'_>) {
    let mut sender = world.connect("s", true).await;
    let kept = Publication { is_retained: true, ..message(&world.topic("kept"), "1") };
    publish(&mut sender, kept.clone()).await;
    publish(&mut sender, message(&world.topic("a"), "2")).await;
    let mut receiver = world.connect("r", true).await;
    let (client, filter) = (receiver.client.clone(), world.topic("#"));
    let (subscribed, arrived) = tokio::join!(client.subscribe(&filter), receiver.arrivals.next());
    subscribed.expect("it may subscribe");
    assert_eq!(arrived.expect("the connection is up").payload, "1");
    // Without a payload it is kept no more.
    publish(&mut sender, Publication { payload: Bytes::new(), ..kept }).await;
    assert_eq!(take(&mut receiver).await, "");
    publish(&mut sender, message(&world.topic("a"), "3")).await;
    assert_eq!(take(&mut receiver).await, "3");
}

async fn close_is_seen(world: &World<'_>) {
    let mut connection = world.connect("r", true).await;
    connection.client.close().await;
    connection.arrivals.next().await.expect_err("the connection ended");
    let client = connection.client.clone();
    client.publish(message(&world.topic("a"), "x")).await.expect_err("the connection ended");
}
