//! The native codec's shortest frames: what an idle link carries, in one to four bytes.
//!
//! | Bytes | Frame |
//! |---|---|
//! | `00` to `3f` | a ping with that number |
//! | `40` to `7f` | a pong with that number less `40` |
//! | `c1`, then up to three bytes | from an edge: a renewal by so many milliseconds |
//! | `c1` | from a cloud: it is renewed |
//!
//! A MessagePack frame begins with `81`, and `c1` is what MessagePack never uses. The milliseconds are
//! written seven bits a byte, the lowest first, with the highest bit of all but the last byte set.

use bytes::Bytes;

use super::DecodeError;
use crate::link::Frame;

/// Numbers of pings that fit.
const NUMBERS: u64 = 0x40;
const PONG: u8 = 0x40;
const RENEWAL: u8 = 0xc1;
/// The most bytes of a number.
const NUMBER_BYTES_MAX: usize = 3;

/// A short frame, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Ping(u64),
    Pong(u64),
    Renewal(u32),
    Renewed,
}

fn one(byte: u64) -> Frame {
    Frame::Binary(Bytes::from(vec![u8::try_from(byte).expect("less than 80 in hexadecimal")]))
}

/// Encodes a ping, of whose number 64 are told apart.
pub(crate) fn encode_ping(number: u64) -> Frame {
    one(number % NUMBERS)
}

/// Encodes a pong.
pub(crate) fn encode_pong(number: u64) -> Frame {
    one(number % NUMBERS + u64::from(PONG))
}

pub(super) fn encode_renewal(step_ms: u32) -> Frame {
    let mut bytes = vec![RENEWAL];
    let mut left = step_ms;
    loop {
        let low = u8::try_from(left & 0x7f).expect("seven bits");
        left >>= 7;
        if left == 0 {
            bytes.push(low);
            return Frame::Binary(bytes.into());
        }
        bytes.push(low | 0x80);
    }
}

pub(super) fn encode_renewed() -> Frame {
    Frame::Binary(Bytes::from_static(&[RENEWAL]))
}

/// Reads a short frame; `None` if it is none.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Short, DecodeError>> {
    let (first, rest) = bytes.split_first()?;
    let short = match *first {
        RENEWAL if rest.is_empty() => Ok(Short::Renewed),
        RENEWAL => read_number(rest).map(Short::Renewal),
        _ if *first >= 0x80 => return None,
        _ if !rest.is_empty() => Err(DecodeError::TrailingBytes(rest.len())),
        number if number < PONG => Ok(Short::Ping(number.into())),
        number => Ok(Short::Pong(u64::from(number - PONG))),
    };
    Some(short)
}

fn read_number(bytes: &[u8]) -> Result<u32, DecodeError> {
    let bad = || DecodeError::Value { what: "renewal", problem: "it is no number of three bytes".to_owned() };
    let (last, others) = bytes.split_last().ok_or_else(bad)?;
    if bytes.len() > NUMBER_BYTES_MAX || *last >= 0x80 || others.iter().any(|byte| *byte < 0x80) {
        return Err(bad());
    }
    Ok(bytes.iter().rev().fold(0, |number, byte| (number << 7) | u32::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_of_short_frames_stay_as_they_are() {
        for (frame, bytes, short) in [
            (encode_ping(0), &[0x00][..], Short::Ping(0)),
            (encode_ping(63), &[0x3f], Short::Ping(63)),
            (encode_ping(64 + 5), &[0x05], Short::Ping(5)),
            (encode_pong(5), &[0x45], Short::Pong(5)),
            (encode_renewal(0), &[0xc1, 0x00], Short::Renewal(0)),
            (encode_renewal(10_003), &[0xc1, 0x93, 0x4e], Short::Renewal(10_003)),
            (encode_renewal(600_000), &[0xc1, 0xc0, 0xcf, 0x24], Short::Renewal(600_000)),
            (encode_renewed(), &[0xc1], Short::Renewed),
        ] {
            assert_eq!(&frame.payload()[..], bytes);
            assert_eq!(decode(bytes).expect("it is short").expect("it is sound"), short);
        }
        assert!(decode(b"\x81\xa4Ping\x01").is_none());
        assert!(decode(b"").is_none());
        for bad in [&[0x00, 0x00][..], &[0x45, 1], &[0xc1, 0x80], &[0xc1, 1, 1], &[0xc1, 0x81, 0x81, 0x81, 1]]
        {
            assert!(decode(bad).expect("it is short").is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            drop(decode(&bytes));
        }
    }
}
