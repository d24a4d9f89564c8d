//! Which channels of a unit are parked because Loki refuses their lines, and what they owe.
//!
//! In: refusals and releases of the output. Out: which records are passed over, and from where lines must be read again once
//! Loki takes them.

use crate::model::{Position, Stream};

/// The channels of one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels([State; 2]);

/// What becomes of a channel's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// They are read and sent.
    #[default]
    Flowing,
    /// They are passed over: Loki refused its lines from this position on.
    Parked(Position),
    /// Loki takes them again; they are read again from this position as soon as no line of the unit is in flight.
    Taken(Position),
}

impl Channels {
    /// Loki refused lines of a channel, the first of which is at `first`.
    pub fn refuse(&mut self, stream: Stream, first: Position) {
        let state = &mut self.0[stream as usize];
        *state = match *state {
            State::Flowing => State::Parked(first),
            State::Parked(debt) => State::Parked(debt.min(first)),
            State::Taken(debt) => State::Taken(debt.min(first)),
        };
    }

    /// Loki takes the channel's lines again.
    pub fn release(&mut self, stream: Stream) {
        let state = &mut self.0[stream as usize];
        *state = match *state {
            // The batch with its refused lines is still to come back.
            State::Flowing => State::Taken(Position::END),
            State::Parked(debt) | State::Taken(debt) => State::Taken(debt),
        };
    }

    /// The first position of lines that have to be read again.
    pub fn debt(&self, stream: Stream) -> Option<Position> {
        match self.0[stream as usize] {
            State::Flowing => None,
            State::Parked(debt) | State::Taken(debt) => Some(debt).filter(|debt| *debt < Position::END),
        }
    }

    /// Whether the channel's records are passed over.
    pub fn is_passed_over(&self, stream: Stream) -> bool {
        self.0[stream as usize] != State::Flowing
    }

    /// Whether the cursor has to go back for a channel.
    pub fn wants_rewind(&self) -> bool {
        self.0.iter().any(|state| matches!(state, State::Taken(_)))
    }

    /// The cursor went back. Returns the channels whose lines are sent again from here on.
    pub fn rewound(&mut self) -> impl Iterator<Item = Stream> {
        let before = self.0;
        for state in &mut self.0 {
            *state = match *state {
                State::Flowing | State::Taken(_) => State::Flowing,
                // Its files know from where it is behind; see `Progress::saved`.
                State::Parked(_) => State::Parked(Position::START),
            };
        }
        Stream::ALL.into_iter().filter(move |stream| matches!(before[*stream as usize], State::Taken(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_overtakes_the_refused_batch_still_goes_back_for_its_lines() {
        let at = |offset| Position { turn: 1, offset };
        let mut channels = Channels::default();
        channels.release(Stream::Stderr);
        assert_eq!(channels.debt(Stream::Stderr), None);
        channels.refuse(Stream::Stderr, at(50));
        channels.refuse(Stream::Stderr, at(20));
        channels.refuse(Stream::Stdout, at(10));
        assert_eq!(channels.debt(Stream::Stderr), Some(at(20)));
        assert_eq!(channels.rewound().collect::<Vec<_>>(), [Stream::Stderr]);
        assert_eq!((channels.debt(Stream::Stderr), channels.debt(Stream::Stdout)), (None, Some(Position::START)));
        assert!(!channels.wants_rewind() && channels.is_passed_over(Stream::Stdout));
    }
}
