//! How far one file is read, and how far each channel of it may be saved.
//!
//! In: the cursor's moves, and each channel's first position that is not acknowledged. Out: the offsets to save and to go on
//! at. This is the one place that turns a [`Position`] into an offset of a file.

use crate::model::{Offsets, Position, Stream};

/// The cursor's way through one file.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The next byte to parse, of the decompressed file.
    parsed: u64,
    /// The end of the file as it was last read; more than `parsed` while its last record is not whole.
    seen: u64,
    /// Records of a channel before its offset are passed over: they were acknowledged before the cursor came back.
    from: Offsets,
    /// Turns in which the cursor was here, ascending, and where each began.
    visits: Vec<(u64, u64)>,
    end: End,
}

/// Whether more is expected of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// It was read to its end, and nothing will be appended.
    Reached,
    /// What was unread or not acknowledged is lost, and was counted.
    GivenUp,
}

impl Progress {
    /// Of a file that is read from `offset` on.
    pub fn from_offset(offset: u64) -> Self {
        Self::from_saved([offset; 2], false)
    }

    /// Of a file that an earlier run saved.
    pub fn from_saved(from: Offsets, finished: bool) -> Self {
        let parsed = from[0].min(from[1]);
        let end = if finished { End::Reached } else { End::Open };
        Self { parsed, seen: parsed, from, visits: Vec::new(), end }
    }

    /// The next byte to parse.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }

    /// The end of the file as it was last read.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The first byte of a channel that is not passed over.
    pub fn from(&self, stream: Stream) -> u64 {
        self.from[stream as usize]
    }

    /// Whether nothing more is expected.
    pub fn has_ended(&self) -> bool {
        self.end != End::Open
    }

    /// The cursor enters the file.
    pub fn enter(&mut self, turn: u64) {
        // A stay in which nothing was read has no positions.
        self.visits.retain(|(_, from)| *from < self.parsed);
        self.visits.push((turn, self.parsed));
    }

    /// The bytes before `parsed` are parsed; the file was seen to reach to `seen`.
    pub fn advance(&mut self, parsed: u64, seen: u64) {
        self.parsed = parsed;
        self.seen = seen.max(parsed);
    }

    /// Nothing more is expected of it.
    pub fn reach_end(&mut self) {
        if self.end == End::Open {
            self.end = End::Reached;
        }
    }

    /// More was found in it after all.
    pub fn reopen(&mut self) {
        self.end = End::Open;
    }

    /// What is not acknowledged is lost.
    pub fn give_up(&mut self) {
        self.end = End::GivenUp;
    }

    /// The offset before which all of a channel is acknowledged. `next`: the channel's first position that is not; `None`: all
    /// that was parsed is.
    pub fn saved(&self, stream: Stream, next: Option<Position>) -> u64 {
        let passed = match next {
            _ if self.end == End::GivenUp => self.seen,
            None => self.parsed,
            Some(next) => match self.visits.iter().find(|(turn, _)| *turn >= next.turn) {
                Some(&(turn, _)) if turn == next.turn => next.offset,
                Some(&(_, from)) => from,
                None => self.parsed,
            },
        };
        passed.max(self.from(stream))
    }

    /// As [`Self::saved`] for both channels.
    pub fn saved_offsets(&self, next: [Option<Position>; 2]) -> Offsets {
        Stream::ALL.map(|stream| self.saved(stream, next[stream as usize]))
    }

    /// Whether it has ended and every channel is acknowledged to its end.
    pub fn is_saved_to_its_end(&self, next: [Option<Position>; 2]) -> bool {
        self.has_ended() && self.saved_offsets(next).iter().all(|&saved| saved >= self.parsed)
    }

    /// The cursor goes back to the first byte of any channel that is not acknowledged; each channel passes over what it has.
    /// Positions of before mean nothing from here on. Returns whether there is something to read again.
    pub fn rewind(&mut self, next: [Option<Position>; 2]) -> bool {
        if self.end == End::GivenUp {
            self.visits.clear();
            return false;
        }
        let before = self.parsed;
        self.from = self.saved_offsets(next);
        self.parsed = self.from[0].min(self.from[1]).min(before);
        self.visits.clear();
        let goes_back = self.parsed < before;
        if goes_back {
            self.end = End::Open;
        }
        goes_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Stream = Stream::Stdout;

    fn at(turn: u64, offset: u64) -> Option<Position> {
        Some(Position { turn, offset })
    }

    fn read(visits: &[(u64, u64)]) -> Progress {
        let mut progress = Progress::from_offset(0);
        for &(turn, parsed) in visits {
            progress.enter(turn);
            progress.advance(parsed, parsed);
        }
        progress
    }

    #[test]
    fn what_comes_after_the_first_unacknowledged_position_is_not_saved() {
        let file = read(&[(3, 100)]);
        assert_eq!(file.saved(OUT, None), 100);
        assert_eq!(file.saved(OUT, at(3, 40)), 40);
        assert_eq!(file.saved(OUT, at(2, 999)), 0, "an earlier file is not acknowledged");
        assert_eq!(file.saved(OUT, at(4, 0)), 100, "a later file is not acknowledged");
    }

    #[test]
    fn a_file_that_the_cursor_came_back_to_is_saved_up_to_the_return_while_what_was_read_between_is_not() {
        let file = read(&[(3, 100), (5, 150)]);
        assert_eq!(file.saved(OUT, at(4, 7)), 100);
        assert_eq!(file.saved(OUT, at(5, 120)), 120);
        assert_eq!(file.saved(OUT, at(3, 20)), 20);
    }

    #[test]
    fn a_rewind_goes_back_for_the_channel_that_is_behind_and_the_other_one_passes_over_what_it_has() {
        let mut file = read(&[(3, 100)]);
        file.reach_end();
        assert!(file.rewind([None, at(3, 40)]));
        assert_eq!((file.parsed(), file.from(Stream::Stdout), file.from(Stream::Stderr)), (40, 100, 40));
        assert!(!file.has_ended());
        file.enter(9);
        assert_eq!(file.saved(OUT, None), 100, "also before the cursor is there again");
        assert_eq!(file.saved(OUT, at(9, 100)), 100);
        assert_eq!(file.saved(Stream::Stderr, at(0, 0)), 40, "a channel that stays parked keeps its place");
    }

    #[test]
    fn what_is_given_up_is_saved_to_its_end_and_not_read_again() {
        let mut file = read(&[(3, 100)]);
        file.advance(60, 100);
        file.give_up();
        assert_eq!(file.saved(OUT, at(3, 20)), 100);
        assert!(!file.rewind([at(3, 20); 2]) && file.is_saved_to_its_end([at(3, 20); 2]));
    }
}
