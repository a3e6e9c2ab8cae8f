//! One module asks another, which answers some questions at once and one later, from a task.

use std::time::Duration;

use beehive::{
    AskError, BuildError, Catalog, Context, Defer, Failure, Group, Handler, Message, Module, ModuleName,
    Node, NodeOptions, Responder, Sections, Wiring,
};

const LIBRARY: Group = Group::new("library");

/// Is the book on the shelf?
#[derive(Debug, Clone, Message)]
#[reply(bool)]
struct IsOnShelf(&'static str);

/// Fetches a book from the cellar. Domain errors are part of the reply: they restart nobody.
#[derive(Debug, Clone, Message)]
#[reply(Result<String, NoSuchBook>)]
struct Fetch(&'static str);

#[derive(Debug, Clone, thiserror::Error)]
#[error("there is no {0}")]
struct NoSuchBook(&'static str);

struct Librarian;

impl Module for Librarian {
    const NAME: ModuleName = ModuleName::new("librarian");
    const GROUP: Group = LIBRARY;
    type Config = ();
    type Ports = ();

    fn build((): (), (): ()) -> Result<Self, BuildError> {
        Ok(Self)
    }

    fn wire(wiring: &mut Wiring<Self>) {
        wiring.handles::<IsOnShelf>().defers::<Fetch>();
    }
}

impl Handler<IsOnShelf> for Librarian {
    async fn handle(&mut self, IsOnShelf(book): IsOnShelf, _: &mut Context<Self>) -> Result<bool, Failure> {
        Ok(book == "Walden")
    }
}

impl Defer<Fetch> for Librarian {
    async fn handle(
        &mut self,
        Fetch(book): Fetch,
        responder: Responder<Result<String, NoSuchBook>>,
        cx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        // The way to the cellar is long; the next reader is served meanwhile.
        cx.spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let found = if book == "Emma" { Ok(format!("a dusty {book}")) } else { Err(NoSuchBook(book)) };
            responder.reply(found);
        });
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> std::io::Result<()> {
    beehive::block_on(async {
        let catalog = Catalog::new().with::<Librarian>(());
        let node = match Node::launch(catalog, Sections::new(), NodeOptions::default()).await {
            Ok(node) => node,
            Err(error) => return println!("{error}"),
        };
        let bus = node.bus();
        let library = bus.to(LIBRARY);
        let second = Duration::from_secs(1);
        println!("on the shelf: {:?}", library.ask(IsOnShelf("Walden")).within(second).await);
        println!("from the cellar: {:?}", library.ask(Fetch("Emma")).within(second).await);
        match library.ask(Fetch("Ulysses")).within(second).await {
            Ok(Err(refused)) => println!("refused: {refused}"),
            other => println!("unexpected: {other:?}"),
        }
        let hasty = library.ask(Fetch("Emma")).within(Duration::from_millis(50)).await;
        if let Err(late @ AskError::TimedOut { .. }) = hasty {
            println!("too hasty: {late}");
        }
        node.stop().await;
    })
}
