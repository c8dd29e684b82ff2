//! How others speak to the engine: bounded, and with an answer to everything.

use std::time::SystemTime;

use hfd_core::{
    id::{PodUid, RequestId},
    ledger::{Denied, Ledger, NewRequest, NewReturn, Rebuilt},
    view::Ctx,
};
use tokio::sync::{mpsc, oneshot};

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;
type Question = Box<dyn FnOnce(&Ledger, Ctx<'_>) + Send>;

/// What callers want of the engine.
pub enum Command {
    /// requestMachines, understood.
    RequestMachines {
        /// What is asked for.
        new: NewRequest,
        /// From when on the caller no longer waits.
        deadline: Option<SystemTime>,
        /// Answered when durable.
        reply: Reply<RequestId>,
    },
    /// requestReturnMachines, understood.
    ReturnMachines {
        /// What is returned.
        new: NewReturn,
        /// Delete their pods without grace.
        force: bool,
        /// From when on the caller no longer waits.
        deadline: Option<SystemTime>,
        /// Answered when durable.
        reply: Reply<RequestId>,
    },
    /// These requests are being polled for the first time.
    Polled {
        /// Machine requests.
        ids: Vec<RequestId>,
        /// Answered when durable.
        reply: oneshot::Sender<()>,
    },
    /// The terminal answers of these returns are being given.
    Told {
        /// Returns.
        ids: Vec<RequestId>,
    },
    /// A question about the ledger as it is now.
    Ask(Question),
    /// Adopt what runs.
    Rebuild {
        /// Answered when it is over and durable.
        reply: Reply<Rebuilt>,
    },
    /// Accept the present namespace.
    AcceptNamespace {
        /// Answered when durable.
        reply: Reply<PodUid>,
    },
}

/// Why the engine did not do what was asked. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The rules forbid it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is nothing to do.
    #[error("{0}")]
    Refused(String),
    /// The caller's own deadline had passed before its turn came.
    #[error("the caller's time-out had passed before its turn came; nothing was done")]
    TooLate,
    /// Too many commands wait.
    #[error("too many calls wait; try again")]
    Busy,
    /// The engine has ended.
    #[error("hfd is stopping; try again")]
    Stopping,
}

/// A bounded way to the engine.
#[derive(Clone)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
}

impl EngineHandle {
    /// A handle, and what the engine receives from it; `depth` commands may wait.
    #[must_use]
    pub fn new(depth: usize) -> (Self, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(depth);
        (Self { commands }, received)
    }

    /// Asks for machines.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn request_machines(&self, new: NewRequest, deadline: Option<SystemTime>) -> Result<RequestId, Refusal> {
        self.call(|reply| Command::RequestMachines { new, deadline, reply }).await
    }

    /// Returns machines.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn return_machines(&self, new: NewReturn, deadline: Option<SystemTime>) -> Result<RequestId, Refusal> {
        self.call(|reply| Command::ReturnMachines { new, force: false, deadline, reply }).await
    }

    /// Returns machines and has their pods deleted without grace.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn force_return(&self, new: NewReturn) -> Result<RequestId, Refusal> {
        self.call(|reply| Command::ReturnMachines { new, force: true, deadline: None, reply }).await
    }

    /// Marks requests as polled; returns when that is durable.
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Stopping`].
    pub async fn polled(&self, ids: Vec<RequestId>) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Polled { ids, reply })?;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Marks terminal answers as given. A lost mark is made again by the next answer.
    pub fn told(&self, ids: Vec<RequestId>) {
        // Busy or stopping: the next answer of the same return marks it.
        let _unmarked = self.send(Command::Told { ids });
    }

    /// Asks about the ledger.
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Stopping`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Ledger, Ctx<'_>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Ask(Box::new(move |ledger, ctx| drop(reply.send(question(ledger, ctx))))))?;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Adopts what runs; returns when it is over.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn rebuild(&self) -> Result<Rebuilt, Refusal> {
        self.call(|reply| Command::Rebuild { reply }).await
    }

    /// Accepts the present namespace as the journal's.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn accept_namespace(&self) -> Result<PodUid, Refusal> {
        self.call(|reply| Command::AcceptNamespace { reply }).await
    }

    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| Refusal::Stopping)?
    }

    fn send(&self, command: Command) -> Result<(), Refusal> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::Stopping,
        })
    }
}
