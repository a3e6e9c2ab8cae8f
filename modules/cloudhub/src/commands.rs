//! What a node is told for the rules, and what it answers; shared between the hub, which adds, and the
//! session's task, which sends. Both run on the hub's thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use beehive::{Context, Defer, Failure, Responder};
use protocol::rules::{CommandError, CommandNode, CommandReply, NodeCommand};
use tokio::sync::Notify;
use wire::MessageId;

use crate::CloudHub;

/// Commands of one node that are not answered, and their bytes.
const UNANSWERED_MAX: usize = 64;
const BYTES_MAX: usize = 32 << 20;

/// Where an answer goes.
type Answerer = Responder<Result<CommandReply, CommandError>>;

/// A command that waits to be sent. Those into which one was split share its responder: the last has it.
#[derive(Debug)]
pub(crate) struct Commanded {
    pub(crate) command: NodeCommand,
    pub(crate) asker: Option<Asker>,
}

/// Who waits for an answer, and how much that holds.
pub(crate) struct Asker {
    responder: Answerer,
    bytes: usize,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Commanded>,
    sent: BTreeMap<MessageId, Asker>,
    unanswered: usize,
    bytes: usize,
    is_over: bool,
}

/// The commands of one session. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands(Rc<(RefCell<State>, Notify)>);

impl Commands {
    /// Adds a command, or tells who asked why not.
    fn push(&self, command: NodeCommand, responder: Answerer) {
        let mut state = self.0.0.borrow_mut();
        let bytes = command.bytes();
        if state.is_over {
            return responder.reply(Err(CommandError::NotConnected));
        }
        if !state.has_room(bytes) {
            state.sweep();
        }
        if !state.has_room(bytes) {
            return responder.reply(Err(CommandError::Overloaded));
        }
        state.unanswered += 1;
        state.bytes += bytes;
        state.waiting.push_back(Commanded { command, asker: Some(Asker { responder, bytes }) });
        drop(state);
        self.0.1.notify_one();
    }

    /// Waits until something was added since the last wait.
    pub(crate) async fn filled(&self) {
        self.0.1.notified().await;
    }

    /// Returns the oldest command, if it is one that may be sent. Those that nobody waits for are dropped.
    pub(crate) fn next(&self, may_send: impl Fn(&NodeCommand) -> bool) -> Option<Commanded> {
        let mut state = self.0.0.borrow_mut();
        loop {
            let first = state.waiting.pop_front_if(|first| {
                let is_left = first.asker.as_ref().is_some_and(|asker| asker.responder.is_closed());
                is_left || may_send(&first.command)
            })?;
            match first.asker {
                Some(asker) if asker.responder.is_closed() => state.free(asker.bytes),
                asker => return Some(Commanded { asker, ..first }),
            }
        }
    }

    /// Puts the parts of a command in its place; the last answers for all.
    pub(crate) fn split(&self, asker: Option<Asker>, parts: Vec<NodeCommand>) {
        let mut asker = asker;
        if parts.is_empty() {
            return self.answer_to(asker, CommandReply::Done);
        }
        let mut state = self.0.0.borrow_mut();
        for command in parts.into_iter().rev() {
            state.waiting.push_front(Commanded { command, asker: asker.take() });
        }
    }

    /// Notes that a command was sent and will be answered.
    pub(crate) fn sent(&self, id: MessageId, asker: Option<Asker>) {
        if let Some(asker) = asker {
            self.0.0.borrow_mut().sent.insert(id, asker);
        }
    }

    /// Takes a node's answer. Tells whether anybody waits for it.
    pub(crate) fn answer(&self, id: &MessageId, reply: CommandReply) -> bool {
        let Some(asker) = self.0.0.borrow_mut().sent.remove(id) else { return false };
        self.answer_to(Some(asker), reply);
        true
    }

    /// Answers for the node.
    pub(crate) fn answer_to(&self, asker: Option<Asker>, reply: CommandReply) {
        self.settle(asker, Ok(reply));
    }

    /// Says that the node does not know this.
    pub(crate) fn refuse(&self, asker: Option<Asker>) {
        self.settle(asker, Err(CommandError::Unsupported));
    }

    fn settle(&self, asker: Option<Asker>, reply: Result<CommandReply, CommandError>) {
        if let Some(Asker { responder, bytes }) = asker {
            self.0.0.borrow_mut().free(bytes);
            responder.reply(reply);
        }
    }

    /// Forgets those who wait no longer.
    pub(crate) fn sweep(&self) {
        self.0.0.borrow_mut().sweep();
    }

    /// Ends: what was sent may have been done, what was not was not.
    pub(crate) fn end(&self) {
        let State { waiting, sent, .. } = self.0.0.replace(State { is_over: true, ..State::default() });
        for asker in waiting.into_iter().filter_map(|commanded| commanded.asker) {
            asker.responder.reply(Err(CommandError::NotConnected));
        }
        for asker in sent.into_values() {
            asker.responder.reply(Err(CommandError::Lost));
        }
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        self.unanswered < UNANSWERED_MAX && self.bytes + bytes <= BYTES_MAX
    }

    fn sweep(&mut self) {
        let is_left = |asker: &Asker| asker.responder.is_closed();
        let left = self.sent.iter().filter(|(_, asker)| is_left(asker));
        let left: Vec<MessageId> = left.map(|(id, _)| id.clone()).collect();
        for asker in left.iter().filter_map(|id| self.sent.remove(id)).collect::<Vec<_>>() {
            self.free(asker.bytes);
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (gone, kept): (Vec<_>, Vec<_>) =
            waiting.partition(|waiting| waiting.asker.as_ref().is_some_and(is_left));
        self.waiting = kept.into();
        for asker in gone.into_iter().filter_map(|waiting| waiting.asker) {
            self.free(asker.bytes);
        }
    }

    fn free(&mut self, bytes: usize) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Defer<CommandNode> for CloudHub {
    async fn handle(
        &mut self,
        CommandNode { node, command }: CommandNode,
        responder: Answerer,
        _: &mut Context<Self>,
    ) -> Result<(), Failure> {
        match self.sessions.commands(&node) {
            Some(commands) => commands.push(command, responder),
            None => responder.reply(Err(CommandError::NotConnected)),
        }
        Ok(())
    }
}
