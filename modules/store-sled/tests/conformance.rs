//! The suite of the store port.

use std::sync::Arc;

use store_sled::SledStore;

#[tokio::test]
async fn the_sled_store_conforms() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("deep/store");
    store::conformance::run(|| Arc::new(SledStore::open(&path).expect("the directory is sound"))).await;
}
