//! From the tree to the types, by serde: every error keeps the key and place that it belongs to.
//!
//! In: a [`Node`]. Out: any type that serde can make, and all the problems on the way. Serde stops at the first error, so
//! the node that caused it is left out and the tree decoded again, until what remains is good.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    error::{Origin, Place, Problem},
    tree::{Entry, Node, Value},
};

/// Enough to fix a file, and a bound for a file that is not a configuration at all.
const PROBLEMS_MAX: usize = 20;

/// Decodes what can be decoded; keys that are set to nothing count as left out.
///
/// `nearest` gives the known key that is meant by an unknown one, from its path and the keys known at its place.
pub(super) fn decode<T>(root: &Node, nearest: &Nearest) -> (T, Vec<Problem>)
where
    T: for<'de> Deserialize<'de> + Default,
{
    let (mut left_out, mut problems) = (HashSet::new(), Vec::new());
    loop {
        let decoder = Decoder { node: root, left_out: &left_out, nearest };
        match T::deserialize(decoder) {
            Ok(value) => return (value, problems),
            Err(error) => {
                let again = error.node.is_some_and(|id| id != root.id && left_out.insert(id));
                problems.push(error.into_problem(root.place));
                if !again || problems.len() == PROBLEMS_MAX {
                    return (T::default(), problems);
                }
            }
        }
    }
}

/// See [`decode`].
pub(super) type Nearest = dyn Fn(&str, &'static [&'static str]) -> String;

/// What went wrong, with what is known so far of where.
#[derive(Debug)]
pub(super) struct DecodeError {
    message: String,
    /// The innermost node that it belongs to, and its place.
    node: Option<usize>,
    place: Option<Place>,
    /// Keys from the innermost outwards.
    path: Vec<String>,
}

impl DecodeError {
    fn within(mut self, key: &str, node: &Node, place: Place) -> Self {
        self.node.get_or_insert(node.id);
        self.place.get_or_insert(place);
        self.path.push(key.to_owned());
        self
    }

    fn into_problem(self, root: Place) -> Problem {
        let mut path = self.path;
        path.reverse();
        Problem { origin: Origin::File(self.place.unwrap_or(root)), key: path.join("."), message: self.message }
    }
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), node: None, place: None, path: Vec::new() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

#[derive(Clone, Copy)]
struct Decoder<'de> {
    node: &'de Node,
    left_out: &'de HashSet<usize>,
    nearest: &'de Nearest,
}

impl<'de> Decoder<'de> {
    fn expected(&self, what: &str) -> DecodeError {
        let found = match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a group of keys".to_owned(),
        };
        de::Error::custom(format_args!("expected {what}, found {found}"))
    }

    fn scalar(&self, what: &str) -> Result<&'de str, DecodeError> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text),
            Value::Null => Ok(""),
            _ => Err(self.expected(what)),
        }
    }

    fn entries(&self, what: &str) -> Result<&'de [Entry], DecodeError> {
        match &self.node.value {
            Value::Mapping(entries) => Ok(entries),
            Value::Null => Ok(&[]),
            _ => Err(self.expected(what)),
        }
    }
}

/// Numbers are parsed from the text that was written.
macro_rules! numbers {
    ($($method:ident $visit:ident $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.scalar($what)?.parse().map_err(|_| self.expected($what))?)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar("true or false")? {
            "true" | "True" | "TRUE" => visitor.visit_bool(true),
            "false" | "False" | "FALSE" => visitor.visit_bool(false),
            _ => Err(self.expected("true or false")),
        }
    }

    numbers! {
        deserialize_i64 visit_i64 "a whole number"
        deserialize_u32 visit_u32 "a whole number, 0 or more"
        deserialize_u64 visit_u64 "a whole number, 0 or more"
        deserialize_f64 visit_f64 "a number"
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.scalar("text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let Value::Sequence(items) = &self.node.value else { return Err(self.expected("a list")) };
        visitor.visit_seq(Items { of: self, items: items.iter().enumerate() })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let entries = self.entries("a group of keys")?;
        visitor.visit_map(Keys { of: self, known: None, entries: entries.iter(), current: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let entries = self.entries(&format!("keys ({})", known.join(", ")))?;
        visitor.visit_map(Keys { of: self, known: Some(known), entries: entries.iter(), current: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let what = format!("one of {}", variants.join(", "));
        let text = self.scalar(&what)?;
        if !variants.contains(&text) {
            return Err(self.expected(&what));
        }
        let variant: StrDeserializer<'_, DecodeError> = text.into_deserializer();
        visitor.visit_enum(variant)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The keys of a mapping, without those that are set to nothing and those that were left out.
struct Keys<'de> {
    of: Decoder<'de>,
    /// The keys of a struct; `None`: any key is allowed.
    known: Option<&'static [&'static str]>,
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> de::MapAccess<'de> for Keys<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        for entry in self.entries.by_ref() {
            if self.of.left_out.contains(&entry.value.id) {
                continue;
            }
            if let Some(known) = self.known {
                if !known.contains(&entry.key.as_str()) {
                    let message = (self.of.nearest)(&entry.key, known);
                    let error: DecodeError = de::Error::custom(message);
                    return Err(error.within(&entry.key, &entry.value, entry.key_place));
                }
                if matches!(entry.value.value, Value::Null) {
                    continue;
                }
            }
            self.current = Some(entry);
            let key: StrDeserializer<'_, DecodeError> = entry.key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|e| e.within(&entry.key, &entry.value, entry.key_place));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let Some(entry) = self.current else { return Err(de::Error::custom("a value was asked for before its key")) };
        let decoder = Decoder { node: &entry.value, ..self.of };
        seed.deserialize(decoder).map_err(|error| error.within(&entry.key, &entry.value, entry.value.place))
    }
}

/// The items of a list; `[0]` is the key of the first.
struct Items<'de> {
    of: Decoder<'de>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, node)) = self.items.find(|(_, node)| !self.of.left_out.contains(&node.id)) else {
            return Ok(None);
        };
        let decoder = Decoder { node, ..self.of };
        seed.deserialize(decoder).map(Some).map_err(|error| error.within(&format!("[{index}]"), node, node.place))
    }
}
