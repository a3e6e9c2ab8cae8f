//! The shipped files and the catalog belong together.

use std::collections::BTreeMap;

use beehive::section::parse;
use node_config::{ModuleKeys, Process, load};

#[test]
fn every_shipped_file_loads_against_the_catalog_without_a_remark() {
    let process = Process::EdgeCore;
    let catalog = edgecore::inert_catalog();
    for text in [process.default_config(), process.minimal_config()] {
        let loaded = load(process, &catalog, Some(("shipped", text)), &BTreeMap::new());
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.notices.is_empty(), "{}", loaded.notices);
        let sections = loaded.node_sections();
        let body = |name: &str| sections.get(name).map(|section| section.body.clone()).unwrap_or_default();
        parse::<metamanager::MetaManagerConfig>(&body("metaManager"), "metaManager").expect("it is valid");
        parse::<edgehub::EdgeHubConfig>(&body("edgeHub"), "edgeHub").expect("it is valid");
        parse::<edged::EdgedConfig>(&body("edged"), "edged").expect("it is valid");
    }
}

#[test]
fn the_full_file_has_every_key_with_its_default() {
    let process = Process::EdgeCore;
    let catalog = edgecore::inert_catalog();
    let keys = ModuleKeys::of_catalog(&catalog);
    let loaded = load(process, &catalog, Some(("shipped", process.default_config())), &BTreeMap::new());
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
    for module in &keys {
        for field in &module.fields {
            let path = format!("modules.{}.{field}", module.section);
            assert!(loaded.get(&path).is_some(), "{path} is missing");
        }
    }
    let sections = loaded.node_sections();
    let body = |name: &str| sections.get(name).map(|section| section.body.clone()).unwrap_or_default();
    let same = |name: &str, shipped: String, default: String| assert_eq!(shipped, default, "{name}");
    let shipped = parse::<edgehub::EdgeHubConfig>(&body("edgeHub"), "").expect("it is valid");
    same("edgeHub", format!("{shipped:?}"), format!("{:?}", edgehub::EdgeHubConfig::default()));
    let shipped = parse::<edged::EdgedConfig>(&body("edged"), "").expect("it is valid");
    same("edged", format!("{shipped:?}"), format!("{:?}", edged::EdgedConfig::default()));
    let shipped = parse::<devicetwin::DeviceTwinConfig>(&body("deviceTwin"), "").expect("it is valid");
    same("deviceTwin", format!("{shipped:?}"), format!("{:?}", devicetwin::DeviceTwinConfig::default()));
    let shipped = parse::<eventbus::EventBusConfig>(&body("eventBus"), "").expect("it is valid");
    same("eventBus", format!("{shipped:?}"), format!("{:?}", eventbus::EventBusConfig::default()));
    let shipped = parse::<metamanager::MetaManagerConfig>(&body("metaManager"), "").expect("it is valid");
    same("metaManager", format!("{shipped:?}"), format!("{:?}", metamanager::MetaManagerConfig::default()));
}
