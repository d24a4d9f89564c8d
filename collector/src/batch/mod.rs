//! Parsed lines become Loki's wire format.
//!
//! In: a line's timestamp, text and the labels of its stream. Out: a [`Batch`], whose entries are already protobuf
//! bytes, with the [`Progress`] that its acknowledgement stands for. Each line is copied once, from the read buffer into
//! the batch. Knows no file, no HTTP: what a container id means is the reader side's business, and compression and
//! sending are `push`'s.
//!
//! Batches are recycled: the acknowledgement carries the batch back to the reader side, which clears and fills it again.
//! So the number of batches that exist bounds the memory between reader and acknowledgement.

mod entry;
mod labels;
mod logproto;
mod request;
#[cfg(test)]
mod tests;
mod wire;

pub use labels::{label_set, structured_metadata};
pub use logproto::{EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter, Timestamp};
pub use request::RequestEncoder;
pub use wire::{Batch, EntryRange, Progress, StreamSlot};
