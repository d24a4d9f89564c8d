//! Questions to the reader thread, which owns the units.
//!
//! In: what the status server wants to know. Out: owned rows, or that the reader did not answer in time. Nothing is computed
//! or copied while nobody asks; a reader that is busy or ends costs the asker a timeout and nobody else anything.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    rows::{Detail, Seen, UnitState},
    tap::TapSpec,
};
use crate::model::UnitId;

/// How long an answer may take. The reader pauses for 200 ms at most and reads for some milliseconds at a time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions that may wait.
const ASKS_MAX: usize = 64;

pub enum Ask {
    /// How many units there are in each state.
    States(oneshot::Sender<BTreeMap<UnitState, u64>>),
    /// All units.
    Units(oneshot::Sender<Vec<Seen>>),
    /// One unit; no answer: there is none of this number.
    Unit(UnitId, oneshot::Sender<Option<(Seen, Detail)>>),
    /// From now on lines are to be shown.
    Tap(TapSpec),
}

impl Ask {
    /// Whether who asked has gone.
    pub fn is_abandoned(&self) -> bool {
        match self {
            Self::States(reply) => reply.is_closed(),
            Self::Units(reply) => reply.is_closed(),
            Self::Unit(_, reply) => reply.is_closed(),
            Self::Tap(_) => false,
        }
    }
}

/// The reader's end.
pub struct Asks {
    pub receiver: Receiver<Ask>,
    /// Woken after something was asked.
    pub notify: Arc<Notify>,
}

/// The status server's end.
#[derive(Clone)]
pub struct Asker {
    sender: Sender<Ask>,
    notify: Arc<Notify>,
}

/// The reader did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Both ends.
#[must_use]
pub fn channel() -> (Asker, Asks) {
    let (sender, receiver) = crossbeam_channel::bounded(ASKS_MAX);
    let notify = Arc::<Notify>::default();
    (Asker { sender, notify: Arc::clone(&notify) }, Asks { receiver, notify })
}

impl Default for Asks {
    /// One that nobody asks.
    fn default() -> Self {
        channel().1
    }
}

impl Asker {
    /// How many units there are in each state; none is left out.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn states(&self) -> Result<BTreeMap<UnitState, u64>, Busy> {
        self.answer(Ask::States).await
    }

    /// All units.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn units(&self) -> Result<Vec<Seen>, Busy> {
        self.answer(Ask::Units).await
    }

    /// One unit.
    ///
    /// # Errors
    /// The reader is busy.
    pub async fn unit(&self, id: UnitId) -> Result<Option<(Seen, Detail)>, Busy> {
        self.answer(|reply| Ask::Unit(id, reply)).await
    }

    /// Lines are to be shown.
    ///
    /// # Errors
    /// The reader is busy.
    pub fn tap(&self, spec: TapSpec) -> Result<(), Busy> {
        self.ask(Ask::Tap(spec))
    }

    fn ask(&self, ask: Ask) -> Result<(), Busy> {
        self.sender.try_send(ask).map_err(|_| Busy)?;
        self.notify.notify_one();
        Ok(())
    }

    async fn answer<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Busy> {
        let (reply, answer) = oneshot::channel();
        self.ask(ask(reply))?;
        timeout(PATIENCE, answer).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }
}
