//! Which positions are not acknowledged yet: where a saved position comes from.
//!
//! In: batches when they are sealed and when they end. Out: for each channel the smallest position of its lines in any live
//! batch, and the positions of lines that have to be read again. The saved position of a channel is the smallest of this, of what
//! the decoder holds back and of its debt; nothing else moves it, so it does not matter in which order batches end.

use std::collections::HashMap;

use super::{Batch, StreamSlot};
use crate::model::{ChannelId, Position, UnitId};

/// The batches that are sealed and have not ended.
#[derive(Debug, Default)]
pub struct Ledger {
    sealed: HashMap<u64, Box<[(ChannelId, Position)]>>,
}

impl Ledger {
    /// A batch goes to the output.
    pub fn seal(&mut self, batch: &Batch) {
        let entries = batch.streams().iter().filter(|stream| stream.entries > 0);
        self.sealed.insert(batch.generation(), entries.map(|stream| (stream.channel, stream.first)).collect());
    }

    /// A batch came back. Calls `owe` with the channel of each refused stream and the smallest position of the stream's lines.
    pub fn end(&mut self, batch: &Batch, refused: &[StreamSlot], mut owe: impl FnMut(ChannelId, Position)) {
        self.sealed.remove(&batch.generation());
        for slot in refused {
            let stream = &batch.streams()[slot.index()];
            owe(stream.channel, stream.first);
        }
    }

    /// Whether a sealed batch has lines of this unit.
    pub fn holds(&self, unit: UnitId) -> bool {
        self.sealed.values().flatten().any(|(channel, _)| channel.unit == unit)
    }

    /// The smallest position of each channel that has lines in a sealed batch or in one of the `open` ones.
    pub fn unacknowledged<'a>(&self, open: impl Iterator<Item = &'a Batch>) -> HashMap<ChannelId, Position> {
        let mut smallest = HashMap::new();
        let mut note = |channel, at: Position| {
            smallest.entry(channel).and_modify(|known: &mut Position| *known = (*known).min(at)).or_insert(at);
        };
        self.sealed.values().flatten().for_each(|&(channel, at)| note(channel, at));
        let streams = open.flat_map(Batch::streams).filter(|stream| stream.entries > 0);
        streams.for_each(|stream| note(stream.channel, stream.first));
        smallest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stream;

    fn channel(unit: u32, stream: Stream) -> ChannelId {
        ChannelId { unit: UnitId(unit), stream }
    }

    fn at(offset: u64) -> Position {
        Position { turn: 1, offset }
    }

    fn batch(generation: u64, lines: &[(ChannelId, u64)]) -> Batch {
        let mut batch = Batch::new(generation);
        for &(channel, offset) in lines {
            let slot = batch.open_stream(&"{}".into(), channel);
            batch.append(slot, at(offset), 0, b"text", &[]);
        }
        batch
    }

    #[test]
    fn the_smallest_position_stands_whatever_the_order_in_which_batches_end() {
        let (out, err) = (channel(1, Stream::Stdout), channel(1, Stream::Stderr));
        let [first, second, open] =
            [batch(1, &[(out, 10), (err, 20)]), batch(2, &[(out, 30)]), batch(3, &[(out, 40), (err, 50)])];
        let mut ledger = Ledger::default();
        ledger.seal(&first);
        ledger.seal(&second);
        let smallest = |ledger: &Ledger| {
            let all = ledger.unacknowledged([&open].into_iter());
            (all[&out].offset, all[&err].offset)
        };
        assert_eq!(smallest(&ledger), (10, 20));
        ledger.end(&second, &[], |_, _| unreachable!());
        assert_eq!(smallest(&ledger), (10, 20));
        ledger.end(&first, &[], |_, _| unreachable!());
        assert_eq!(smallest(&ledger), (40, 50));
        assert!(!ledger.holds(UnitId(1)));
    }

    #[test]
    fn a_channel_owes_from_the_first_line_of_its_refused_stream_and_nothing_else_is_owed() {
        let (out, err) = (channel(1, Stream::Stdout), channel(1, Stream::Stderr));
        let batch = batch(1, &[(out, 70), (err, 20), (out, 10)]);
        let mut ledger = Ledger::default();
        ledger.seal(&batch);
        let mut owed = Vec::new();
        ledger.end(&batch, &[StreamSlot(0)], |channel, at| owed.push((channel, at.offset)));
        assert_eq!(owed, [(out, 70)]);
    }
}
