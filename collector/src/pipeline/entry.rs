//! One log line on its way through the stages, with everything that they may read and change.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{extracted::Extracted, level::Level};

/// Where a line begins in what is read: larger is later. The turn of the file and the offset in it.
pub type Position = (u64, u64);

/// The label that carries the tenant, as Promtail calls it. It is not sent: it becomes the request's `X-Scope-OrgID`.
pub const TENANT_LABEL: &str = "__tenant_id__";

/// Memory that a text of no line keeps for the next one.
const SPARE_BYTES_MAX: usize = 8192;

/// Empties the text of a held line that was given out. Each stream of each container has one, so a long one is not kept.
pub(super) fn keep_if_small(text: &mut Vec<u8>) {
    text.clear();
    if text.capacity() > SPARE_BYTES_MAX {
        *text = Vec::new();
    }
}

/// A log line. Meant to be kept and filled again: nothing in it is freed.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Where it begins; for several lines that became one, where the first begins.
    pub at: Position,
    /// When the runtime wrote it, in nanoseconds since 1970. No stage changes it.
    pub logged_ns: i64,
    /// The time that Loki gets, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// The stream's labels, [`TENANT_LABEL`] among them; one with an empty value is none to Loki.
    pub labels: Pairs,
    /// The text, valid UTF-8 without its newline.
    pub line: Vec<u8>,
    pub metadata: Pairs,
    /// How grave it is, where that was looked for.
    pub level: Level,
    /// What stages found in the line.
    pub extracted: Extracted,
}

impl Entry {
    /// The tenant that a `tenant` stage chose.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.labels.get(TENANT_LABEL)
    }

    /// Copies everything of the other one into the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        (self.at, self.logged_ns, self.timestamp_ns) = (other.at, other.logged_ns, other.timestamp_ns);
        self.level = other.level;
        self.labels.copy_from(&other.labels);
        self.line.clear();
        self.line.extend_from_slice(&other.line);
        self.metadata.copy_from(&other.metadata);
        self.extracted.copy_from(&other.extracted);
    }
}

/// Names with values, sorted by name, each name once. Removed ones leave their memory to those that come.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    pairs: Vec<(String, String)>,
    /// How many of them count; the others are memory.
    len: usize,
    mark: Option<Mark>,
}

/// What pairs and their copies have in common until one of them is changed.
#[derive(Clone, Copy, Debug)]
struct Mark {
    id: u64,
    hash: u64,
}

impl Pairs {
    /// Marks pairs of which many copies are made: that a copy has not been changed is then known without looking at it.
    pub fn mark(&mut self) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let hash = self.hash();
        self.mark = Some(Mark { id: NEXT.fetch_add(1, Ordering::Relaxed), hash });
    }

    /// The same for marked pairs and their copies, until they are changed.
    pub(super) fn id(&self) -> Option<u64> {
        self.mark.map(|mark| mark.id)
    }

    /// No pairs at all.
    #[must_use]
    pub fn none() -> &'static Self {
        static NONE: Pairs = Pairs { pairs: Vec::new(), len: 0, mark: None };
        &NONE
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.place(name).ok().map(|i| self.pairs[i].1.as_str())
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Adds a pair, or replaces the value.
    pub fn set(&mut self, name: &str, value: &str) {
        let place = match self.place(name) {
            Ok(place) if self.pairs[place].1 == value => return,
            Ok(place) => place,
            Err(place) => {
                if self.len == self.pairs.len() {
                    self.pairs.push(Default::default());
                }
                self.len += 1;
                self.pairs[place..self.len].rotate_right(1);
                self.pairs[place].0.clear();
                self.pairs[place].0.push_str(name);
                place
            }
        };
        self.mark = None;
        let kept = &mut self.pairs[place].1;
        kept.clear();
        kept.push_str(value);
    }

    /// The value of the pair at this place, counted from the first.
    pub(super) fn value_at(&self, place: usize) -> &str {
        &self.pairs[place].1
    }

    /// Removes the pair; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let Ok(place) = self.place(name) else { return false };
        self.pairs[place..self.len].rotate_left(1);
        self.len -= 1;
        self.mark = None;
        true
    }

    /// Keeps the pairs whose names `wanted` accepts.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str) -> bool) {
        let mut kept = 0;
        for i in 0..self.len {
            if wanted(&self.pairs[i].0) {
                self.pairs.swap(kept, i);
                kept += 1;
            }
        }
        self.mark = self.mark.filter(|_| kept == self.len);
        self.len = kept;
    }

    /// Changes the values in place.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut String)> {
        self.mark = None;
        self.pairs[..self.len].iter_mut().map(|(name, value)| (name.as_str(), value))
    }

    pub fn clear(&mut self) {
        self.mark = None;
        self.len = 0;
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs[..self.len].iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the pairs of the other one into the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        if self.id().is_some() && self.id() == other.id() {
            return;
        }
        self.mark = other.mark;
        if self.pairs.len() < other.len {
            self.pairs.resize_with(other.len, Default::default);
        }
        self.len = other.len;
        for (mine, theirs) in self.pairs.iter_mut().zip(&other.pairs[..other.len]) {
            mine.0.clone_from(&theirs.0);
            mine.1.clone_from(&theirs.1);
        }
    }

    /// A hash that is the same in every run.
    #[must_use]
    pub fn hash(&self) -> u64 {
        if let Some(mark) = self.mark {
            return mark.hash;
        }
        let mut hash = super::stages::sampling::SEED;
        for (name, value) in self.iter() {
            hash = super::stages::sampling::mix(hash, name.as_bytes());
            hash = super::stages::sampling::mix(hash, value.as_bytes());
        }
        hash
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.pairs[..self.len].binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

impl PartialEq for Pairs {
    fn eq(&self, other: &Self) -> bool {
        (self.id().is_some() && self.id() == other.id()) || self.pairs[..self.len] == other.pairs[..other.len]
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut all = Self::default();
        pairs.into_iter().for_each(|(name, value)| all.set(name, value));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_replaced_removed_and_their_memory_used_again() {
        let mut pairs = Pairs::from_iter([("b", "2"), ("a", "1"), ("c", "3"), ("b", "4")]);
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "4"), ("c", "3")]);
        assert!(pairs.remove("a") && !pairs.remove("a"));
        pairs.set("aa", "5");
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("aa", "5"), ("b", "4"), ("c", "3")]);
        pairs.retain(|name| name != "b");
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("aa", "5"), ("c", "3")]);
        let mut copy = Pairs::from_iter([("x", "y"), ("z", "")]);
        copy.copy_from(&pairs);
        assert_eq!(copy.iter().collect::<Vec<_>>(), [("aa", "5"), ("c", "3")]);
        assert_eq!(copy.hash(), pairs.hash());
        assert_eq!((copy.len(), copy.get("c"), copy.contains("b")), (2, Some("3"), false));
    }

    #[test]
    fn a_copy_of_marked_pairs_has_their_mark_until_it_is_changed() {
        let mut marked = Pairs::from_iter([("a", "1"), ("b", "2")]);
        marked.mark();
        let changes: [fn(&mut Pairs); 6] = [
            |pairs| pairs.set("a", "2"),
            |pairs| pairs.set("c", "3"),
            |pairs| assert!(pairs.remove("a")),
            |pairs| pairs.retain(|name| name == "a"),
            |pairs| pairs.values_mut().for_each(|(_, value)| value.push('x')),
            Pairs::clear,
        ];
        let mut copy = Pairs::default();
        for change in changes {
            copy.copy_from(&marked);
            copy.set("a", "1");
            assert!(!copy.remove("x"));
            copy.retain(|_| true);
            assert_eq!((copy.id(), copy.hash(), &copy), (marked.id(), marked.hash(), &marked));
            change(&mut copy);
            assert_eq!(copy.id(), None);
            assert!(copy != marked && copy.hash() != marked.hash());
        }
        let mut other = Pairs::from_iter([("a", "1"), ("b", "2")]);
        other.mark();
        assert!(other.id() != marked.id() && other == marked && other.hash() == marked.hash());
    }
}
