//! QUIC first, WebSocket where it is not, and the way back.

use super::*;
use wire::link::Transport;

/// A network on which QUIC may be blocked, and what was dialed on it.
struct Paths {
    network: MemoryNetwork,
    quic: Mutex<Result<(), LinkError>>,
    websocket: Mutex<Result<(), LinkError>>,
    dials: Mutex<Vec<(Transport, String)>>,
}

impl Paths {
    fn new(cloud: &Cloud, quic: Result<(), LinkError>) -> Arc<Self> {
        let (quic, websocket) = (Mutex::new(quic), Mutex::new(Ok(())));
        Arc::new(Self { network: cloud.network.clone(), quic, websocket, dials: Mutex::default() })
    }

    fn set(path: &Mutex<Result<(), LinkError>>, to: Result<(), LinkError>) {
        *path.lock().expect("no test panics with it") = to;
    }

    /// Takes what was dialed since it was last asked.
    fn dials(&self) -> Vec<Transport> {
        let dials = std::mem::take(&mut *self.dials.lock().expect("no test panics with it"));
        dials.into_iter().map(|(transport, _)| transport).collect()
    }

    fn probe(self: &Arc<Self>) -> ProbeBuilder<EdgeHub> {
        let mut config = EdgeHubConfig::default();
        config.quic.enable = true;
        config.quic.server = "cloud:10001".to_owned();
        easy(Probe::new(config, Ports { dialer: self.clone(), store: Arc::new(MemoryStore::new()) }))
    }
}

#[async_trait]
impl Dialer for Paths {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let path = match to.transport {
            Transport::Quic => &self.quic,
            Transport::WebSocket => &self.websocket,
        };
        self.dials.lock().expect("no test panics with it").push((to.transport, to.server.clone()));
        path.lock().expect("no test panics with it").clone()?;
        self.network.dial(to).await
    }
}

fn blocked() -> LinkError {
    LinkError::Transport("no answer".to_owned())
}

/// Answers the pings of an edge meanwhile.
async fn advance(probe: &Probe<EdgeHub>, peer: &mut Peer, by: Duration) {
    tokio::select! {
        biased;
        frame = peer.hear() => panic!("only pings: {frame:?}"),
        () = probe.advance(by) => {}
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn quic_is_dialed_first_and_alone_where_it_works() {
    let mut cloud = Cloud::start().await;
    let paths = Paths::new(&cloud, Ok(()));
    let probe = paths.probe().start().await;
    let (mut peer, _) = cloud.welcome().await;
    advance(&probe, &mut peer, SECOND * 60).await;
    let dials = paths.dials.lock().expect("no test panics with it").clone();
    assert_eq!(dials, [(Transport::Quic, "cloud:10001".to_owned())]);
    assert_eq!(probe.published::<LinkUp>().len(), 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_quic_is_blocked_the_same_dial_goes_on_over_websocket_and_the_next_ones_begin_there() {
    let mut cloud = Cloud::start().await;
    let paths = Paths::new(&cloud, Err(blocked()));
    let probe = paths.probe().start().await;
    let (mut peer, _) = cloud.welcome().await;
    advance(&probe, &mut peer, SECOND * 20).await;
    let dials = paths.dials.lock().expect("no test panics with it").clone();
    let server = |at: &str| at.to_owned();
    let expected = [(Transport::Quic, server("cloud:10001")), (Transport::WebSocket, server("cloud:10000"))];
    assert_eq!(dials, expected);
    paths.dials();
    for _ in 0..3 {
        drop(peer);
        peer = tokio::join!(probe.advance(SECOND * 2), cloud.welcome()).1.0;
        advance(&probe, &mut peer, SECOND * 20).await;
        assert_eq!(paths.dials(), [Transport::WebSocket]);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_session_moves_to_quic_once_that_works() {
    let mut cloud = Cloud::start().await;
    let paths = Paths::new(&cloud, Err(blocked()));
    let probe = paths.probe().start().await;
    let (mut peer, _) = cloud.welcome().await;
    // Up to ten minutes and a half of them, then up to twenty and a half.
    advance(&probe, &mut peer, SECOND * 60 * 16).await;
    assert_eq!(paths.dials(), [Transport::Quic, Transport::WebSocket, Transport::Quic]);
    Paths::set(&paths.quic, Ok(()));
    advance(&probe, &mut peer, SECOND * 60 * 3).await;
    assert_eq!(paths.dials(), [], "it is tried ever less often");
    let moving = async {
        assert!(matches!(peer.hear().await, EdgeFrame::Goodbye(_)));
        cloud.welcome().await.0
    };
    let mut peer = tokio::select! {
        biased;
        moved = moving => moved,
        () = probe.advance(SECOND * 60 * 28) => panic!("it is tried and works"),
    };
    assert_eq!(paths.dials(), [Transport::Quic], "the link of the trial is the new session's");
    advance(&probe, &mut peer, SECOND * 60).await;
    assert_eq!(probe.published::<LinkUp>().len(), 2);
    assert_eq!(probe.published::<LinkDown>().len(), 1);
    assert_eq!(paths.dials(), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_session_over_quic_that_falls_silent_at_once_is_followed_by_websocket() {
    let mut cloud = Cloud::start().await;
    let paths = Paths::new(&cloud, Ok(()));
    let probe = paths.probe().start().await;
    let (peer, _) = cloud.welcome().await;
    let silent = tokio::join!(probe.advance(SECOND * 12), cloud.welcome()).1.0;
    assert_eq!(paths.dials(), [Transport::Quic, Transport::WebSocket]);
    drop((peer, silent));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_refused_over_quic_does_not_ask_over_websocket() {
    let cloud = Cloud::start().await;
    let refused = LinkError::Handshake("the certificate is of another node".to_owned());
    let paths = Paths::new(&cloud, Err(refused));
    let probe = paths.probe().start().await;
    probe.advance(SECOND * 60).await;
    let dials = paths.dials();
    assert!(dials.len() > 1 && dials.iter().all(|dial| *dial == Transport::Quic), "{dials:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn while_nothing_is_reached_quic_stays_first_and_where_it_failed_it_is_the_way_out() {
    let mut cloud = Cloud::start().await;
    let paths = Paths::new(&cloud, Err(blocked()));
    Paths::set(&paths.websocket, Err(blocked()));
    let probe = paths.probe().start().await;
    probe.advance(SECOND * 60).await;
    let dials = paths.dials();
    let pairs = dials.chunks(2).collect::<Vec<_>>();
    assert!(pairs.len() >= 12, "a path that comes back is used within ten seconds: {dials:?}");
    assert!(pairs.iter().all(|pair| *pair == [Transport::Quic, Transport::WebSocket]), "{dials:?}");
    Paths::set(&paths.websocket, Ok(()));
    let (peer, _) = tokio::join!(probe.advance(SECOND * 6), cloud.welcome()).1;
    paths.dials();
    // Another network: now it is TCP that is blocked.
    Paths::set(&paths.websocket, Err(blocked()));
    Paths::set(&paths.quic, Ok(()));
    drop(peer);
    let (_peer, _) = tokio::join!(probe.advance(SECOND * 6), cloud.welcome()).1;
    assert_eq!(paths.dials(), [Transport::WebSocket, Transport::Quic]);
}
