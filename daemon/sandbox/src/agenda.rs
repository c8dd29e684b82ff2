//! What the simulation will do and when: a queue ordered by time, then by when it was entered.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::Request;
use crate::kubelet::Turn;

/// Something that happens later.
#[derive(Debug)]
pub(crate) enum Task {
    /// The scheduler looks at all pods that wait for a node.
    Schedule,
    /// The kubelet takes its next step with one pod.
    Kubelet(Turn),
    /// The taint manager deletes the pods of a node that is not ready.
    EvictPods { node: String },
    /// The pod garbage collector removes the pods of a node that no longer exists.
    CollectPods { node: String },
    /// A request whose connection was dropped takes effect now.
    Late(Box<Request>),
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    tasks: BTreeMap<(Instant, u64), Task>,
    entered: u64,
}

impl Agenda {
    /// Enters a task that is due in `delay`.
    pub(crate) fn enter(&mut self, delay: Duration, task: Task) {
        self.entered += 1;
        self.tasks.insert((Instant::now() + delay, self.entered), task);
    }

    /// When the next task is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.tasks.keys().next().map(|(due, _)| *due)
    }

    /// Takes the next task if it is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Task> {
        let entry = self.tasks.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
