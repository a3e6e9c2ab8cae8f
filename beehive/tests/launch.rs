//! A node that cannot work does not start, and says everything that is in its way.

use std::time::Duration;

use beehive::{
    BuildError, Catalog, Context, Failure, Group, Handler, LaunchError, Message, Module, ModuleConfig,
    ModuleName, Node, NodeOptions, Problems, Section, Sections, Wiring,
};
use serde::Deserialize;
use serde_json::json;

const ROOMS: Group = Group::new("rooms");
const BOILERS: Group = Group::new("boilers");

#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Heat(u32);
#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Cool;

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RoomConfig {
    target: u32,
    #[serde(with = "beehive::config::duration")]
    period: Duration,
    window: Window,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Window {
    is_open: bool,
    panes: u8,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { target: 20, period: Duration::from_secs(30), window: Window::default() }
    }
}

impl ModuleConfig for RoomConfig {
    fn validate(&self, problems: &mut Problems) {
        if self.target > 30 {
            problems.push("target", "is hotter than anyone likes");
        }
        if self.window.is_open && self.window.panes == 0 {
            problems.push("window.panes", "a window that opens has panes");
        }
    }
}

struct Room;

impl Module for Room {
    const NAME: ModuleName = ModuleName::new("room");
    const GROUP: Group = ROOMS;
    const SECTION: &'static str = "livingRoom";
    type Config = RoomConfig;
    type Ports = ();

    fn build(config: RoomConfig, (): ()) -> Result<Self, BuildError> {
        if config.period.is_zero() {
            return Err(BuildError::new("a period of nothing"));
        }
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.asks::<Heat>(BOILERS).may_ask::<Cool>(BOILERS);
    }
}

macro_rules! boiler {
    ($name:ident, $text:literal, $group:expr) => {
        struct $name;

        impl Module for $name {
            const NAME: ModuleName = ModuleName::new($text);
            const GROUP: Group = $group;
            type Config = ();
            type Ports = ();

            fn build((): (), (): ()) -> Result<Self, BuildError> {
                Ok(Self)
            }

            fn wire(wiring: &mut Wiring<Self>) {
                wiring.handles::<Heat>();
            }
        }

        impl Handler<Heat> for $name {
            async fn handle(&mut self, Heat(by): Heat, _: &mut Context<Self>) -> Result<u32, Failure> {
                Ok(by)
            }
        }
    };
}

boiler!(Gas, "gas", BOILERS);
boiler!(Oil, "oil", BOILERS);
boiler!(Fire, "fire", Group::new("gardens"));

fn catalog() -> Catalog {
    Catalog::new().with::<Gas>(()).with::<Room>(())
}

fn section(enable: bool, body: serde_json::Value) -> Section {
    Section { enable: Some(enable), body, ..Section::default() }
}

fn sections<const N: usize>(list: [(&str, Section); N]) -> Sections {
    list.into_iter().map(|(key, section)| (key.to_owned(), section)).collect()
}

async fn launch(catalog: Catalog, sections: Sections) -> Result<(), LaunchError> {
    Node::launch(catalog, sections, NodeOptions::default()).await?.stop().await;
    Ok(())
}

async fn problems(catalog: Catalog, sections: Sections) -> Vec<String> {
    let error = launch(catalog, sections).await.expect_err("something is wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_right_starts() {
    launch(catalog(), Sections::new()).await.unwrap();
    let body = json!({ "target": 21, "period": "1m30s", "window": { "isOpen": true, "panes": 2 } });
    launch(catalog(), sections([("livingRoom", section(true, body))])).await.unwrap();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn all_problems_come_at_once_each_with_its_path() {
    let body = json!({ "tarket": 1, "period": "soon", "window": { "isOpne": true, "panes": 300 } });
    let list = sections([("livingRoom", section(true, body)), ("gsa", section(true, json!({})))]);
    assert_eq!(
        problems(catalog(), list).await,
        [
            "modules.gsa: there is no such module; did you mean gas? (known: gas, livingRoom)",
            "modules.livingRoom.period: \"soon\" is no duration: write it as 30s, 500ms or 1h30m",
            "modules.livingRoom.tarket: unknown key; did you mean target?",
            "modules.livingRoom.window.isOpne: unknown key; did you mean isOpen?",
            "modules.livingRoom.window.panes: invalid value: integer `300`, expected u8",
        ]
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn validation_speaks_with_the_whole_path() {
    let body = json!({ "target": 99, "window": { "isOpen": true } });
    assert_eq!(
        problems(catalog(), sections([("livingRoom", section(true, body))])).await,
        [
            "modules.livingRoom.target: is hotter than anyone likes",
            "modules.livingRoom.window.panes: a window that opens has panes",
        ]
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_does_not_decode_does_not_hide_what_is_not_valid() {
    let body = json!({ "tarket": 1, "target": 99, "period": "soon", "window": { "isOpen": true } });
    assert_eq!(
        problems(catalog(), sections([("livingRoom", section(true, body))])).await,
        [
            "modules.livingRoom.period: \"soon\" is no duration: write it as 30s, 500ms or 1h30m",
            "modules.livingRoom.target: is hotter than anyone likes",
            "modules.livingRoom.tarket: unknown key; did you mean target?",
            "modules.livingRoom.window.panes: a window that opens has panes",
        ]
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_check_finds_what_a_launch_finds_and_builds_nothing() {
    let no_room = Section { mailbox: Some(0), ..Section::default() };
    let list = sections([
        ("livingRoom", section(true, json!({ "target": 99, "period": "0s", "window": { "panes": "two" } }))),
        ("gas", section(false, json!({ "pressure": 3 }))),
        ("oil", no_room),
        ("gsa", section(true, json!({}))),
    ]);
    let all = || catalog().with::<Oil>(()).with::<Fire>(());
    let checked: Vec<String> = all().check(&list).iter().map(ToString::to_string).collect();
    assert_eq!(
        checked,
        [
            "modules.gsa: there is no such module; did you mean gas? (known: fire, gas, livingRoom, oil)",
            "modules.livingRoom.target: is hotter than anyone likes",
            "modules.livingRoom.window.panes: invalid type: string \"two\", expected u8",
            "modules.oil.mailbox: a mailbox has room for at least one message",
        ]
    );
    assert_eq!(problems(all(), list).await, checked);
    let unbuildable = sections([("livingRoom", section(true, json!({ "period": "0s" })))]);
    assert!(catalog().check(&unbuildable).is_empty(), "only building it tells");
    assert!(catalog().check(&Sections::new()).is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_module_that_cannot_be_built_is_a_problem_at_its_section() {
    let list = sections([("livingRoom", section(true, json!({ "period": "0s" })))]);
    assert_eq!(problems(catalog(), list).await, ["modules.livingRoom: a period of nothing"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_request_that_nobody_serves_names_who_could() {
    let catalog = catalog().with::<Fire>(());
    assert_eq!(
        problems(catalog, sections([("gas", section(false, json!({})))])).await,
        ["modules.livingRoom: room asks group boilers for Heat, which nobody there serves; \
          it would be served if this were enabled: gas; it is served by fire in group gardens"]
    );
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_disabled_module_needs_nothing_and_its_section_is_not_read() {
    let list = sections([
        ("gas", section(false, json!({}))),
        ("livingRoom", section(false, json!({ "target": "nonsense" }))),
    ]);
    launch(catalog(), list).await.unwrap();
}

/// Runs only where its section says so.
struct Sauna;

impl Module for Sauna {
    const NAME: ModuleName = ModuleName::new("sauna");
    const GROUP: Group = ROOMS;
    const ENABLED: bool = false;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Err(BuildError::new("there is no wood"))
    }

    fn wire(_: &mut Wiring<Self>) {}
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_module_that_is_off_by_default_runs_where_its_section_says_so() {
    let with_sauna = || catalog().with::<Sauna>(());
    launch(with_sauna(), Sections::new()).await.unwrap();
    launch(with_sauna(), sections([("sauna", Section::default())])).await.unwrap();
    let found = problems(with_sauna(), sections([("sauna", section(true, json!({})))])).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("there is no wood"), "{found:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn two_servers_of_one_request_in_a_group_are_one_too_many() {
    let found = problems(catalog().with::<Oil>(()), Sections::new()).await;
    assert_eq!(found, ["modules: gas and oil all serve Heat in group boilers; one may"]);
    launch(catalog().with::<Oil>(()), sections([("oil", section(false, json!({})))])).await.unwrap();
    launch(catalog().with::<Fire>(()), Sections::new()).await.unwrap();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_mailbox_without_room_and_a_module_twice_are_problems() {
    let no_room = Section { mailbox: Some(0), ..Section::default() };
    let found = problems(catalog(), sections([("gas", no_room)])).await;
    assert_eq!(found, ["modules.gas.mailbox: a mailbox has room for at least one message"]);
    let found = problems(catalog().with::<Gas>(()), Sections::new()).await;
    assert!(found.contains(&"modules.gas: two modules are named gas".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_error_prints_one_problem_a_line() {
    let no_room = || Section { mailbox: Some(0), ..Section::default() };
    let error =
        launch(catalog(), sections([("gas", no_room()), ("livingRoom", no_room())])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the node cannot start, for 2 reasons:\
         \n  modules.gas.mailbox: a mailbox has room for at least one message\
         \n  modules.livingRoom.mailbox: a mailbox has room for at least one message"
    );
}

#[test]
fn a_catalog_tells_what_its_sections_take() {
    let catalog = catalog();
    let entries = catalog.entries();
    let room = entries.iter().find(|entry| entry.section == "livingRoom").unwrap();
    assert!(room.fields().reads(["window", "isOpen"]));
    assert!(room.fields().reads(["period"]));
    assert!(!room.fields().reads(["window", "curtains"]));
    assert!(!room.fields().reads(["carpet"]));
    assert_eq!(catalog.names(), [Gas::NAME, Room::NAME]);
}
