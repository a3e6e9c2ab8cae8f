//! How a record lies in sled: the key `tree NUL key`, the value `CRC-32 value`.

use bytes::Bytes;

const CHECKSUM_LENGTH: usize = 4;

/// Returns the sled key of `key` in `tree`.
pub(crate) fn encode_key(tree: &str, key: &[u8]) -> Vec<u8> {
    assert!(!tree.as_bytes().contains(&0), "a tree's name has no NUL: {tree:?}");
    let mut encoded = Vec::with_capacity(tree.len() + 1 + key.len());
    encoded.extend_from_slice(tree.as_bytes());
    encoded.push(0);
    encoded.extend_from_slice(key);
    encoded
}

/// Returns the sled value of `value`, stored under the sled key `key`.
pub(crate) fn encode_value(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(CHECKSUM_LENGTH + value.len());
    encoded.extend_from_slice(&checksum(key, value));
    encoded.extend_from_slice(value);
    encoded
}

/// Returns the value that `encoded` holds under the sled key `key`, or nothing if it is corrupt.
pub(crate) fn decode_value(key: &[u8], encoded: &[u8]) -> Option<Bytes> {
    let (sum, value) = encoded.split_first_chunk::<CHECKSUM_LENGTH>()?;
    (*sum == checksum(key, value)).then(|| Bytes::copy_from_slice(value))
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_any_bit_flipped_is_corrupt() {
        let key = encode_key("tree", b"key");
        let encoded = encode_value(&key, b"value");
        assert_eq!(decode_value(&key, &encoded).as_deref(), Some(&b"value"[..]));
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_value(&key, &damaged), None, "bit {bit}");
        }
        assert_eq!(decode_value(&encode_key("tree", b"other"), &encoded), None);
        assert_eq!(decode_value(&key, b"abc"), None);
    }
}
