//! The shipped files and the catalog belong together.

use std::collections::BTreeMap;

use beehive::section::parse;
use node_config::{ModuleKeys, Process, load};

#[tokio::test]
async fn every_shipped_file_loads_against_the_catalog_and_the_full_one_has_every_key() {
    let process = Process::CloudCore;
    let catalog = cloudcore::inert_catalog().await.expect("a server in memory opens");
    let keys = ModuleKeys::of_catalog(&catalog);
    for text in [process.minimal_config(), process.default_config()] {
        let loaded = load(process, &catalog, Some(("shipped", text)), &BTreeMap::new());
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.notices.is_empty(), "{}", loaded.notices);
        let sections = loaded.node_sections();
        if text == process.default_config() {
            let body =
                |name: &str| sections.get(name).map(|section| section.body.clone()).unwrap_or_default();
            let hub = parse::<cloudhub::CloudHubConfig>(&body("cloudHub"), "").expect("it is valid");
            assert_eq!(hub, cloudhub::CloudHubConfig::default());
            let api = parse::<apiserver::ApiServerConfig>(&body("apiServer"), "").expect("it is valid");
            assert_eq!(api, apiserver::ApiServerConfig::default());
            let controller = parse::<edgecontroller::EdgeControllerConfig>(&body("edgeController"), "");
            assert_eq!(controller, Ok(edgecontroller::EdgeControllerConfig::default()));
            let scheduler = parse::<scheduler::SchedulerConfig>(&body("scheduler"), "");
            assert_eq!(scheduler, Ok(scheduler::SchedulerConfig::default()));
            let lifecycle = parse::<scheduler::NodeLifecycleConfig>(&body("nodeLifecycle"), "");
            assert_eq!(lifecycle, Ok(scheduler::NodeLifecycleConfig::default()));
            let sync = parse::<synccontroller::SyncControllerConfig>(&body("syncController"), "");
            assert_eq!(sync, Ok(synccontroller::SyncControllerConfig::default()));
            let devices = parse::<devicecontroller::DeviceControllerConfig>(&body("deviceController"), "");
            assert_eq!(devices, Ok(devicecontroller::DeviceControllerConfig::default()));
            for module in &keys {
                for field in &module.fields {
                    let path = format!("modules.{}.{field}", module.section);
                    assert!(loaded.get(&path).is_some(), "{path} is missing");
                }
            }
        }
    }
}
