//! What happens to lines between being read and being sent: labels once per stream ([`relabel`]), stages once per line.
//!
//! In: a list of stages as Promtail has them ([`crate::config::StageConfig`]) and entries in the order in which they were
//! written. Out: the entries that leave, in the same order, and what happened to each. Guarantees: the meaning of Promtail's
//! stages but for what docs/pipeline.md lists; no allocation per line once the buffers have grown; one thread; no clock of its
//! own. What it holds back is bounded and tells its first position ([`State::held_from`]). Must not know files, batches or Loki.
//!
//! A new stage is one file in `stages/` and one line in [`stages`]'s list.

pub mod analysis;
mod annotations;
mod bucket;
mod budgets;
pub mod compile;
mod dedupe;
pub mod entry;
pub mod extracted;
mod further;
pub mod go;
pub mod level;
pub mod levels;
pub mod line_counts;
pub mod pattern;
pub mod relabel;
mod run;
mod same_text;
mod selector;
mod sent;
pub mod stage;
pub mod stages;
mod template;
mod unchanged;

#[cfg(test)]
mod tests;

pub use annotations::{Annotated, Asked, VALUE_BYTES_MAX as ANNOTATION_BYTES_MAX, Wanted};
pub use budgets::{Action, Budget};
pub use compile::{CompileError, Limits, Pipeline};
pub use entry::{Entry, Pairs, Position, TENANT_LABEL};
pub use extracted::{Extracted, Slot, Value};
pub use level::Level;
pub use line_counts::{LevelCounts, LineCounts};
pub use run::{Outcome, Verdict, Watch};
pub use selector::{Possible, Selector, imply};
pub use sent::{is_taken, sent};
pub use stage::{Note, Origin, State, Step, Which};
pub use stages::metrics::{Custom, Sample};
