//! As much of HPACK (RFC 7541) as it takes to find one field of a header block.

/// The index of `:authority` in the static table.
const AUTHORITY: usize = 1;
/// What a replaced authority is. It must be no longer than what it replaces: see [`replace_authority`].
const REPLACEMENT: [u8; 2] = [1, b'-'];

/// Replaces the value of `:authority` in a header block. `None` if there is none to replace, or if the block
/// is not understood.
///
/// The reader's dynamic table then has a shorter entry than the writer's. It drops entries later than the
/// writer does, and the writer refers to none that it dropped itself, so that both mean the same by an
/// index.
pub(crate) fn replace_authority(block: &[u8]) -> Option<Vec<u8>> {
    let mut rest = block;
    let mut replaced: Option<Vec<u8>> = None;
    let mut kept_from = block;
    while let Some(&first) = rest.first() {
        if first & 0x80 != 0 {
            (_, rest) = integer(rest, 7)?;
        } else if first & 0xe0 == 0x20 {
            (_, rest) = integer(rest, 5)?;
        } else {
            let bits = if first & 0x40 == 0 { 4 } else { 6 };
            let (name, after) = integer(rest, bits)?;
            let value = if name == 0 { skip_string(after)? } else { after };
            rest = skip_string(value)?;
            let is_empty = value.first().is_none_or(|length| length & 0x7f == 0);
            if name == AUTHORITY && !is_empty {
                let kept = kept_from.len() - value.len();
                let out = replaced.get_or_insert_default();
                out.extend_from_slice(kept_from.get(..kept)?);
                out.extend_from_slice(&REPLACEMENT);
                kept_from = rest;
            }
        }
    }
    let mut replaced = replaced?;
    replaced.extend_from_slice(kept_from);
    Some(replaced)
}

/// Reads an integer whose first byte has `bits` bits of it.
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let full = (1_usize << bits) - 1;
    let mut number = usize::from(first) & full;
    if number < full {
        return Some((number, rest));
    }
    for shift in [0, 7, 14, 21] {
        let (&next, after) = rest.split_first()?;
        rest = after;
        number += (usize::from(next) & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

fn skip_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = integer(bytes, 7)?;
    rest.get(length..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7541, C.3.1: GET, http, `/`, and the authority `www.example.com` with indexing.
    const FIRST: &[u8] = b"\x82\x86\x84\x41\x0fwww.example.com";
    /// C.4.1, the same with Huffman's code.
    const HUFFMAN: &[u8] = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";

    #[test]
    fn the_authority_of_a_block_is_replaced_and_nothing_else() {
        let check = |block: &[u8], expect: Option<&[u8]>| {
            assert_eq!(replace_authority(block).as_deref(), expect, "{block:x?}");
        };
        check(FIRST, Some(b"\x82\x86\x84\x41\x01-"));
        check(HUFFMAN, Some(b"\x82\x86\x84\x41\x01-"));
        // With fields after it: never indexed, with a name of its own, and a change of the table's size.
        check(
            b"\x01\x02/a\x10\x01n\x02vw\x3f\xe1\x1f\x82",
            Some(b"\x01\x01-\x10\x01n\x02vw\x3f\xe1\x1f\x82"),
        );
        // C.3.2 has it in the dynamic table.
        check(b"\x82\x86\x84\xbe\x58\x08no-cache", None);
        check(b"\x41\x00", None);
        check(b"", None);
    }

    #[test]
    fn a_long_value_is_skipped_by_its_length() {
        let mut block = vec![0x00, 0x01, b'n', 0x7f, 0x80, 0x01];
        block.extend(vec![b'v'; 127 + 128]);
        block.extend_from_slice(b"\x41\x02/a\x82");
        let replaced = replace_authority(&block).expect("an authority");
        assert_eq!(&replaced[block.len() - 5..], b"\x41\x01-\x82");
    }

    #[test]
    fn what_is_cut_off_is_left_alone() {
        for length in 4..FIRST.len() {
            assert_eq!(replace_authority(&FIRST[..length]), None, "{length}");
        }
        assert_eq!(replace_authority(b"\x41\x7f\xff\xff\xff\xff\xff\x01"), None);
    }

    proptest! {
        #[test]
        fn no_block_makes_reading_panic_or_grow(block in any::<Vec<u8>>()) {
            if let Some(replaced) = replace_authority(&block) {
                prop_assert!(replaced.len() <= block.len());
            }
        }
    }
}
