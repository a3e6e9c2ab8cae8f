//! A module that panics: it is rebuilt, its mailbox waits, and when nothing helps the node says so.

use std::time::Duration;

use beehive::{
    Backoff, BuildError, Catalog, Context, Failure, Group, Handler, Message, Module, ModuleName, Node,
    NodeOptions, RestartPolicy, Section, Sections, Wiring,
};

const DIVISION: Group = Group::new("division");

#[derive(Debug, Clone, Message)]
#[reply(u32)]
struct Divide {
    what: u32,
    by: u32,
}

/// Counts what it did; a fresh value begins at zero.
struct Divider {
    divisions: u32,
}

impl Module for Divider {
    const NAME: ModuleName = ModuleName::new("divider");
    const GROUP: Group = DIVISION;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self { divisions: 0 })
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<Divide>();
    }
}

impl Handler<Divide> for Divider {
    async fn handle(&mut self, Divide { what, by }: Divide, _: &mut Context<Self>) -> Result<u32, Failure> {
        self.divisions += 1;
        // Panics if `by` is zero: a bug of this module, which the others do not feel.
        Ok(what / by)
    }
}

fn sections() -> Sections {
    let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };
    let restart = RestartPolicy { backoff, give_up_after: 3, ..RestartPolicy::default() };
    Sections::from([("divider".to_owned(), Section { restart: Some(restart), ..Section::default() })])
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> std::io::Result<()> {
    beehive::block_on(async {
        let catalog = Catalog::new().with::<Divider>(());
        let node = match Node::launch(catalog, sections(), NodeOptions::default()).await {
            Ok(node) => node,
            Err(error) => return println!("{error}"),
        };
        let bus = node.bus();
        let ask = |what, by| bus.to(DIVISION).ask(Divide { what, by }).within(Duration::from_secs(2));
        println!("12 / 3 = {:?}", ask(12, 3).await);
        println!("12 / 0 = {:?}", ask(12, 0).await);
        println!("asked while it is rebuilt, answered after: 12 / 4 = {:?}", ask(12, 4).await);
        for module in node.health().modules {
            println!("{} restarted {} times: {:?}", module.name, module.restarts, module.last_failure);
        }
        while ask(12, 0).await.is_err_and(|error| !matches!(error, beehive::AskError::Stopped { .. })) {}
        println!("the node is to be stopped: {}", node.failed().await);
        node.stop().await;
    })
}
