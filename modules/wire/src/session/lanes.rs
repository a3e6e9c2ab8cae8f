//! Frames that wait to be written, by lane; the large ones are cut.

use std::collections::VecDeque;

use bytes::Bytes;

use super::lane::Lane;
use crate::codec::{self, Part};
use crate::link::Frame;

/// Frames larger than this are cut into parts of so many bytes. A link of 64 kbit/s carries one in
/// half a second.
const PART_BYTES: usize = 4 << 10;
/// So many bytes in a lane are enough for now: what is not there yet can still be replaced by
/// something newer, and may be overtaken.
const LANE_BYTES: usize = 64 << 10;

/// How many frames may wait in each lane before it has no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// In [`Lane::Liveness`].
    pub liveness: usize,
    /// In [`Lane::Status`].
    pub status: usize,
    /// In [`Lane::Sync`] and [`Lane::Bulk`], each.
    pub data: usize,
    /// How many more each takes of what must be said, room or not.
    pub extra: usize,
}

/// Says that the link does not drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link does not drain")]
pub struct Stuck;

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// How much of the first frame has left.
    cut: usize,
}

/// The frames that wait.
#[derive(Debug)]
pub(crate) struct Lanes {
    limits: LaneLimits,
    waiting: [Waiting; Lane::ALL.len()],
    cuts: bool,
}

impl Lanes {
    /// Makes empty lanes. `cuts` says that the peer puts parts together.
    pub(crate) fn new(limits: LaneLimits, cuts: bool) -> Self {
        Self { limits, waiting: Default::default(), cuts }
    }

    const fn frames_max(&self, lane: Lane) -> usize {
        match lane {
            Lane::Liveness => self.limits.liveness,
            Lane::Status => self.limits.status,
            Lane::Sync | Lane::Bulk => self.limits.data,
        }
    }

    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        let waiting = &self.waiting[lane.index()];
        waiting.frames.len() < self.frames_max(lane) && waiting.bytes < LANE_BYTES
    }

    /// Takes a frame, using what is extra if need be.
    pub(crate) fn push(&mut self, lane: Lane, frame: Frame) -> Result<(), Stuck> {
        if self.waiting[lane.index()].frames.len() >= self.frames_max(lane) + self.limits.extra {
            return Err(Stuck);
        }
        let waiting = &mut self.waiting[lane.index()];
        waiting.bytes += frame.payload().len();
        waiting.frames.push_back(frame);
        Ok(())
    }

    /// Returns the next frame, or the next part of one. Data is left out unless `with_data`.
    pub(crate) fn next(&mut self, with_data: bool) -> Option<Frame> {
        let lane = Lane::ALL.into_iter().find(|lane| {
            let may_go = with_data || *lane < Lane::Sync;
            may_go && !self.waiting[lane.index()].frames.is_empty()
        })?;
        let waiting = &mut self.waiting[lane.index()];
        let first = waiting.frames.front()?;
        let size = first.payload().len();
        if !self.cuts || size <= PART_BYTES {
            waiting.bytes -= size;
            return waiting.frames.pop_front();
        }
        let end = size.min(waiting.cut + PART_BYTES);
        let bytes = first.payload().slice(waiting.cut..end);
        waiting.bytes -= bytes.len();
        waiting.cut = end;
        let is_last = end == size;
        if is_last {
            waiting.frames.pop_front();
            waiting.cut = 0;
        }
        Some(codec::encode_part(Part { lane: lane as u8, is_last, bytes }))
    }

    /// Drops what is data. A frame of which a part has left is of no use to the peer.
    pub(crate) fn clear_data(&mut self) {
        for lane in [Lane::Sync, Lane::Bulk] {
            self.waiting[lane.index()] = Waiting::default();
        }
    }
}

/// The parts of a frame are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartsError {
    #[error("a part is of the unknown lane {0}")]
    Lane(u8),
    #[error("the parts of a frame exceed {0} bytes")]
    TooLarge(usize),
}

/// Puts parts together. Parts of one lane come in their order; lanes overtake each other.
#[derive(Debug)]
pub(crate) struct Assembly {
    bytes_max: usize,
    begun: [Vec<u8>; Lane::ALL.len()],
}

impl Assembly {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, begun: Default::default() }
    }

    /// Takes a part; returns the frame that it completes.
    pub(crate) fn add(&mut self, part: &Part) -> Result<Option<Frame>, PartsError> {
        let begun = self.begun.get_mut(usize::from(part.lane)).ok_or(PartsError::Lane(part.lane))?;
        if begun.len() + part.bytes.len() > self.bytes_max {
            return Err(PartsError::TooLarge(self.bytes_max));
        }
        begun.extend_from_slice(&part.bytes);
        Ok(part.is_last.then(|| Frame::Binary(Bytes::from(std::mem::take(begun)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;
    use crate::codec::EdgeFrame;

    const LIMITS: LaneLimits = LaneLimits { liveness: 2, status: 2, data: 3, extra: 1 };

    fn frame(text: &'static str) -> Frame {
        Frame::Text(Bytes::from_static(text.as_bytes()))
    }

    fn part(frame: &Frame) -> Part {
        match Codec::Native.decode_edge(frame) {
            Ok(EdgeFrame::Part(part)) => part,
            other => panic!("a part: {other:?}"),
        }
    }

    #[test]
    fn the_first_lane_goes_first_and_data_only_when_it_may() {
        let mut lanes = Lanes::new(LIMITS, false);
        for (lane, text) in [
            (Lane::Bulk, "bulk"),
            (Lane::Sync, "sync 1"),
            (Lane::Sync, "sync 2"),
            (Lane::Status, "status"),
            (Lane::Liveness, "lease"),
        ] {
            lanes.push(lane, frame(text)).expect("room");
        }
        assert_eq!(lanes.next(false), Some(frame("lease")));
        assert_eq!(lanes.next(false), Some(frame("status")));
        assert_eq!(lanes.next(false), None);
        for text in ["sync 1", "sync 2", "bulk"] {
            assert_eq!(lanes.next(true), Some(frame(text)));
        }
        assert_eq!(lanes.next(true), None);
    }

    #[test]
    fn each_lane_has_its_own_bound() {
        let mut lanes = Lanes::new(LIMITS, false);
        for _ in 0..3 {
            assert!(lanes.has_room(Lane::Bulk));
            lanes.push(Lane::Bulk, frame("x")).expect("room");
        }
        assert!(!lanes.has_room(Lane::Bulk));
        lanes.push(Lane::Bulk, frame("x")).expect("what must be said is taken");
        assert_eq!(lanes.push(Lane::Bulk, frame("x")), Err(Stuck));
        assert!(lanes.has_room(Lane::Liveness), "data takes no room of what is urgent");
        lanes.push(Lane::Sync, Frame::Binary(vec![0; LANE_BYTES].into())).expect("room");
        assert!(!lanes.has_room(Lane::Sync), "one frame may be enough");
        lanes.push(Lane::Sync, frame("x")).expect("what must be said is taken");
        lanes.clear_data();
        assert!(lanes.has_room(Lane::Bulk) && lanes.has_room(Lane::Sync));
    }

    #[test]
    fn a_large_frame_lets_small_ones_pass_and_arrives_whole() {
        let mut lanes = Lanes::new(LIMITS, true);
        let mut assembly = Assembly::new(1 << 20);
        let large: Vec<u8> = (0..=u8::MAX).cycle().take(3 * PART_BYTES - 7).collect();
        lanes.push(Lane::Bulk, Frame::Binary(large.clone().into())).expect("room");
        let first = part(&lanes.next(true).expect("a part"));
        assert_eq!(first.bytes.len(), PART_BYTES);
        assert_eq!(assembly.add(&first), Ok(None));
        lanes.push(Lane::Sync, Frame::Binary(large[..PART_BYTES + 1].to_vec().into())).expect("room");
        lanes.push(Lane::Liveness, frame("lease")).expect("room");
        assert_eq!(lanes.next(true), Some(frame("lease")));
        let mut arrived = Vec::new();
        while let Some(next) = lanes.next(true) {
            arrived.extend(assembly.add(&part(&next)).expect("sound parts"));
        }
        let sizes: Vec<usize> = arrived.iter().map(|frame| frame.payload().len()).collect();
        assert_eq!(sizes, [PART_BYTES + 1, large.len()]);
        assert_eq!(arrived[1].payload(), &large);
        assert!(lanes.has_room(Lane::Bulk));
        assert_eq!(lanes.waiting[Lane::Bulk.index()].bytes, 0);
    }

    #[test]
    fn parts_without_end_or_of_no_lane_are_an_error() {
        let mut assembly = Assembly::new(10);
        let part = |lane, size: usize| Part { lane, is_last: false, bytes: vec![0; size].into() };
        assert_eq!(assembly.add(&part(4, 1)), Err(PartsError::Lane(4)));
        assert_eq!(assembly.add(&part(3, 10)), Ok(None));
        assert_eq!(assembly.add(&part(3, 1)), Err(PartsError::TooLarge(10)));
    }
}
