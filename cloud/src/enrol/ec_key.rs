//! Private keys of P-256 in their two forms.
//!
//! KubeEdge keeps keys as SEC 1 (`ECPrivateKey`), as Go and OpenSSL write it; the signing library
//! wants PKCS #8. For one curve both are fixed texts around the same two numbers.

const SEC1_LEN: usize = 121;
const SEC1_HEAD: &[u8] = &[0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
/// The curve, and the head of the public key.
const SEC1_MIDDLE: &[u8] =
    &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00];
const PKCS8_LEN: usize = 138;
const PKCS8_HEAD: &[u8] = &[
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01,
    0x04, 0x20,
];
const PKCS8_MIDDLE: &[u8] = &[0xa1, 0x44, 0x03, 0x42, 0x00];
const SECRET_LEN: usize = 32;

/// Returns the PKCS #8 form of a SEC 1 key.
pub(crate) fn pkcs8_of_sec1(sec1: &[u8]) -> Option<Vec<u8>> {
    rewrap(sec1, (SEC1_LEN, SEC1_HEAD, SEC1_MIDDLE), (PKCS8_HEAD, PKCS8_MIDDLE))
}

/// Returns the SEC 1 form of a PKCS #8 key.
pub(crate) fn sec1_of_pkcs8(pkcs8: &[u8]) -> Option<Vec<u8>> {
    rewrap(pkcs8, (PKCS8_LEN, PKCS8_HEAD, PKCS8_MIDDLE), (SEC1_HEAD, SEC1_MIDDLE))
}

fn rewrap(der: &[u8], from: (usize, &[u8], &[u8]), to: (&[u8], &[u8])) -> Option<Vec<u8>> {
    if der.len() != from.0 {
        return None;
    }
    let (secret, rest) = der.strip_prefix(from.1)?.split_at_checked(SECRET_LEN)?;
    let public = rest.strip_prefix(from.2)?;
    Some([to.0, secret, to.1, public].concat())
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;

    #[test]
    fn a_key_survives_both_ways_and_anything_else_is_refused() {
        let key = KeyPair::generate().expect("a key").serialize_der();
        let sec1 = sec1_of_pkcs8(&key).expect("it is of P-256");
        assert_eq!(sec1.len(), SEC1_LEN);
        assert_eq!(pkcs8_of_sec1(&sec1), Some(key.clone()));
        let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key").serialize_der();
        for broken in [&key[..100], b"", &other] {
            assert_eq!(sec1_of_pkcs8(broken), None);
            assert_eq!(pkcs8_of_sec1(broken), None);
        }
        assert_eq!(pkcs8_of_sec1(&sec1[1..]), None);
    }

    #[test]
    fn the_length_is_that_of_its_parts() {
        assert_eq!(SEC1_LEN, SEC1_HEAD.len() + SECRET_LEN + SEC1_MIDDLE.len() + 65);
        assert_eq!(PKCS8_LEN, PKCS8_HEAD.len() + SECRET_LEN + PKCS8_MIDDLE.len() + 65);
    }
}
