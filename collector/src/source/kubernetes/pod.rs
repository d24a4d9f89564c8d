//! One pod: what is kept of its metadata.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::Selector;
use crate::{
    config::AnnotationKey,
    model::PodName,
    pipeline::{ANNOTATION_BYTES_MAX, relabel},
};

/// What the names of Pilcrow's annotations begin with.
const PREFIX: &str = "pilcrow.dev/";

/// The annotation that excludes a pod's logs; its value is `true`.
const EXCLUDE: &str = "pilcrow.dev/exclude";

/// The annotations of a static pod's mirror (kubernetes pkg/kubelet/types, `ConfigHashAnnotationKey` and
/// `ConfigMirrorAnnotationKey`). The first is the static pod's UID, and so stands in the name of its log folder.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// What may be kept of one pod. What rules usually read is some hundred bytes.
pub(super) const BYTES_MAX: usize = 64 << 10;
/// What keeping one name and its value takes besides their bytes.
const ENTRY_BYTES: usize = 64;
/// The length of a name in Kubernetes, and of a file's.
const NAME_BYTES_MAX: usize = 255;

/// What is used of pods: nothing else is kept.
#[derive(Clone, Debug)]
pub struct Interest {
    /// Labels, annotations and owners that these rules read.
    pub rules: relabel::Relabel,
    /// Pods that it does not select are left out.
    pub selector: Selector,
    /// What pods may ask for by annotations.
    pub annotations: Vec<AnnotationKey>,
}

/// What is used of a pod's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMetadata {
    /// The name of its log folder, `NAMESPACE_POD_UID`. Namespace and name are part of it so that no annotation of a pod can
    /// make it pass for another one.
    pub folder: Box<str>,
    /// What the rules read of it: names of labels that begin with `__meta_kubernetes_pod_`, sorted, and their values.
    pub meta: Box<[(Box<str>, Box<str>)]>,
    /// Its logs are left out.
    pub exclusion: Option<PodExclusion>,
    /// What it asks for by annotations that are allowed, by their names without `pilcrow.dev/`, sorted.
    pub asked: Box<[(Box<str>, Box<str>)]>,
}

/// Why a pod's logs are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodExclusion {
    /// It has the annotation `pilcrow.dev/exclude: "true"`.
    Annotation,
    /// `kubernetes.pod_selector` does not select it.
    Selector,
}

/// What was read of a pod's object so far.
#[derive(Debug)]
pub(super) struct Draft<'i> {
    interest: &'i Interest,
    /// Its UID is that of the object.
    pub name: PodName,
    /// The object's `resourceVersion`.
    pub version: String,
    /// How many labels and annotations that are of interest had no room.
    pub left_out: usize,
    /// Labels that the selector names.
    selected_by: BTreeMap<String, String>,
    meta: Vec<(Box<str>, Box<str>)>,
    asked: Vec<(Box<str>, Box<str>)>,
    is_excluded: bool,
    has_controller: bool,
    /// The UID in the name of a static pod's log folder, where the pod is its mirror.
    config_hash: String,
    is_mirror: bool,
    /// Bytes that may still be kept.
    room: usize,
}

impl<'i> Draft<'i> {
    /// Of a pod of which nothing was read yet.
    pub fn new(interest: &'i Interest) -> Self {
        Self {
            interest,
            name: PodName { namespace: String::new(), pod: String::new(), uid: String::new() },
            version: String::new(),
            left_out: 0,
            selected_by: BTreeMap::new(),
            meta: Vec::new(),
            asked: Vec::new(),
            is_excluded: false,
            has_controller: false,
            config_hash: String::new(),
            is_mirror: false,
            room: BYTES_MAX,
        }
    }

    /// A label of the pod.
    pub fn label(&mut self, name: &str, value: &str) {
        if self.interest.selector.reads(name) && self.take_room(name.len() + value.len()) {
            self.selected_by.insert(name.to_owned(), value.to_owned());
        }
        let [by_value, by_presence] = relabel::label_names(name);
        self.meta(&by_value, value);
        self.meta(&by_presence, "true");
    }

    /// An annotation of the pod.
    pub fn annotation(&mut self, name: &str, value: &str) {
        match name {
            EXCLUDE => self.is_excluded = value == "true",
            CONFIG_MIRROR => self.is_mirror = true,
            CONFIG_HASH if value.len() <= NAME_BYTES_MAX => value.clone_into(&mut self.config_hash),
            _ => {}
        }
        if let Some(name) = name.strip_prefix(PREFIX)
            && self.is_allowed(name)
        {
            // So much is enough to be refused for its length.
            let value = &value[..value.floor_char_boundary(ANNOTATION_BYTES_MAX + 4)];
            if self.take_room(name.len() + value.len()) {
                self.asked.push((name.into(), value.into()));
            }
        }
        let [by_value, by_presence] = relabel::annotation_names(name);
        self.meta(&by_value, value);
        self.meta(&by_presence, "true");
    }

    /// An owner of the pod. A pod may have any annotations: only the kubelet makes mirrors, and the node is their owner.
    pub fn owner(&mut self, owner: OwnerReference) {
        let OwnerReference { api_version, kind, name, controller, .. } = owner;
        self.is_mirror |= kind == "Node" && api_version == "v1";
        if controller == Some(true) && !std::mem::replace(&mut self.has_controller, true) {
            let [kind_name, name_name] = relabel::controller_names();
            self.meta(kind_name, &kind);
            self.meta(name_name, &name);
        }
    }

    /// All was read. `None` where the object has no UID, which no stored one lacks.
    pub fn finish(self) -> Option<PodMetadata> {
        let Self { interest, mut name, selected_by, mut meta, mut asked, .. } = self;
        if self.is_mirror && !self.config_hash.is_empty() {
            name.uid = self.config_hash;
        }
        let exclusion = if self.is_excluded {
            Some(PodExclusion::Annotation)
        } else {
            (!interest.selector.matches(&selected_by)).then_some(PodExclusion::Selector)
        };
        meta.sort();
        asked.sort();
        (!name.uid.is_empty()).then(|| PodMetadata {
            folder: name.folder_name().into(),
            meta: meta.into(),
            exclusion,
            asked: asked.into(),
        })
    }

    fn meta(&mut self, name: &str, value: &str) {
        if !value.is_empty() && self.interest.rules.reads(name) && self.take_room(name.len() + value.len()) {
            self.meta.push((name.into(), value.into()));
        }
    }

    fn is_allowed(&self, name: &str) -> bool {
        let key = name.split_once('.').map_or(name, |(key, _)| key);
        self.interest.annotations.iter().any(|allowed| allowed.name() == key)
    }

    fn take_room(&mut self, bytes: usize) -> bool {
        let bytes = bytes + ENTRY_BYTES;
        let has_room = bytes <= self.room;
        if has_room {
            self.room -= bytes;
        } else {
            self.left_out += 1;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::decode::{self, Object};
    use super::*;
    use crate::config::{Config, RelabelConfig};

    fn interest(selector: &str, rules: &str) -> Interest {
        let config = Config { relabel_configs: RelabelConfig::list(rules), ..Config::default() };
        let rules = relabel::Relabel::new(&config).unwrap();
        let annotations = vec![AnnotationKey::Multiline, AnnotationKey::Drop];
        Interest { rules, selector: Selector::parse(selector).unwrap(), annotations }
    }

    /// The pod p of the namespace ns, with this metadata as well.
    fn pod(interest: &Interest, more: Value) -> PodMetadata {
        object(interest, more).pod.unwrap()
    }

    fn object(interest: &Interest, more: Value) -> Object {
        let mut metadata = json!({"name": "p", "namespace": "ns", "uid": "u"});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        decode::object(object.to_string().as_bytes(), interest).unwrap()
    }

    fn names(pod: &PodMetadata) -> Vec<&str> {
        pod.meta.iter().map(|(name, _)| &**name).collect()
    }

    #[test]
    fn of_labels_annotations_and_owners_only_what_rules_read_is_kept() {
        let more = json!({
            "labels": {"app.kubernetes.io/name": "nginx", "other": "x", "tier": "web"},
            "annotations": {"team": "a", "kubectl.kubernetes.io/last-applied-configuration": "{very long}"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Thing", "name": "not-this", "uid": "1"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "p-1", "uid": "2", "controller": true},
            ],
        });
        let plain = pod(&interest("", ""), more.clone());
        assert_eq!(names(&plain), ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]);
        let rules = "- {source_labels: [__meta_kubernetes_pod_controller_name], target_label: controller}\n\
                     - {action: labelmap, regex: __meta_kubernetes_pod_label_(t.*)}\n\
                     - {source_labels: [__meta_kubernetes_pod_annotationpresent_team], target_label: has_team}\n";
        let more = pod(&interest("", rules), more);
        let expected = [
            ("__meta_kubernetes_pod_annotationpresent_team", "true"),
            ("__meta_kubernetes_pod_controller_name", "p-1"),
            ("__meta_kubernetes_pod_label_app_kubernetes_io_name", "nginx"),
            ("__meta_kubernetes_pod_label_tier", "web"),
        ];
        let meta: Vec<(&str, &str)> = more.meta.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(meta, expected);
    }

    #[test]
    fn an_empty_label_is_none_and_its_presence_is_known_all_the_same() {
        let rules = "- {source_labels: [__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name], target_label: x}\n";
        let pod = pod(&interest("", rules), json!({"labels": {"app.kubernetes.io/name": ""}}));
        assert_eq!(names(&pod), ["__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name"]);
    }

    #[test]
    fn a_mirror_pod_is_known_by_its_hash_and_a_pod_that_only_has_the_annotation_is_not() {
        let interest = interest("", "");
        let hash = json!({CONFIG_HASH: "h"});
        let by_annotation = pod(&interest, json!({"annotations": {CONFIG_HASH: "h", CONFIG_MIRROR: "h"}}));
        assert_eq!(&*by_annotation.folder, "ns_p_h");
        let node = json!([{"apiVersion": "v1", "kind": "Node", "name": "pi-3", "uid": "n", "controller": true}]);
        let by_owner = pod(&interest, json!({"annotations": hash, "ownerReferences": node}));
        assert_eq!(&*by_owner.folder, "ns_p_h");
        assert_eq!(&*pod(&interest, json!({"annotations": hash})).folder, "ns_p_u");
    }

    #[test]
    fn of_pilcrows_annotations_only_those_that_are_allowed_count() {
        let annotations = json!({
            "pilcrow.dev/multiline": "java", "pilcrow.dev/drop.side.car": "x", "pilcrow.dev/sample": "0.1", "other/drop": "y",
        });
        let pod = pod(&interest("", ""), json!({"annotations": annotations}));
        let asked: Vec<(&str, &str)> = pod.asked.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(asked, [("drop.side.car", "x"), ("multiline", "java")]);
    }

    #[test]
    fn what_is_kept_of_a_pod_is_bounded_whatever_its_owner_writes() {
        let rules = "- {action: labelmap, regex: __meta_kubernetes_pod_annotation_(.+)}\n";
        let many: serde_json::Map<String, Value> =
            (0..4000).map(|n| (format!("x/{n:04}"), json!("v".repeat(60)))).collect();
        let Object { pod, left_out, .. } = object(&interest("", rules), json!({"annotations": many}));
        let pod = pod.unwrap();
        let bytes: usize = pod.meta.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes}");
        assert_eq!(pod.meta.len() + left_out, 4000);

        let long = json!({"annotations": {"pilcrow.dev/drop": "ü".repeat(100_000)}});
        let asked = self::pod(&interest("", ""), long).asked;
        let length = asked[0].1.len();
        assert!(length > ANNOTATION_BYTES_MAX && length <= ANNOTATION_BYTES_MAX + 4, "{length}");
    }

    #[test]
    fn a_pod_is_left_out_by_its_annotation_or_by_the_selector() {
        let tier = |tier: &str| json!({"labels": {"tier": tier}});
        let web = interest("tier=web", "");
        assert_eq!(pod(&web, tier("web")).exclusion, None);
        assert_eq!(pod(&web, tier("db")).exclusion, Some(PodExclusion::Selector));
        let annotated = |value: &str| json!({"labels": {"tier": "web"}, "annotations": {EXCLUDE: value}});
        assert_eq!(pod(&web, annotated("true")).exclusion, Some(PodExclusion::Annotation));
        assert_eq!(pod(&web, annotated("false")).exclusion, None);
    }
}
