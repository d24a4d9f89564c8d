//! `reader.shards`: how many threads read.

use std::{num::NonZero, thread};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// More never help: the sender side is one thread.
pub const SHARDS_MAX: u32 = 16;

/// `auto` goes no further.
const AUTO_MAX: usize = 4;

/// `auto` takes one for so many cores. The work of a log line is small beside what wrote it: on a smaller machine a second
/// thread would only be woken where one is enough.
const CORES_PER_SHARD: usize = 4;

/// A number of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardCount {
    /// One on up to 4 cores, above that a quarter of the cores, at most 4.
    #[default]
    Auto,
    /// So many.
    Fixed(u32),
}

impl ShardCount {
    /// What it comes to on this machine: the cores that this process may use count, by its affinity and its cgroup.
    #[must_use]
    pub fn here(self) -> usize {
        self.on(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn on(self, cores: usize) -> usize {
        match self {
            Self::Auto => (cores / CORES_PER_SHARD).clamp(1, AUTO_MAX),
            Self::Fixed(count) => (count as usize).max(1),
        }
    }
}

impl Serialize for ShardCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for ShardCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count = text.parse().ok().filter(|count| (1..=SHARDS_MAX).contains(count));
        let wrong = || de::Error::custom(format_args!("expected auto or 1 to {SHARDS_MAX}, found {text:?}"));
        count.map(Self::Fixed).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_one_on_up_to_four_cores_and_grows_slowly() {
        for (cores, shards) in [(1, 1), (2, 1), (4, 1), (7, 1), (8, 2), (12, 3), (16, 4), (128, 4)] {
            assert_eq!(ShardCount::Auto.on(cores), shards, "{cores} cores");
        }
        assert_eq!(ShardCount::Fixed(2).on(1), 2);
    }
}
