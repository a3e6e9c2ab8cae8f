//! A socket that leads to another until it is cut: a runtime that goes away and comes back.

use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    path: PathBuf,
    target: PathBuf,
    running: JoinSet<()>,
}

impl Proxy {
    pub(crate) fn new(path: PathBuf, target: PathBuf) -> Self {
        Self { path, target, running: JoinSet::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to listen.
    pub(crate) fn open(&mut self) {
        let listener = UnixListener::bind(&self.path).expect("the socket's directory is ours");
        let target = self.target.clone();
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = UnixStream::connect(&target).await.expect("the runtime listens");
                connections.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
    }

    /// Closes the socket and every connection.
    pub(crate) async fn cut(&mut self) {
        self.running.shutdown().await;
        std::fs::remove_file(&self.path).expect("the socket is ours");
    }
}
