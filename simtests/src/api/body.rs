//! The body of an answer, which ends when its server does.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use apiserver::ResponseBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Says that a server went away while it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connection reset by peer")]
pub(super) struct Reset;

/// How a stream ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order, as a watch does after its timeout.
    InOrder,
    /// With the server.
    Reset,
}

pub(super) type Ending = Pin<Box<dyn Future<Output = End> + Send>>;

pub(super) enum SimBody {
    Text(Option<Bytes>),
    Server { body: ResponseBody, ending: Option<Ending> },
    Ended,
}

impl fmt::Debug for SimBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimBody")
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        match &mut *self {
            Self::Ended => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Server { body, ending } => {
                if let Some(Poll::Ready(end)) = ending.as_mut().map(|ending| ending.as_mut().poll(cx)) {
                    *self = Self::Ended;
                    return Poll::Ready((end == End::Reset).then_some(Err(Reset)));
                }
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Text(text) => text.is_none(),
            Self::Server { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ended => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Server { body, .. } => body.size_hint(),
        }
    }
}
