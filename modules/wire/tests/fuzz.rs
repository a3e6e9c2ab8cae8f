//! The fuzz targets on a bounded number of inputs: arbitrary bytes, and recorded messages with
//! bytes changed, cut and doubled.

#[path = "../fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::Index;
use wire::codec::{CloudFrame, EdgeFrame};
use wire::{Codec, Downlink, Envelope, RawMessage, Uplink};

const UP: &str = include_str!("golden/up.ndjson");
const DOWN: &str = include_str!("golden/down.ndjson");

#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Double(Index, Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Double(from, to)),
    ];
    proptest::collection::vec(one, 0..4)
}

fn damaged(mut bytes: Vec<u8>, damage: Vec<Damage>) -> Vec<u8> {
    for damage in damage {
        if bytes.is_empty() {
            return bytes;
        }
        let len = bytes.len();
        match damage {
            Damage::Set(at, byte) => bytes[at.index(len)] = byte,
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Double(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }
    bytes
}

fn recorded() -> impl Strategy<Value = (bool, &'static str)> {
    let up: Vec<_> = UP.lines().map(|line| (true, line)).collect();
    let down: Vec<_> = DOWN.lines().map(|line| (false, line)).collect();
    proptest::sample::select([up, down].concat())
}

fn native_form(is_up: bool, line: &str) -> Vec<u8> {
    let raw = RawMessage::decode(line.as_bytes()).expect("a message");
    let frame = if is_up {
        Codec::Native.encode_edge(EdgeFrame::Up(Envelope::<Uplink>::from_raw(raw)))
    } else {
        Codec::Native.encode_cloud(CloudFrame::Down(Envelope::<Downlink>::from_raw(raw)))
    };
    frame.expect("the native codec has every frame").payload().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_break_no_decoder(input in proptest::collection::vec(any::<u8>(), 0..256)) {
        targets::raw_message(&input);
        targets::resource_path(&input);
        targets::kubeedge(&input);
        targets::native(&input);
    }

    #[test]
    fn damaged_messages_break_no_decoder((is_up, line) in recorded(), damage in damage()) {
        let input = damaged(line.as_bytes().to_vec(), damage.clone());
        targets::raw_message(&input);
        targets::kubeedge(&input);
        targets::native(&damaged(native_form(is_up, line), damage));
    }

    #[test]
    fn arbitrary_text_breaks_no_path(input in "[a-z0-9:/._-]{0,64}") {
        targets::resource_path(input.as_bytes());
    }
}
