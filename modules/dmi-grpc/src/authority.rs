//! Lets clients in that name a socket's path as the authority.
//!
//! grpc-go makes the `:authority` of a request from what it dials: of `/etc/kubeedge/dmi.sock` either that
//! text or `%2Fetc%2Fkubeedge%2Fdmi.sock`. Every mapper that is built with KubeEdge's `mapper-framework` does
//! so, and our HTTP/2 library refuses both, since neither is a valid authority. Nobody reads it on a Unix
//! socket, so it is replaced before the library sees it.

use crate::hpack::replace_authority;

/// Bytes that a client begins with.
const PREFACE_BYTES: usize = 24;
/// Bytes in front of each frame.
const HEAD_BYTES: usize = 9;
/// The largest payload that is looked at: what a peer may send unless it was told otherwise.
const LOOKED_AT_MAX: usize = 16 << 10;

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

#[derive(Debug)]
enum State {
    /// So many bytes go on as they are.
    Pass(usize),
    /// The head of a frame is read.
    Head,
    /// A frame of headers is read, of so many bytes with its head.
    Headers(usize),
}

/// What a client sends, frame by frame.
#[derive(Debug)]
pub(crate) struct Rewriter {
    state: State,
    /// What was read of a head or of a frame of headers.
    held: Vec<u8>,
}

impl Rewriter {
    pub(crate) const fn new() -> Self {
        Self { state: State::Pass(PREFACE_BYTES), held: Vec::new() }
    }

    /// Takes what arrived and appends what the library is to read.
    pub(crate) fn feed(&mut self, mut arrived: &[u8], out: &mut Vec<u8>) {
        while !arrived.is_empty() {
            arrived = match self.state {
                State::Pass(left) => {
                    let (passed, rest) = arrived.split_at(left.min(arrived.len()));
                    out.extend_from_slice(passed);
                    self.state =
                        if passed.len() == left { State::Head } else { State::Pass(left - passed.len()) };
                    rest
                }
                State::Head => {
                    let (is_whole, rest) = self.hold(arrived, HEAD_BYTES);
                    if is_whole {
                        self.begin_frame(out);
                    }
                    rest
                }
                State::Headers(bytes) => {
                    let (is_whole, rest) = self.hold(arrived, bytes);
                    if is_whole {
                        let frame = std::mem::take(&mut self.held);
                        out.extend_from_slice(&rewritten(&frame).unwrap_or(frame));
                        self.state = State::Head;
                    }
                    rest
                }
            };
        }
    }

    /// Holds arrived bytes until there are so many.
    fn hold<'a>(&mut self, arrived: &'a [u8], wanted: usize) -> (bool, &'a [u8]) {
        let missing = wanted.saturating_sub(self.held.len());
        let (taken, rest) = arrived.split_at(missing.min(arrived.len()));
        self.held.extend_from_slice(taken);
        (self.held.len() == wanted, rest)
    }

    /// Decides by its head what becomes of a frame.
    fn begin_frame(&mut self, out: &mut Vec<u8>) {
        let (bytes, kind) = match self.held.as_slice() {
            [a, b, c, kind, ..] => (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c), *kind),
            _ => (0, 0),
        };
        if kind == HEADERS && (1..=LOOKED_AT_MAX).contains(&bytes) {
            self.state = State::Headers(HEAD_BYTES + bytes);
            return;
        }
        out.append(&mut self.held);
        self.state = if bytes == 0 { State::Head } else { State::Pass(bytes) };
    }
}

/// Returns a frame of headers with another authority, if it has one that can be replaced. A block that goes
/// on in a further frame is left alone: it has more than 16 KiB.
fn rewritten(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = frame.split_at_checked(HEAD_BYTES)?;
    let flags = *head.get(4)?;
    if flags & END_HEADERS == 0 {
        return None;
    }
    let (padding, before) = if flags & PADDED == 0 { (0, 0) } else { (usize::from(*payload.first()?), 1) };
    let before = before + if flags & PRIORITY == 0 { 0 } else { 5 };
    let after = payload.len().checked_sub(padding)?;
    let block = replace_authority(payload.get(before..after)?)?;
    let bytes = u32::try_from(before + block.len() + padding).ok()?;
    let [_, length @ ..] = bytes.to_be_bytes();
    let mut frame = Vec::with_capacity(HEAD_BYTES + payload.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(head.get(3..)?);
    frame.extend_from_slice(payload.get(..before)?);
    frame.extend_from_slice(&block);
    frame.extend_from_slice(payload.get(after..)?);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
        let head = [&length[1..], &[kind, flags, 0, 0, 0, 1]].concat();
        [&head[..], payload].concat()
    }

    fn session(headers: &[u8]) -> Vec<u8> {
        let (settings, data) = (frame(4, 0, &[0, 3, 0, 0, 0, 100]), frame(0, 1, b"\0\0\0\0\0"));
        [PREFACE, &settings, headers, &data].concat()
    }

    fn fed(chunks: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
        let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
        chunks.for_each(|chunk| rewriter.feed(chunk.as_ref(), &mut out));
        out
    }

    #[test]
    fn a_path_as_authority_is_replaced_however_its_bytes_arrive() {
        let block = b"\x83\x86\x41\x02/a\x84";
        for (flags, before, after) in [
            (0x4, &b""[..], &b""[..]),
            (0x5, b"", b""),
            (0x4 | 0x20, b"\0\0\0\0\x0f", b""),
            (0x4 | 0x8, b"\x02", b"\0\0"),
            (0x4 | 0x8 | 0x20, b"\x01\0\0\0\0\x0f", b"\0"),
        ] {
            let given = session(&frame(1, flags, &[before, block, after].concat()));
            let expect = session(&frame(1, flags, &[before, b"\x83\x86\x41\x01-\x84", after].concat()));
            for size in [1, 2, 7, 1000] {
                assert_eq!(fed(given.chunks(size)), expect, "flags {flags:x}, {size} bytes at a time");
            }
        }
    }

    #[test]
    fn what_has_no_such_headers_goes_on_as_it_is() {
        for headers in [
            frame(1, 0x4, b"\x83\x86\xbe\x84"),
            frame(1, 0x4, b"\x83\x41\x7f"),
            frame(1, 0, b"\x41\x02/a"),
            frame(1, 0x4 | 0x8, b"\xff\x41\x02/a"),
            frame(1, 0x4, b""),
            frame(9, 0x4, b"\x41\x02/a"),
        ] {
            let given = session(&headers);
            assert_eq!(fed(given.chunks(5)), given);
        }
    }

    #[test]
    fn a_frame_that_says_to_be_too_long_is_not_held() {
        let mut rewriter = Rewriter::new();
        let mut out = Vec::new();
        let given = [PREFACE, b"\xff\xff\xff\x01\x04\0\0\0\x01", &[0x41; 4096]].concat();
        rewriter.feed(&given, &mut out);
        assert_eq!(out, given);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_added_but_for_the_authority(bytes in any::<Vec<u8>>(), size in 1_usize..50) {
            let data = frame(0, 0, &bytes);
            let given = [PREFACE, &data, &data].concat();
            prop_assert_eq!(fed(given.chunks(size)), given);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), size in 1_usize..50) {
            fed([PREFACE, &bytes].concat().chunks(size));
        }
    }
}
