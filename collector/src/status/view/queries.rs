//! Queries to the reader thread, which owns the units.
//!
//! In: what the status server wants to know. Out: owned rows, or that the reader did not answer in time. Nothing is computed
//! or copied while nobody asks; a reader that is busy or ends costs whoever asks a timeout and nobody else anything.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    rows::{Detail, Seen, States},
    tap::TapSpec,
};
use crate::model::UnitId;

/// How long an answer may take. The reader pauses for 200 ms at most and reads for some milliseconds at a time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Queries that may wait.
const QUERIES_MAX: usize = 64;

pub enum Query {
    /// All units together.
    States(oneshot::Sender<States>),
    /// All units.
    Units(oneshot::Sender<Vec<Seen>>),
    /// One unit; no answer: there is none of this number.
    Unit(UnitId, oneshot::Sender<Option<(Seen, Detail)>>),
    /// From now on lines are to be shown; the answer: whether the unit that it names is there.
    Tap(TapSpec, oneshot::Sender<bool>),
}

impl Query {
    /// Whether who asked has gone.
    pub fn is_abandoned(&self) -> bool {
        match self {
            Self::States(reply) => reply.is_closed(),
            Self::Units(reply) => reply.is_closed(),
            Self::Unit(_, reply) => reply.is_closed(),
            Self::Tap(_, reply) => reply.is_closed(),
        }
    }
}

pub struct QueryReceiver {
    pub receiver: Receiver<Query>,
    /// Woken after something was asked.
    pub notify: Arc<Notify>,
}

#[derive(Clone)]
pub struct QuerySender {
    sender: Sender<Query>,
    notify: Arc<Notify>,
}

/// The reader did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

#[must_use]
pub fn channel() -> (QuerySender, QueryReceiver) {
    let (sender, receiver) = crossbeam_channel::bounded(QUERIES_MAX);
    let notify = Arc::<Notify>::default();
    (QuerySender { sender, notify: Arc::clone(&notify) }, QueryReceiver { receiver, notify })
}

impl Default for QueryReceiver {
    /// One that nobody asks.
    fn default() -> Self {
        channel().1
    }
}

impl QuerySender {
    /// All units together.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn states(&self) -> Result<States, Busy> {
        self.answer(Query::States).await
    }

    /// All units.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn units(&self) -> Result<Vec<Seen>, Busy> {
        self.answer(Query::Units).await
    }

    /// One unit.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn unit(&self, id: UnitId) -> Result<Option<(Seen, Detail)>, Busy> {
        self.answer(|reply| Query::Unit(id, reply)).await
    }

    /// Lines are to be shown; `false`: the unit that `spec` names is not there.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn tap(&self, spec: TapSpec) -> Result<bool, Busy> {
        self.answer(|reply| Query::Tap(spec, reply)).await
    }

    async fn answer<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(query(reply)).map_err(|_| Busy)?;
        self.notify.notify_one();
        timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }
}
