//! Troubles that can come again and again: each kind is said once in a while, with how often it came since.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The least time between two words of one kind of trouble.
const INTERVAL: Duration = Duration::from_secs(60);

/// What was said, and when.
#[derive(Debug, Default)]
pub struct Complaints {
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Debug)]
struct Kind {
    said_at: Instant,
    unsaid: u64,
}

impl Complaints {
    /// Notes a trouble. `Some`: it is time to say it, and it came this many times since it was last said.
    pub fn note(&mut self, kind: &'static str, now: Instant) -> Option<u64> {
        match self.kinds.get_mut(kind) {
            Some(known) if now.duration_since(known.said_at) < INTERVAL => {
                known.unsaid += 1;
                None
            }
            Some(known) => {
                known.said_at = now;
                Some(std::mem::take(&mut known.unsaid))
            }
            None => {
                self.kinds.insert(kind, Kind { said_at: now, unsaid: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_at_once_and_then_once_in_a_while_with_its_number() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        assert_eq!(complaints.note("a", start), Some(0));
        assert_eq!(complaints.note("a", start), None);
        assert_eq!(complaints.note("a", start), None);
        assert_eq!(complaints.note("b", start), Some(0));
        assert_eq!(complaints.note("a", start + INTERVAL), Some(2));
    }
}
