//! The join token is made anew in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::authority::EdgeAuthority;
use super::secrets::{SecretError, Secrets, Values};
use super::token;
use crate::tls::Live;

const TOKEN_SECRET: &str = "tokensecret";
const TOKEN_KEY: &str = "tokendata";
/// The pause after the token could not be written.
const TOKEN_RETRY: Duration = Duration::from_secs(60);

/// Makes the join token anew in time.
pub(crate) struct Refresh {
    pub(crate) authority: Arc<Live<EdgeAuthority>>,
    pub(crate) secrets: Secrets,
    pub(crate) period: Duration,
}

impl Refresh {
    pub(crate) async fn write(&self) -> Result<(), SecretError> {
        let authority = self.authority.get();
        let ends = authority.now() + self.period * 2;
        let token = token::make(authority.certificate(), authority.key(), ends);
        let values = Values::from([(TOKEN_KEY.to_owned(), token.into_bytes())]);
        self.secrets.write(TOKEN_SECRET, &values).await
    }

    /// Does so for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut pause = self.period;
        loop {
            sleep(pause).await;
            pause = match self.write().await {
                Ok(()) => self.period,
                Err(error) => {
                    tracing::warn!(%error, "the join token could not be made anew");
                    TOKEN_RETRY
                }
            };
        }
    }
}
