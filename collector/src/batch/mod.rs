//! Parsed lines become Loki's wire format.
//!
//! In: a line's timestamp, text and the labels of its stream. Out: a [`Batch`], whose entries are already protobuf
//! bytes, with the smallest position of each channel in it, and the [`Ledger`] of all batches not yet ended. Each line is copied
//! once, from the read buffer into the batch. Knows no file and no HTTP.
//!
//! Batches are recycled: the acknowledgement carries the batch back to the reader, which clears and fills it again.
//! So the number of batches that exist bounds the memory between reader and acknowledgement.

mod entries;
mod entry;
mod labels;
mod lanes;
mod ledger;
mod logproto;
mod part;
mod request;
#[cfg(test)]
mod tests;
mod wire;

pub use entries::BatchEntry;
pub use labels::{append_structured_metadata, label_set, structured_metadata, write_label_set};
pub use lanes::{BatchBudget, Lane, Lanes};
pub use ledger::Ledger;
pub use logproto::{EntryAdapter, LabelPairAdapter, PushRequest, StreamAdapter, Timestamp};
pub use part::Part;
pub use request::{RequestEncoder, encode_single_stream};
pub use wire::{Batch, BatchStream, StreamSlot, stream_hash};

use crate::model::ChannelId;

/// What the reader hands to the output, in order.
#[derive(Debug)]
pub enum ToOutput {
    /// Lines to be sent.
    Batch(Batch),
    /// The channel was rewound to its first refused line: batches from here on hold its lines in order again.
    Unparked(ChannelId),
}

/// What the output hands back.
#[derive(Debug)]
pub enum FromOutput {
    /// Every line of the batch is acknowledged, or refused for good and counted, but for the streams in `refused`: their
    /// channels are parked, and their lines have to be read again.
    Done {
        /// The batch, to be used again.
        batch: Batch,
        /// Streams of which not every line was taken.
        refused: Vec<StreamSlot>,
    },
    /// Loki takes the lines of a parked channel again. Until [`ToOutput::Unparked`] its lines are refused.
    Taken(ChannelId),
}
