//! The certificates change while the cloud runs: its own before it ends, and all when their files or secrets do.

use std::sync::Arc;
use std::time::Duration;

use beehive::Clock;
use cloudhub::CloudHubConfig;
use link_ws::LinkCertificates;
use rustls::ServerConfig;
use tokio::time::sleep;

use super::authority::{EdgeAuthority, ServerPair};
use super::refresh::Refresh;
use super::secrets::Secrets;
use super::{EnrolError, material};
use crate::certificates;
use crate::tls::{Live, server_config};

/// What edges see of the cloud, as it is at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Who signs.
    pub(crate) authority: Arc<Live<EdgeAuthority>>,
    /// TLS for those who ask for certificates.
    pub(crate) desk: Arc<Live<ServerConfig>>,
    /// TLS for the links.
    pub(crate) links: Arc<Live<ServerConfig>>,
}

impl Shown {
    pub(crate) fn new(authority: EdgeAuthority, pair: &ServerPair) -> Result<Self, EnrolError> {
        let (desk, links) = configs(&authority, pair)?;
        Ok(Self { authority: Live::new(authority), desk: Live::new(desk), links: Live::new(links) })
    }
}

fn configs(authority: &EdgeAuthority, pair: &ServerPair) -> Result<(ServerConfig, ServerConfig), EnrolError> {
    let (chain, key) = (pair.chain.clone(), pair.private_key()?);
    let desk =
        server_config::<EnrolError>(authority.believed(), chain.clone(), key.clone_key(), &[b"http/1.1"])?;
    let of_links = LinkCertificates { authorities: authority.believed().to_vec(), chain, key };
    Ok((desk, certificates::server_config(&of_links)?))
}

/// Looks for other certificates from time to time.
pub(crate) struct Reload {
    pub(crate) config: CloudHubConfig,
    pub(crate) names: Vec<String>,
    pub(crate) secrets: Secrets,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shown: Shown,
    pub(crate) pair: ServerPair,
    pub(crate) period: Duration,
}

impl Reload {
    /// Does so for as long as it is polled. What cannot be used is told once, and the present goes on.
    pub(crate) async fn run(mut self, refresh: &Refresh) {
        let mut told = String::new();
        loop {
            sleep(self.period).await;
            match self.look(refresh).await {
                Ok(()) => told.clear(),
                Err(error) => {
                    let error = node_config::Causes(&error).to_string();
                    if error != told {
                        tracing::warn!(
                            error,
                            "the certificates for edges were looked at, and the present ones stay"
                        );
                    }
                    told = error;
                }
            }
        }
    }

    async fn look(&mut self, refresh: &Refresh) -> Result<(), EnrolError> {
        let Self { config, secrets, clock, .. } = &*self;
        let present = self.shown.authority.get();
        let next = material::authority_again(config, secrets, clock, &present).await?;
        let signs = next.as_ref().unwrap_or(&present);
        let pair = material::server(config, secrets, signs, &self.names).await?;
        if next.is_none() && pair.chain == self.pair.chain && pair.key == self.pair.key {
            return Ok(());
        }
        let (desk, links) = configs(signs, &pair)?;
        self.shown.desk.replace(desk);
        self.shown.links.replace(links);
        self.pair = pair;
        let Some(next) = next else {
            tracing::info!("the cloud's certificate was replaced: the next connections see it");
            return Ok(());
        };
        let is_another = next.certificate() != present.certificate();
        self.shown.authority.replace(next);
        tracing::info!(
            is_another,
            "the authority of the edges was replaced: the next connections are checked by it"
        );
        if is_another {
            refresh.write().await.map_err(material::MaterialError::from)?;
        }
        Ok(())
    }
}
