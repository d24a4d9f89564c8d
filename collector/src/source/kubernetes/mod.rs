//! What the Kubernetes API knows about this node's pods and their paths do not say.
//!
//! In: the metadata of this node's pods, by a list and a watch ([`follow`]), read while they arrive. Out: [`PodUpdate`]s, small and in
//! order; one object is in memory at a time, and what an [`Interest`] names of it is all that is kept. Guarantees that an update follows for every pod that is there once the
//! API answers, however long it was down, and that a pod that vanished meanwhile is missing in a list. Never
//! fails: an error is reported, counted and retried. Knows no containers and no files.

mod access;
mod ask;
mod cut;
mod decode;
mod metrics;
mod pod;
mod problem;
mod selector;
mod watch;

pub use access::{Access, Impossible, Origin, Probe, list, open, probe};
pub use metrics::WatchMetrics;
pub use pod::{Interest, PodExclusion, PodMetadata};
pub use problem::Problem;
pub use selector::Selector;
pub use watch::{Listener, follow};

/// A change of this node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodUpdate {
    /// Every pod that is there follows as [`PodUpdate::Known`].
    ListBegins,
    /// A pod as it is now.
    Known(PodMetadata),
    /// The pod with this log folder was deleted.
    Gone(Box<str>),
    /// Pods that were not among those since [`PodUpdate::ListBegins`] are no more.
    ListEnds,
}
