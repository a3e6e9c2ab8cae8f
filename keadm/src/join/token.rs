//! A join token as an edge can read it: whose it is, and until when it is good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edgehub::Token;
use serde::Deserialize;

const FINGERPRINT_LENGTH: usize = 64;

/// Says why a text is no join token. It never holds the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenFormError {
    #[error("--token is missing: give it what `keadm gettoken` prints on the cloud's side")]
    Missing,
    #[error(
        "--token has {0} parts instead of four with dots between: it was cut when it was copied; \
         take all of what `keadm gettoken` prints"
    )]
    Parts(usize),
    #[error(
        "--token does not begin with a SHA-256 of 64 hex digits: take all of what `keadm gettoken` prints"
    )]
    Fingerprint,
    #[error("the second half of --token is damaged: copy anew what `keadm gettoken` prints")]
    Claims,
}

/// A token whose form is right; only the cloud can tell whether it is one.
#[derive(Debug, Clone)]
pub(crate) struct JoinToken {
    pub(crate) secret: Token,
    /// The SHA-256 of the cloud's authority.
    pub(crate) fingerprint: String,
    /// When it ends, by the cloud's clock.
    pub(crate) ends: SystemTime,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

impl JoinToken {
    pub(crate) fn parse(text: &str) -> Result<Self, TokenFormError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenFormError::Missing);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [fingerprint, _header, claims, _signature] = parts[..] else {
            return Err(TokenFormError::Parts(parts.len()));
        };
        let is_hex = fingerprint.chars().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || fingerprint.len() != FINGERPRINT_LENGTH {
            return Err(TokenFormError::Fingerprint);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenFormError::Claims)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenFormError::Claims)?;
        let seconds = Duration::try_from_secs_f64(claims.exp).map_err(|_| TokenFormError::Claims)?;
        let ends = UNIX_EPOCH.checked_add(seconds).ok_or(TokenFormError::Claims)?;
        Ok(Self { secret: Token::new(text), fingerprint: fingerprint.to_ascii_lowercase(), ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("{}.e30.{}.c2ln", "A".repeat(64), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when_it_is_good() {
        let read = JoinToken::parse(&format!(" {}\n", token(r#"{"exp":1300819380}"#))).expect("it is one");
        assert_eq!(read.fingerprint, "a".repeat(64));
        assert_eq!(read.ends, UNIX_EPOCH + Duration::from_secs(1_300_819_380));
        assert_eq!(read.secret.reveal(), token(r#"{"exp":1300819380}"#));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        let whole = token(r#"{"exp":1}"#);
        let jwt = whole.split_once('.').expect("four parts").1.to_owned();
        for (text, expect) in [
            (String::new(), TokenFormError::Missing),
            (jwt.clone(), TokenFormError::Parts(3)),
            (format!("{}.{jwt}", "a".repeat(63)), TokenFormError::Fingerprint),
            (format!("{}.{jwt}", "x".repeat(64)), TokenFormError::Fingerprint),
            (token("{}"), TokenFormError::Claims),
            (token(r#"{"exp":-1}"#), TokenFormError::Claims),
            (token(r#"{"exp":1e300}"#), TokenFormError::Claims),
            (format!("{}.a.%.c", "a".repeat(64)), TokenFormError::Claims),
        ] {
            let error = JoinToken::parse(&text).expect_err(&text);
            assert_eq!(error, expect, "{text}");
            assert!(text.is_empty() || !error.to_string().contains(&text), "{error}");
        }
    }
}
