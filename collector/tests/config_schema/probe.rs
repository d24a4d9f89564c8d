//! What a type asks serde for at a place in it.
//!
//! In: a type that serde can make, and a path of keys. Out: what kind of value the type wants there. The type is decoded from a value
//! that has nothing but this path, and stopped where it arrives; keys are those that the type itself names.

use std::{cell::RefCell, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

/// A kind of value.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Boolean,
    Whole,
    Number,
    Text,
    OneOf(&'static [&'static str]),
    List,
    /// Keys that the user names.
    Map,
    /// Keys that are known.
    Group(&'static [&'static str]),
    Any,
}

/// The step into the items of a list.
pub const ITEM: &str = "[]";

/// A path as it is written: `loki.batch.bytes`.
pub fn path(key: &str) -> Vec<String> {
    key.split('.').map(str::to_owned).collect()
}

/// The kind of value at a path.
pub fn kind<T: for<'de> Deserialize<'de>>(path: &[String]) -> Kind {
    let found = RefCell::new(None);
    let _ = T::deserialize(Probe { path, text: None, found: &found });
    found.into_inner().unwrap_or_else(|| panic!("{path:?}: the type does not look there"))
}

/// Whether a text can stand at a path; else what the type says of it.
pub fn decode<T: for<'de> Deserialize<'de>>(path: &[String], text: &str) -> Result<(), String> {
    let found = RefCell::new(None);
    T::deserialize(Probe { path, text: Some(text), found: &found }).map(drop).map_err(|error| error.0)
}

#[derive(Clone, Copy)]
struct Probe<'p> {
    path: &'p [String],
    /// What stands at the end of the path; `None`: only the kind is asked for.
    text: Option<&'p str>,
    found: &'p RefCell<Option<Kind>>,
}

#[derive(Debug)]
struct Stop(String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Probe<'_> {
    fn at_end(&self, kind: Kind) -> Stop {
        self.found.replace(Some(kind));
        Stop("the end of the path".into())
    }
}

macro_rules! ends {
    ($($method:ident $kind:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
            Err(self.at_end(Kind::$kind))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    ends! {
        deserialize_any Any
        deserialize_bool Boolean
        deserialize_i64 Whole
        deserialize_u32 Whole
        deserialize_u64 Whole
        deserialize_f64 Number
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.text {
            Some(text) => visitor.visit_str(text),
            None => Err(self.at_end(Kind::Text)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.path.split_first() {
            None => Err(self.at_end(Kind::List)),
            Some((_, rest)) => visitor.visit_seq(One { key: None, value: Some(Self { path: rest, ..self }) }),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match self.path.split_first() {
            None => Err(self.at_end(Kind::Map)),
            Some((key, rest)) => visitor.visit_map(One { key: Some(key), value: Some(Self { path: rest, ..self }) }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.path.is_empty() { Err(self.at_end(Kind::Group(known))) } else { self.deserialize_map(visitor) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        Err(self.at_end(Kind::OneOf(variants)))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// A map with one key, or a list with one item.
struct One<'p> {
    key: Option<&'p str>,
    value: Option<Probe<'p>>,
}

impl<'de> de::MapAccess<'de> for One<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let Some(key) = self.key.take() else { return Ok(None) };
        let key: StrDeserializer<'_, Stop> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(self.value.take().expect("a value is asked for once"))
    }
}

impl<'de> de::SeqAccess<'de> for One<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        self.value.take().map(|value| seed.deserialize(value)).transpose()
    }
}
