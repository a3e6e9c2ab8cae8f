//! Join tokens: the authority's fingerprint, and a JSON web token that the authority's key signed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use link_ws::fingerprint;
use ring::hmac;
use serde::Deserialize;
use serde_json::json;

/// Says why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenProblem {
    #[error("the token is malformed: it has not three parts in base64")]
    Malformed,
    #[error("the token's algorithm is none of HS256, HS384 and HS512")]
    Algorithm,
    #[error("the token was not made by this cluster")]
    Signature,
    #[error("the token has expired")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// Makes a token that is valid until `ends`. `key` is the authority's private key as it is kept.
pub(crate) fn make(authority: &[u8], key: &[u8], ends: SystemTime) -> String {
    let seconds = since_epoch(ends).as_secs();
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": seconds }).to_string());
    let signed = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{}.{signed}.{}", fingerprint(authority), URL_SAFE_NO_PAD.encode(signature))
}

/// Checks the part of a token that follows the fingerprint.
pub(crate) fn verify(token: &str, key: &[u8], now: SystemTime) -> Result<(), TokenProblem> {
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenProblem::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenProblem::Malformed)?;
    let header: Header = decode(header)?;
    let algorithm = match header.alg.as_str() {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => return Err(TokenProblem::Algorithm),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenProblem::Malformed)?;
    hmac::verify(&hmac::Key::new(algorithm, key), signed.as_bytes(), &signature)
        .map_err(|_| TokenProblem::Signature)?;
    let claims: Claims = decode(claims)?;
    if claims.exp > since_epoch(now).as_secs_f64() { Ok(()) } else { Err(TokenProblem::Expired) }
}

fn decode<'a, T: for<'de> Deserialize<'de>>(part: &'a str) -> Result<T, TokenProblem> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenProblem::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenProblem::Malformed)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn jwt(token: &str) -> &str {
        token.split_once('.').expect("four parts").1
    }

    #[test]
    fn a_token_is_valid_until_it_ends_and_for_its_own_key() {
        let token = make(b"authority", b"key", at(100));
        assert_eq!(token.split('.').count(), 4);
        assert_eq!(verify(jwt(&token), b"key", at(99)), Ok(()));
        assert_eq!(verify(jwt(&token), b"key", at(100)), Err(TokenProblem::Expired));
        assert_eq!(verify(jwt(&token), b"other", at(0)), Err(TokenProblem::Signature));
        assert_eq!(verify(&token, b"key", at(0)), Err(TokenProblem::Malformed), "with its fingerprint");
    }

    #[test]
    fn the_known_answer_of_another_implementation() {
        // The example of RFC 7515, appendix A.1, whose time to end is 1300819380.
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                     eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                     dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).expect("base64");
        assert_eq!(verify(token, &key, at(1_300_819_379)), Ok(()));
        assert_eq!(verify(token, &key, at(1_300_819_380)), Err(TokenProblem::Expired));
    }

    #[test]
    fn what_is_not_signed_as_it_should_be_is_refused() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = part(r#"{"exp":100}"#);
        for (token, problem) in [
            (String::new(), TokenProblem::Malformed),
            ("wrong.jwt.here".to_owned(), TokenProblem::Malformed),
            (format!("{}.{claims}.", part(r#"{"alg":"none"}"#)), TokenProblem::Algorithm),
            (format!("{}.{claims}.", part(r#"{"alg":"HS256"}"#)), TokenProblem::Signature),
            (format!("{}.{claims}.AAAA", part(r#"{"alg":"HS512"}"#)), TokenProblem::Signature),
        ] {
            assert_eq!(verify(&token, b"key", at(0)), Err(problem), "{token}");
        }
    }
}
