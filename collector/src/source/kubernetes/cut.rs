//! Cuts the API's answers into objects while they arrive.
//!
//! In: the bytes of an answer, in pieces of any size. Out: each object of a list's `items`, or each event of a watch, whole; of a list
//! also what stands around them. Guarantees that no more than one object is in memory, and none over [`OBJECT_BYTES_MAX`]: a
//! larger one is passed over and counted. Knows brackets and strings; whether the JSON is valid is for who reads the objects.

use std::mem;

/// What one object may take. The API server's store refuses objects over 1.5 MiB, unless it is told otherwise.
pub const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Around the objects of a list are its kind, its version and where it goes on.
const AROUND_BYTES_MAX: usize = 64 << 10;

/// Memory that a large object took is kept for the next one up to here.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// How deep the objects lie in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One document, with the objects in the array at its top level.
    List,
    /// One object after the other.
    Events,
}

/// See the module.
#[derive(Debug)]
pub struct Cutter {
    shape: Shape,
    /// Brackets that are open.
    depth: usize,
    in_array: bool,
    in_string: bool,
    is_escaped: bool,
    object: Vec<u8>,
    around: Vec<u8>,
    too_large: usize,
}

impl Cutter {
    /// At the beginning of an answer.
    pub fn new(shape: Shape) -> Self {
        let (object, around) = (Vec::new(), Vec::new());
        Self { shape, depth: 0, in_array: false, in_string: false, is_escaped: false, object, around, too_large: 0 }
    }

    /// Takes the next bytes, and calls `each` for every object that ends in them.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.in_string {
                let text = self.text(bytes);
                self.keep(&bytes[..text]);
                bytes = &bytes[text..];
                continue;
            }
            let was_in_object = self.is_in_object();
            match first {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.in_array |= self.depth == 2 && first == b'[';
                }
                b'}' | b']' => {
                    self.in_array &= self.depth > 2;
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
            let is_between = self.shape == Shape::Events || self.in_array && self.depth == 2 && first != b'[';
            if was_in_object || self.is_in_object() || !is_between {
                self.keep(&[first]);
            }
            if was_in_object && !self.is_in_object() {
                self.end_object(&mut each);
            }
            bytes = rest;
        }
    }

    /// What stands around the objects of a list, without them; `None` before its end, or where it cannot be that of a list.
    pub fn around(&self) -> Option<&[u8]> {
        let is_whole = self.depth == 0 && !self.around.is_empty() && self.around.len() < AROUND_BYTES_MAX;
        is_whole.then_some(&self.around)
    }

    /// How many objects were passed over since the last call, as they were too large.
    pub fn take_too_large(&mut self) -> usize {
        mem::take(&mut self.too_large)
    }

    fn is_in_object(&self) -> bool {
        match self.shape {
            Shape::List => self.in_array && self.depth > 2,
            Shape::Events => self.depth > 0,
        }
    }

    /// How many of `bytes`, which begin within a string, belong to it; with its end, where that is among them.
    fn text(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            if mem::take(&mut self.is_escaped) {
                taken += 1;
                continue;
            }
            let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[taken..]) else { return bytes.len() };
            taken += found + 1;
            if bytes[taken - 1] == b'"' {
                self.in_string = false;
                return taken;
            }
            self.is_escaped = true;
        }
        taken
    }

    fn keep(&mut self, bytes: &[u8]) {
        let is_of_object = self.is_in_object() || !self.object.is_empty();
        let (kept, most) = match is_of_object {
            true => (&mut self.object, OBJECT_BYTES_MAX + 1),
            false => (&mut self.around, AROUND_BYTES_MAX),
        };
        kept.extend_from_slice(&bytes[..bytes.len().min(most - kept.len())]);
    }

    fn end_object(&mut self, each: &mut impl FnMut(&[u8])) {
        if self.object.len() > OBJECT_BYTES_MAX {
            self.too_large += 1;
        } else {
            each(&self.object);
        }
        self.object.clear();
        self.object.shrink_to(KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The objects of an answer that arrives in pieces of `piece` bytes, and what is around them.
    fn cut(shape: Shape, text: &str, piece: usize) -> (Vec<String>, Option<String>) {
        let (mut cutter, mut objects) = (Cutter::new(shape), Vec::new());
        for bytes in text.as_bytes().chunks(piece) {
            cutter.push(bytes, |object| objects.push(String::from_utf8(object.to_vec()).unwrap()));
        }
        (objects, cutter.around().map(|around| String::from_utf8(around.to_vec()).unwrap()))
    }

    #[test]
    fn the_objects_of_a_list_are_those_of_the_array_at_its_top_however_it_is_cut() {
        let first = r#"{"metadata":{"name":"a","labels":{"x":"]}\"\\"},"owners":[{"kind":"[{"}]}}"#;
        let list = format!(
            "{{\"kind\": \"L\", \"items\": [{first} , {{}},\n{{\"b\":[1]}}], \"metadata\":{{\"continue\":\"[{{\"}}}}\n"
        );
        for piece in 1..list.len() {
            let (objects, around) = cut(Shape::List, &list, piece);
            assert_eq!(objects, [first, "{}", r#"{"b":[1]}"#], "pieces of {piece}");
            let around = around.unwrap();
            assert_eq!(
                around.trim(),
                r#"{"kind": "L", "items": [], "metadata":{"continue":"[{"}}"#,
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_list_without_items_and_one_that_breaks_off_are_told_apart() {
        assert_eq!(cut(Shape::List, r#"{"items":null}"#, 3).1.as_deref(), Some(r#"{"items":null}"#));
        assert_eq!(cut(Shape::List, r#"{"items":[]}"#, 3), (Vec::new(), Some(r#"{"items":[]}"#.into())));
        assert_eq!(cut(Shape::List, r#"{"items":[{"a":1},{"b""#, 3), (vec![r#"{"a":1}"#.into()], None));
        assert_eq!(cut(Shape::List, "", 3).1, None);
    }

    #[test]
    fn each_event_of_a_watch_is_an_object_whatever_stands_between_them() {
        let events = "{\"type\":\"ADDED\",\"object\":{}}\n{\"a\":[{}]}\r\n\n{\"b\":1}";
        for piece in 1..events.len() {
            let objects = cut(Shape::Events, events, piece).0;
            assert_eq!(
                objects,
                ["{\"type\":\"ADDED\",\"object\":{}}", "{\"a\":[{}]}", "{\"b\":1}"],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn an_object_that_is_too_large_is_passed_over_and_takes_no_more_memory_than_it_may() {
        let mut cutter = Cutter::new(Shape::List);
        let mut objects = 0;
        let mut push = |cutter: &mut Cutter, bytes: &str| {
            cutter.push(bytes.as_bytes(), |object| {
                assert_eq!(object, b"{\"b\":1}");
                objects += 1;
            });
        };
        push(&mut cutter, "{\"items\":[{\"a\":\"");
        for _ in 0..64 {
            push(&mut cutter, &"x".repeat(1 << 20));
            assert!(cutter.object.capacity() <= 2 * OBJECT_BYTES_MAX);
        }
        push(&mut cutter, "\"},{\"b\":1}]}");
        assert!(cutter.object.capacity() <= KEPT_BYTES_MAX);
        assert_eq!((objects, cutter.take_too_large()), (1, 1));
        assert_eq!(cutter.around(), Some(&b"{\"items\":[]}"[..]));
    }

    #[test]
    fn what_is_no_list_ends_as_none() {
        let mut cutter = Cutter::new(Shape::List);
        for _ in 0..64 {
            cutter.push(&[b'<'; 4096], |_| {});
        }
        assert!(cutter.around.len() <= AROUND_BYTES_MAX);
        assert_eq!(cutter.around(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same(bytes in "[\\[\\]{}\",\\\\ax ]{0,60}", piece in 1usize..8) {
            for shape in [Shape::List, Shape::Events] {
                prop_assert_eq!(cut(shape, &bytes, piece), cut(shape, &bytes, bytes.len().max(1)));
            }
        }
    }
}
