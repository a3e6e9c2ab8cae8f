//! A link whose frames are looked at, and changed or lost, one at a time.

use std::sync::Arc;

use async_trait::async_trait;
use protocol::{NodeReply, NodeRequest};
use tokio::sync::mpsc;
use wire::codec::{CloudFrame, EdgeFrame, Features};
use wire::link::{DialTo, Dialed, Dialer, Frame, FrameReader, FrameWriter, Link, LinkError};
use wire::{Codec, Downlink, Envelope, ReplyShape, ReplyTo, Uplink};

type Up = Arc<dyn Fn(EdgeFrame) -> Option<EdgeFrame> + Send + Sync>;
type Down = Arc<dyn Fn(CloudFrame) -> Option<CloudFrame> + Send + Sync>;

/// A dialer whose links are tapped at the edge's end.
///
/// A tapped edge has no features, so that every frame is a whole message.
pub(crate) struct Tap {
    dialer: Arc<dyn Dialer>,
    up: Up,
    down: Down,
}

impl Tap {
    /// Taps the links of a dialer, and changes nothing but the features.
    pub(crate) fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self { dialer, up: Arc::new(Some), down: Arc::new(Some) }
    }

    /// Lets what the cloud sends pass through `change`, which may lose it.
    pub(crate) fn down(
        self,
        change: impl Fn(CloudFrame) -> Option<CloudFrame> + Send + Sync + 'static,
    ) -> Self {
        Self { down: Arc::new(change), ..self }
    }

    /// Lets what the edge sends pass through `change`, which may lose it.
    pub(crate) fn up(self, change: impl Fn(EdgeFrame) -> Option<EdgeFrame> + Send + Sync + 'static) -> Self {
        Self { up: Arc::new(change), ..self }
    }
}

#[async_trait]
impl Dialer for Tap {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let Dialed { codec, link } = self.dialer.dial(to).await?;
        let reader = TappedReader { codec, reader: link.reader, down: Arc::clone(&self.down) };
        let writer = TappedWriter { codec, writer: link.writer, up: Arc::clone(&self.up) };
        Ok(Dialed { codec, link: Link { reader: Box::new(reader), writer: Box::new(writer) } })
    }
}

struct TappedReader {
    codec: Codec,
    reader: Box<dyn FrameReader>,
    down: Down,
}

#[async_trait]
impl FrameReader for TappedReader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        loop {
            let frame = self.reader.next().await?;
            let Ok(heard) = self.codec.decode_cloud(&frame) else { return Ok(frame) };
            let passed = (self.down)(heard).and_then(|frame| self.codec.encode_cloud(frame));
            if let Some(frame) = passed {
                return Ok(frame);
            }
        }
    }
}

struct TappedWriter {
    codec: Codec,
    writer: Box<dyn FrameWriter>,
    up: Up,
}

#[async_trait]
impl FrameWriter for TappedWriter {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        let said = match self.codec.decode_edge(&frame) {
            Ok(EdgeFrame::Hello(mut hello)) => {
                hello.features = Features::default();
                EdgeFrame::Hello(hello)
            }
            Ok(said) => said,
            Err(_) => return self.writer.send(frame).await,
        };
        match (self.up)(said).and_then(|frame| self.codec.encode_edge(frame)) {
            Some(frame) => self.writer.send(frame).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self) {
        self.writer.close().await;
    }
}

/// A dialer of an edge that takes what it gave to the link for told: whoever reports the status of a
/// pod is answered at once.
pub(crate) struct Confident(pub(crate) Arc<dyn Dialer>);

#[async_trait]
impl Dialer for Confident {
    async fn dial(&self, to: DialTo) -> Result<Dialed, LinkError> {
        let (own, answers) = mpsc::unbounded_channel();
        let tap = Tap::new(Arc::clone(&self.0)).up(move |frame| {
            if let EdgeFrame::Up(Envelope { id, body: Uplink::Request { path, request }, .. }) = &frame
                && matches!(request, NodeRequest::PatchPodStatus { .. })
            {
                let to = ReplyTo { parent: id.clone(), path: path.clone(), shape: ReplyShape::of(request) };
                let body = Downlink::Reply { to, reply: NodeReply::Done };
                let answer = CloudFrame::Down(Envelope { id: id.clone(), timestamp_ms: 0, body });
                // Without a reader there is no session that could be answered.
                let _read = own.send(answer);
            }
            Some(frame)
        });
        let Dialed { codec, link: Link { reader, writer } } = tap.dial(to).await?;
        let reader = Box::new(AnsweredReader { codec, reader, answers });
        Ok(Dialed { codec, link: Link { reader, writer } })
    }
}

struct AnsweredReader {
    codec: Codec,
    reader: Box<dyn FrameReader>,
    answers: mpsc::UnboundedReceiver<CloudFrame>,
}

#[async_trait]
impl FrameReader for AnsweredReader {
    async fn next(&mut self) -> Result<Frame, LinkError> {
        let answer = tokio::select! {
            biased;
            frame = self.reader.next() => return frame,
            Some(answer) = self.answers.recv() => answer,
        };
        self.codec.encode_cloud(answer).ok_or(LinkError::Closed)
    }
}
