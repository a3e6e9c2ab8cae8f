//! Frames made small by what the peer has seen already.
//!
//! Objects of a kind resemble each other, and an object its last state: a lease differs from the one
//! before in a few digits. So each lane remembers the end of what it packed, and packs what follows
//! against it. Frames of one lane arrive in their order, so that both ends remember the same.

use bytes::Bytes;

use super::lane::Lane;
use crate::codec::Packed;
use crate::link::Frame;

/// Smaller frames are sent as they are.
const PACKED_BYTES_MIN: usize = 64;
/// Larger frames are packed even where that saves nothing, so that the next one may resemble them.
const REMEMBERED_BYTES_MIN: usize = 256;
/// What a packed frame is wrapped in.
const WRAPPING_BYTES: usize = 24;
/// How much of what was packed a lane remembers. A session costs four times as much in each
/// direction.
const MEMORY_BYTES: usize = 8 << 10;

/// What a lane has packed last.
#[derive(Debug, Default)]
struct Memory(Vec<u8>);

impl Memory {
    fn add(&mut self, frame: &[u8]) {
        self.0.extend_from_slice(frame);
        let surplus = self.0.len().saturating_sub(MEMORY_BYTES);
        self.0.drain(..surplus);
    }
}

/// The packing end of a direction.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    memories: [Memory; Lane::ALL.len()],
}

impl Packer {
    /// Packs a frame; `None` if that is of no use.
    pub(crate) fn pack(&mut self, lane: Lane, frame: &Frame) -> Option<Packed> {
        let plain = frame.payload();
        let size = u32::try_from(plain.len()).ok().filter(|_| plain.len() >= PACKED_BYTES_MIN)?;
        let memory = &mut self.memories[lane.index()];
        let bytes = lz4_flex::block::compress_with_dict(plain, &memory.0);
        let saves = bytes.len() + WRAPPING_BYTES < plain.len();
        if !saves && plain.len() < REMEMBERED_BYTES_MIN {
            return None;
        }
        memory.add(plain);
        Some(Packed { lane: lane as u8, size, bytes: Bytes::from(bytes) })
    }
}

/// A packed frame is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("a packed frame is of the unknown lane {0}")]
    Lane(u8),
    #[error("a packed frame has {size} bytes, more than {max}")]
    TooLarge { size: u32, max: usize },
    #[error("a packed frame cannot be unpacked: {0}")]
    Damaged(String),
}

/// The unpacking end of a direction.
#[derive(Debug)]
pub(crate) struct Unpacker {
    bytes_max: usize,
    memories: [Memory; Lane::ALL.len()],
}

impl Unpacker {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, memories: Default::default() }
    }

    pub(crate) fn unpack(&mut self, packed: &Packed) -> Result<Frame, UnpackError> {
        let Packed { lane, size, bytes } = packed;
        let memory = self.memories.get_mut(usize::from(*lane)).ok_or(UnpackError::Lane(*lane))?;
        let wanted = usize::try_from(*size).unwrap_or(usize::MAX);
        if wanted > self.bytes_max {
            return Err(UnpackError::TooLarge { size: *size, max: self.bytes_max });
        }
        let plain = lz4_flex::block::decompress_with_dict(bytes, wanted, &memory.0)
            .map_err(|error| UnpackError::Damaged(error.to_string()))?;
        if plain.len() != wanted {
            return Err(UnpackError::Damaged(format!("it has {} bytes of {wanted}", plain.len())));
        }
        memory.add(&plain);
        Ok(Frame::Binary(Bytes::from(plain)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(text: &str) -> Frame {
        Frame::Binary(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn lease(second: u32) -> Frame {
        let managed = "x".repeat(3).replace('x', r#"{"manager":"edgecore","operation":"Update"},"#);
        frame(&format!(
            r#"{{"kind":"Lease","metadata":{{"name":"edge-1","namespace":"kube-node-lease","managedFields":[{managed}]}},"spec":{{"renewTime":"2026-11-28T10:00:{second:02}.123456Z"}}}}"#
        ))
    }

    #[test]
    fn what_resembles_the_frame_before_becomes_small() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::new(1 << 20));
        let mut sizes = Vec::new();
        for second in 0..10 {
            let plain = lease(second);
            let packed = packer.pack(Lane::Liveness, &plain).expect("it becomes smaller");
            sizes.push(packed.bytes.len());
            assert_eq!(unpacker.unpack(&packed), Ok(plain));
        }
        assert!(sizes[0] > 150 && sizes[1..].iter().all(|size| *size < 40), "{sizes:?}");
    }

    #[test]
    fn what_is_small_and_would_not_become_smaller_is_left_as_it_is() {
        let mut packer = Packer::default();
        assert_eq!(packer.pack(Lane::Sync, &frame("short")), None);
        let mut seed = 1_u64;
        let noise: String = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + u8::try_from((seed >> 33) % 90).expect("a character"))
        })
        .take(200)
        .collect();
        assert_eq!(packer.pack(Lane::Sync, &frame(&noise)), None);
        assert!(packer.memories.iter().all(|memory| memory.0.is_empty()), "nothing is remembered of it");
    }

    #[test]
    fn a_packed_frame_is_never_larger_than_it_may_be() {
        let mut packer = Packer::default();
        let bomb = packer.pack(Lane::Bulk, &frame(&"x".repeat(1 << 20))).expect("it becomes smaller");
        let mut unpacker = Unpacker::new(1000);
        assert!(matches!(unpacker.unpack(&bomb), Err(UnpackError::TooLarge { .. })));
        let liar = Packed { size: 900, ..bomb };
        assert!(matches!(unpacker.unpack(&liar), Err(UnpackError::Damaged(_))));
        assert_eq!(unpacker.unpack(&Packed { lane: 4, ..liar }), Err(UnpackError::Lane(4)));
    }

    proptest! {
        #[test]
        fn all_frames_return_as_they_were_and_memory_is_bounded(
            frames in proptest::collection::vec((0_usize..4, "[ab]{0,1500}|[a-z{}\":,]{0,300}"), 0..20),
        ) {
            let (mut packer, mut unpacker) = (Packer::default(), Unpacker::new(1 << 20));
            for (lane, text) in frames {
                let plain = frame(&text);
                if let Some(packed) = packer.pack(Lane::ALL[lane], &plain) {
                    prop_assert!(packed.bytes.len() <= text.len() + text.len() / 255 + 16);
                    prop_assert_eq!(unpacker.unpack(&packed), Ok(plain));
                }
            }
            prop_assert!(packer.memories.iter().all(|memory| memory.0.len() <= MEMORY_BYTES));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(lane in any::<u8>(), size in 0_u32..5000, bytes in any::<Vec<u8>>()) {
            let mut unpacker = Unpacker::new(4000);
            drop(unpacker.unpack(&Packed { lane, size, bytes: bytes.into() }));
        }
    }
}
