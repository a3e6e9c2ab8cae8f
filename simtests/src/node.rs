//! One simulated process: a `LocalSet` of its own, which a crash drops as it is.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use beehive::Bus;
use tokio::task::{JoinHandle, LocalSet};

use crate::world::World;

/// What a process shows to the outside while it runs.
#[derive(Default, Clone)]
pub(crate) struct Window {
    bus: Rc<RefCell<Option<Bus>>>,
}

impl Window {
    /// Says that the modules have started, or that they are gone.
    pub(crate) fn show(&self, bus: Option<Bus>) {
        *self.bus.borrow_mut() = bus;
    }

    pub(crate) fn bus(&self) -> Option<Bus> {
        self.bus.borrow().clone()
    }
}

/// A process that runs.
pub(crate) struct Process {
    name: Arc<str>,
    world: Arc<World>,
    tasks: Rc<RefCell<Option<LocalSet>>>,
    driver: JoinHandle<()>,
    window: Window,
}

/// Polls a process's tasks for as long as it lives.
struct Driver {
    name: Arc<str>,
    world: Arc<World>,
    tasks: Rc<RefCell<Option<LocalSet>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut tasks = self.tasks.borrow_mut();
        let Some(tasks) = tasks.as_mut() else { return Poll::Ready(()) };
        self.world.as_node(&self.name, || Pin::new(tasks).poll(cx))
    }
}

impl Process {
    /// Starts a process whose main function is `main`. It must be called where local tasks run.
    pub(crate) fn start(
        name: &Arc<str>,
        world: &Arc<World>,
        main: impl FnOnce(Window) -> Pin<Box<dyn Future<Output = ()>>>,
    ) -> Self {
        let window = Window::default();
        let tasks = LocalSet::new();
        tasks.spawn_local(main(window.clone()));
        let tasks = Rc::new(RefCell::new(Some(tasks)));
        let driver = Driver { name: name.clone(), world: world.clone(), tasks: tasks.clone() };
        #[expect(clippy::disallowed_methods, reason = "the simulator is what runs nodes")]
        let driver = tokio::task::spawn_local(driver);
        Self { name: name.clone(), world: world.clone(), tasks, driver, window }
    }

    /// Returns the node's bus, once its modules have started.
    pub(crate) fn bus(&self) -> Option<Bus> {
        self.window.bus()
    }
}

/// A process that is dropped ends as a crash ends it: nothing is told, nothing is flushed.
impl Drop for Process {
    fn drop(&mut self) {
        self.window.show(None);
        let tasks = self.tasks.borrow_mut().take();
        self.world.as_node(&self.name, || drop(tasks));
        self.driver.abort();
    }
}
