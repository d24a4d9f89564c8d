//! What stages found in a line: values under names, in slots that are numbered when the pipeline is compiled.
//!
//! A name that no stage mentions has no slot, as nothing could read it. The exception is what Alloy's
//! `regex` fields find under names that nobody wrote; those are kept beside the slots, by name.

use std::fmt::Write;

use super::{entry::Pairs, go::number};

/// The number of a name.
pub type Slot = usize;

/// A value as a stage sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// JSON's null: it is there, but no text and no number.
    Null,
    Text(&'a [u8]),
    Number(f64),
    Bool(bool),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Missing,
    Null,
    Text,
    Number(f64),
    Bool(bool),
}

/// A value with memory for its text. Of numbers and booleans the text is written when it is asked for first.
#[derive(Clone, Debug, Default)]
struct Cell {
    kind: Kind,
    text: Vec<u8>,
}

/// Which of a channel's labels have slots in a pipeline, of the channel that had the last line.
#[derive(Debug, Default)]
pub(super) struct LabelSlots {
    /// See [`Pairs::id`].
    of: Option<u64>,
    /// Places among the labels.
    slots: Vec<(usize, Slot)>,
}

/// Calls `found` with the place of each label that has a slot.
fn each_label_with_slot(sorted: &[(String, Slot)], labels: &Pairs, mut found: impl FnMut(usize, Slot)) {
    let mut slots = sorted.iter().peekable();
    for (place, (name, _)) in labels.iter().enumerate() {
        while slots.next_if(|(slot_name, _)| slot_name.as_str() < name).is_some() {}
        let Some((slot_name, slot)) = slots.peek() else { return };
        if slot_name == name {
            found(place, *slot);
        }
    }
}

/// The values of one entry.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    cells: Vec<Cell>,
    /// Texts under names without a slot.
    beside: Pairs,
}

impl Extracted {
    /// Forgets all values and takes the labels as first ones. `sorted` are the slots in the order of their names.
    pub(super) fn begin(&mut self, sorted: &[(String, Slot)], labels: &Pairs, known: &mut LabelSlots) {
        self.cells.resize_with(sorted.len(), Cell::default);
        self.cells.iter_mut().for_each(|cell| cell.kind = Kind::Missing);
        self.beside.clear();
        if labels.id().is_none() {
            return self.take_labels(sorted, labels);
        }
        if known.of != labels.id() {
            known.of = labels.id();
            known.slots.clear();
            each_label_with_slot(sorted, labels, |place, slot| known.slots.push((place, slot)));
        }
        for (place, slot) in &known.slots {
            self.set_text(*slot, labels.value_at(*place).as_bytes());
        }
    }

    /// Sets the labels as values, over those of the same names.
    pub(super) fn take_labels(&mut self, sorted: &[(String, Slot)], labels: &Pairs) {
        each_label_with_slot(sorted, labels, |place, slot| self.set_text(slot, labels.value_at(place).as_bytes()));
    }

    /// The value; `None` where there is none.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Value<'_>> {
        let cell = &self.cells[slot];
        Some(match cell.kind {
            Kind::Missing => return None,
            Kind::Null => Value::Null,
            Kind::Text => Value::Text(&cell.text),
            Kind::Number(number) => Value::Number(number),
            Kind::Bool(value) => Value::Bool(value),
        })
    }

    /// Whether there is a value, null included.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.cells[slot].kind != Kind::Missing
    }

    /// The value as text: `Err` for null, `Ok(None)` where there is none.
    pub fn text(&mut self, slot: Slot) -> Result<Option<&[u8]>, IsNull> {
        let cell = &mut self.cells[slot];
        match cell.kind {
            Kind::Missing => return Ok(None),
            Kind::Null => return Err(IsNull),
            Kind::Text => {}
            Kind::Number(value) => {
                cell.text.clear();
                number::write(value, &mut cell.text);
            }
            Kind::Bool(value) => {
                cell.text.clear();
                cell.text.extend_from_slice(if value { b"true" } else { b"false" });
            }
        }
        Ok(Some(&cell.text))
    }

    /// The value as text, where it is one or can be made one.
    pub fn some_text(&mut self, slot: Slot) -> Option<&[u8]> {
        self.text(slot).ok().flatten()
    }

    pub fn set_text(&mut self, slot: Slot, text: &[u8]) {
        let memory = self.text_memory(slot);
        memory.clear();
        memory.extend_from_slice(text);
    }

    /// Makes the value a text and lends its memory, as it was, for whoever writes it in pieces.
    pub fn text_memory(&mut self, slot: Slot) -> &mut Vec<u8> {
        let cell = &mut self.cells[slot];
        cell.kind = Kind::Text;
        &mut cell.text
    }

    pub fn set_null(&mut self, slot: Slot) {
        self.cells[slot].kind = Kind::Null;
    }

    pub fn set_number(&mut self, slot: Slot, value: f64) {
        self.cells[slot].kind = Kind::Number(value);
    }

    pub fn set_bool(&mut self, slot: Slot, value: bool) {
        self.cells[slot].kind = Kind::Bool(value);
    }

    pub fn remove(&mut self, slot: Slot) {
        self.cells[slot].kind = Kind::Missing;
    }

    /// Writes a value under a name that may have no slot.
    pub fn set_named(&mut self, slot: Option<Slot>, name: &str, value: Value<'_>) {
        match (slot, value) {
            (Some(slot), Value::Null) => self.set_null(slot),
            (Some(slot), Value::Text(text)) => self.set_text(slot, text),
            (Some(slot), Value::Number(number)) => self.set_number(slot, number),
            (Some(slot), Value::Bool(value)) => self.set_bool(slot, value),
            (None, Value::Null) => {
                self.beside.remove(name);
            }
            (None, Value::Text(text)) => {
                if let Ok(text) = std::str::from_utf8(text) {
                    self.beside.set(name, text);
                }
            }
            (None, Value::Bool(value)) => self.beside.set(name, if value { "true" } else { "false" }),
            (None, Value::Number(value)) => {
                let mut text = String::new();
                // Writing to a string cannot fail.
                let _ = write!(text, "{}", number::Plain(value));
                self.beside.set(name, &text);
            }
        }
    }

    /// Texts under names without a slot.
    #[must_use]
    pub fn beside(&self) -> &Pairs {
        &self.beside
    }

    /// Copies the values of the other one into the memory that is there.
    pub fn copy_from(&mut self, other: &Self) {
        self.cells.resize_with(other.cells.len(), Cell::default);
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            mine.kind = theirs.kind;
            if theirs.kind == Kind::Text {
                mine.text.clone_from(&theirs.text);
            }
        }
        self.beside.copy_from(&other.beside);
    }
}

/// A value that is null, and so no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsNull;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_first_values_and_each_kind_has_its_text() {
        let sorted = [("app".to_owned(), 1), ("level".to_owned(), 0), ("pod".to_owned(), 2)];
        let mut extracted = Extracted::default();
        let labels = Pairs::from_iter([("app", "web"), ("container", "c"), ("pod", "p")]);
        extracted.begin(&sorted, &labels, &mut LabelSlots::default());
        assert_eq!(extracted.get(1), Some(Value::Text(b"web")));
        assert_eq!(extracted.get(2), Some(Value::Text(b"p")));
        assert!(!extracted.contains(0));
        extracted.set_number(0, 1e21);
        assert_eq!(extracted.some_text(0), Some(&b"1000000000000000000000"[..]));
        extracted.set_bool(0, true);
        assert_eq!(extracted.some_text(0), Some(&b"true"[..]));
        extracted.set_null(0);
        assert_eq!(extracted.text(0), Err(IsNull));
        extracted.remove(0);
        assert_eq!(extracted.text(0), Ok(None));
    }

    #[test]
    fn labels_that_are_marked_are_taken_as_others_are() {
        let sorted = [("app".to_owned(), 0), ("pod".to_owned(), 1)];
        let (mut extracted, mut known) = (Extracted::default(), LabelSlots::default());
        let mut web = Pairs::from_iter([("app", "web"), ("container", "c"), ("pod", "p")]);
        let mut api = Pairs::from_iter([("pod", "q")]);
        web.mark();
        api.mark();
        let none = Pairs::default();
        for (labels, app, pod) in [
            (&web, Some("web"), Some("p")),
            (&web, Some("web"), Some("p")),
            (&api, None, Some("q")),
            (&none, None, None),
        ] {
            extracted.begin(&sorted, labels, &mut known);
            let text = |value: Option<&str>| value.map(str::to_owned);
            let found: Vec<_> = (0..2)
                .map(|slot| match extracted.get(slot) {
                    Some(Value::Text(text)) => Some(String::from_utf8(text.to_vec()).unwrap()),
                    _ => None,
                })
                .collect();
            assert_eq!(found, [text(app), text(pod)]);
        }
    }
}
