//! What every link must do, real or not. Each adapter's tests run this suite on its own links.

use bytes::Bytes;

use crate::link::{Frame, Link, LinkError};

/// Checks one promise on a fresh pair of ends, whose right one accepts frames of at most
/// `bytes_max` bytes. Call it once for each of [`Promise::ALL`].
///
/// # Panics
///
/// When the promise is broken.
pub async fn check(promise: Promise, left: Link, right: Link, bytes_max: usize) {
    match promise {
        Promise::FramesArriveInOrder => frames_arrive_in_order(left, right).await,
        Promise::BothWaysAtOnce => both_ways_at_once(left, right).await,
        Promise::OversizeIsAnError => oversize_is_an_error(left, right, bytes_max).await,
        Promise::CloseIsSeen => close_is_seen(left, right).await,
        Promise::DropIsSeen => drop_is_seen(left, right).await,
        Promise::AFullLinkMakesTheSenderWait => {
            a_full_link_makes_the_sender_wait(left, right, bytes_max).await
        }
    }
}

/// A promise of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Frames keep their order, type and content, empty ones too.
    FramesArriveInOrder,
    /// One direction does not wait for the other.
    BothWaysAtOnce,
    /// A frame beyond the limit is an error and not a frame.
    OversizeIsAnError,
    /// What was sent before a close arrives, and then the end.
    CloseIsSeen,
    /// An end that is dropped is seen by the other.
    DropIsSeen,
    /// A link holds a bounded amount of what nobody reads.
    AFullLinkMakesTheSenderWait,
}

impl Promise {
    /// All promises.
    pub const ALL: [Self; 6] = [
        Self::FramesArriveInOrder,
        Self::BothWaysAtOnce,
        Self::OversizeIsAnError,
        Self::CloseIsSeen,
        Self::DropIsSeen,
        Self::AFullLinkMakesTheSenderWait,
    ];
}

fn frame(number: usize) -> Frame {
    let payload = Bytes::from("x".repeat(number));
    if number.is_multiple_of(2) { Frame::Text(payload) } else { Frame::Binary(payload) }
}

async fn send_all(link: &mut Link, count: usize) {
    for number in 0..count {
        link.writer.send(frame(number)).await.expect("the link is up");
    }
}

async fn read_all(link: &mut Link, count: usize) {
    for number in 0..count {
        assert_eq!(link.reader.next().await, Ok(frame(number)));
    }
}

async fn frames_arrive_in_order(mut left: Link, mut right: Link) {
    tokio::join!(send_all(&mut left, 200), read_all(&mut right, 200));
}

async fn both_ways_at_once(left: Link, right: Link) {
    let one = |link: Link| {
        let Link { mut reader, mut writer } = link;
        async move {
            let sending = async {
                for number in 0..200 {
                    writer.send(frame(number)).await.expect("the link is up");
                }
            };
            let reading = async {
                for number in 0..200 {
                    assert_eq!(reader.next().await, Ok(frame(number)));
                }
            };
            tokio::join!(sending, reading);
        }
    };
    tokio::join!(one(left), one(right));
}

async fn oversize_is_an_error(mut left: Link, mut right: Link, bytes_max: usize) {
    let sending = async {
        let largest = Frame::Binary(Bytes::from(vec![7; bytes_max]));
        left.writer.send(largest).await.expect("the link is up");
        // The peer may end the link while this is on its way.
        left.writer.send(Frame::Binary(Bytes::from(vec![7; bytes_max + 1]))).await
    };
    let reading = async {
        assert_eq!(right.reader.next().await.map(|frame| frame.payload().len()), Ok(bytes_max));
        let outcome = right.reader.next().await;
        assert!(matches!(outcome, Err(LinkError::TooLarge { .. })), "{outcome:?}");
        drop(right);
    };
    let (_sent, ()) = tokio::join!(sending, reading);
}

async fn close_is_seen(mut left: Link, mut right: Link) {
    left.writer.send(frame(3)).await.expect("the link is up");
    left.writer.close().await;
    assert_eq!(right.reader.next().await, Ok(frame(3)));
    assert_eq!(right.reader.next().await, Err(LinkError::Closed));
    assert!(left.writer.send(frame(1)).await.is_err());
}

async fn drop_is_seen(left: Link, mut right: Link) {
    drop(left);
    assert_eq!(right.reader.next().await, Err(LinkError::Closed));
}

async fn a_full_link_makes_the_sender_wait(mut left: Link, right: Link, bytes_max: usize) {
    let frame = Frame::Binary(Bytes::from(vec![7; bytes_max]));
    let filling = async {
        // A kernel holds some megabytes for each direction; 256 MiB are more than any.
        for _ in 0..(256 << 20) / bytes_max {
            left.writer.send(frame.clone()).await.expect("the link is up");
        }
        panic!("the link took everything");
    };
    let idle = async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = filling => {}
        () = idle => {}
    }
    drop(right);
}
