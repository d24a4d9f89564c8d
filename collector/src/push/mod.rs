//! Sealed batches go to Loki and come back acknowledged.
//!
//! In: [`crate::batch::Batch`]es from a bounded queue, in the order in which they were sealed. Out: the same batches,
//! once Loki has acknowledged every line in them (or has refused lines for good, which are counted). Several requests
//! are in flight, but never two that hold lines of one container, so that each stream stays in order. Retries for as
//! long as it takes. Knows no files.
