//! Reads pods out of the API's JSON.
//!
//! In: one object of a list or one event of a watch, whole. Out: what an [`Interest`] names of it, and its version. Guarantees that
//! nothing else is copied: specs, states, `managedFields` and whatever labels and annotations no rule reads are passed over where
//! they stand. Knows nothing of requests.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::Status;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::pod::{Draft, Interest, PodMetadata};

/// A pod's object.
#[derive(Debug)]
pub struct Object {
    /// Its `resourceVersion`.
    pub version: String,
    /// `None` where it has no UID, which no stored object lacks.
    pub pod: Option<PodMetadata>,
    /// How many labels and annotations that rules read had no room.
    pub left_out: usize,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Event {
    /// The pod as it is now.
    Known(Object),
    Gone(Object),
    /// Nothing happened up to this version.
    Bookmark(String),
    /// The watch ends with this.
    Failed(Box<Status>),
}

/// Reads a pod's object.
pub fn object(json: &[u8], interest: &Interest) -> serde_json::Result<Object> {
    let mut pod = Pod(Draft::new(interest));
    read(json, &mut pod)?;
    Ok(Object::from(pod.0))
}

/// Reads an event of a watch.
pub fn event(json: &[u8], interest: &Interest) -> serde_json::Result<Event> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Failure {
        object: Box<Status>,
    }
    let Kind { kind } = serde_json::from_slice(json)?;
    if kind == "ERROR" {
        return Ok(Event::Failed(serde_json::from_slice::<Failure>(json)?.object));
    }
    let mut change = Change(Pod(Draft::new(interest)));
    read(json, &mut change)?;
    let object = Object::from(change.0.0);
    Ok(match &*kind {
        "DELETED" => Event::Gone(object),
        "BOOKMARK" => Event::Bookmark(object.version),
        _ => Event::Known(object),
    })
}

impl From<Draft<'_>> for Object {
    fn from(mut draft: Draft<'_>) -> Self {
        let (version, left_out) = (std::mem::take(&mut draft.version), draft.left_out);
        Self { version, left_out, pod: draft.finish() }
    }
}

fn read<'de, T: Fields<'de>>(json: &'de [u8], target: &mut T) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    ReadInto(target).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Takes the fields of an object one by one.
trait Fields<'de> {
    /// Takes the value behind `key` from `map`, or leaves it; true where it took it.
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads an object, or null, into what takes its fields.
struct ReadInto<'t, T>(&'t mut T);

/// A string that is not copied where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, T: Fields<'de>> DeserializeSeed<'de> for ReadInto<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields<'de>> Visitor<'de> for ReadInto<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            if !self.0.take(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// An event's `object`.
struct Change<'i>(Pod<'i>);

impl<'de> Fields<'de> for Change<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "object" { map.next_value_seed(ReadInto(&mut self.0)).map(|()| true) } else { Ok(false) }
    }
}

struct Pod<'i>(Draft<'i>);

impl<'de> Fields<'de> for Pod<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key == "metadata" { map.next_value_seed(ReadInto(&mut self.0)).map(|()| true) } else { Ok(false) }
    }
}

/// An object's `metadata`.
impl<'de> Fields<'de> for Draft<'_> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "name" => self.name.pod = map.next_value()?,
            "namespace" => self.name.namespace = map.next_value()?,
            "uid" => self.name.uid = map.next_value()?,
            "resourceVersion" => self.version = map.next_value()?,
            "labels" => map.next_value_seed(ReadInto(&mut Labels(self)))?,
            "annotations" => map.next_value_seed(ReadInto(&mut Annotations(self)))?,
            "ownerReferences" => map.next_value_seed(Owners(self))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Labels<'d, 'i>(&'d mut Draft<'i>);

impl<'de> Fields<'de> for Labels<'_, '_> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Text(value) = map.next_value()?;
        self.0.label(key, &value);
        Ok(true)
    }
}

struct Annotations<'d, 'i>(&'d mut Draft<'i>);

impl<'de> Fields<'de> for Annotations<'_, '_> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Text(value) = map.next_value()?;
        self.0.annotation(key, &value);
        Ok(true)
    }
}

/// Reads owners one by one, as there may be thousands.
struct Owners<'d, 'i>(&'d mut Draft<'i>);

impl<'de> DeserializeSeed<'de> for Owners<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Owners<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of owners")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut owners: A) -> Result<(), A::Error> {
        while let Some(owner) = owners.next_element::<OwnerReference>()? {
            self.0.owner(owner);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, pipeline::relabel::Relabel, source::kubernetes::Selector};

    fn interest() -> Interest {
        let rules = Relabel::new(&Config::default()).unwrap();
        Interest { rules, selector: Selector::default(), annotations: Vec::new() }
    }

    const OBJECT: &str = r#"{"metadata":{"managedFields":[{"manager":"kubelet","fieldsV1":{"f:x":{".":{}}}}],
        "resourceVersion":"7","uid":"u","annotations":null,"ownerReferences":null,"name":"p","labels":{"app.kubernetes.io/n\u0061me":"nginx"},
        "namespace":"ns"},"spec":{"containers":[{"metadata":{"name":"not this"}}]},"apiVersion":"v1","kind":"Pod"}"#;

    #[test]
    fn an_object_is_read_whatever_else_it_has_and_in_whichever_order() {
        let Object { version, pod, left_out } = object(OBJECT.as_bytes(), &interest()).unwrap();
        let pod = pod.unwrap();
        assert_eq!((version.as_str(), &*pod.folder, left_out), ("7", "ns_p_u", 0));
        assert_eq!(pod.meta.len(), 1);
        assert_eq!(&*pod.meta[0].1, "nginx");
    }

    #[test]
    fn an_event_says_what_happened_whether_its_type_comes_first_or_last() {
        let read = |json: &str| event(json.as_bytes(), &interest()).unwrap();
        for kind in ["ADDED", "MODIFIED"] {
            for json in [
                format!(r#"{{"type":"{kind}","object":{OBJECT}}}"#),
                format!(r#"{{"object":{OBJECT},"type":"{kind}"}}"#),
            ] {
                let known = read(&json);
                assert!(matches!(&known, Event::Known(object) if object.version == "7"), "{known:?}");
            }
        }
        let gone = read(&format!(r#"{{"type":"DELETED","object":{OBJECT}}}"#));
        assert!(matches!(&gone, Event::Gone(Object { pod: Some(pod), .. }) if &*pod.folder == "ns_p_u"), "{gone:?}");
        let bookmark = read(r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}"#);
        assert!(matches!(&bookmark, Event::Bookmark(version) if version == "9"), "{bookmark:?}");
        let failed = read(r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#);
        assert!(matches!(&failed, Event::Failed(status) if status.code == 410), "{failed:?}");
    }

    #[test]
    fn what_is_no_object_of_a_pod_is_an_error_or_has_no_pod() {
        for json in ["", "{", "[]", "7", r#"{"metadata":[]}"#, r#"{"metadata":{"labels":{"a":7}}}"#, "{} {}"] {
            assert!(object(json.as_bytes(), &interest()).is_err(), "{json}");
        }
        assert!(object(b"{}", &interest()).unwrap().pod.is_none());
        assert!(event(b"{}", &interest()).is_err());
    }
}
