//! One pod: what is kept of its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{ResourceExt, core::PartialObjectMeta};

use super::Selector;
use crate::{config::AnnotationKey, model::PodName, pipeline::relabel};

/// What the names of Pilcrow's annotations begin with.
const PREFIX: &str = "pilcrow.dev/";

/// The annotation that excludes a pod's logs; its value is `true`.
const EXCLUDE: &str = "pilcrow.dev/exclude";

/// The annotations of a static pod's mirror (kubernetes pkg/kubelet/types, `ConfigHashAnnotationKey` and
/// `ConfigMirrorAnnotationKey`). The first is the static pod's UID, and so stands in the name of its log folder.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

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

impl PodMetadata {
    /// `None` where the object has no UID, which no stored one lacks.
    pub(super) fn of<K>(pod: &PartialObjectMeta<K>, interest: &Interest) -> Option<Self>
    where
        PartialObjectMeta<K>: kube::Resource,
    {
        let uid = static_pod_uid(pod).map_or_else(|| pod.uid(), |uid| Some(uid.to_owned()))?;
        let name = PodName { namespace: pod.namespace().unwrap_or_default(), pod: pod.name_any(), uid };
        let is_excluded = pod.annotations().get(EXCLUDE).is_some_and(|value| value == "true");
        let exclusion = if is_excluded {
            Some(PodExclusion::Annotation)
        } else {
            (!interest.selector.matches(pod.labels())).then_some(PodExclusion::Selector)
        };
        let (meta, asked) = (meta(pod, &interest.rules), asked(pod, &interest.annotations));
        Some(Self { folder: name.folder_name().into(), meta, exclusion, asked })
    }
}

fn asked<K>(pod: &PartialObjectMeta<K>, allowed: &[AnnotationKey]) -> Box<[(Box<str>, Box<str>)]>
where
    PartialObjectMeta<K>: kube::Resource,
{
    let ours = pod.annotations().iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)));
    let is_allowed = |name: &str| {
        let key = name.split_once('.').map_or(name, |(key, _)| key);
        allowed.iter().any(|allowed| allowed.name() == key)
    };
    ours.filter(|(name, _)| is_allowed(name)).map(|(name, value)| (name.into(), value.as_str().into())).collect()
}

/// The UID in the name of a static pod's log folder, where the pod is its mirror. A pod may have any annotations: only the
/// kubelet makes mirrors, and the node is their owner.
fn static_pod_uid<K>(pod: &PartialObjectMeta<K>) -> Option<&str>
where
    PartialObjectMeta<K>: kube::Resource,
{
    let is_mirror = pod.annotations().contains_key(CONFIG_MIRROR)
        || pod.owner_references().iter().any(|owner| owner.kind == "Node" && owner.api_version == "v1");
    pod.annotations().get(CONFIG_HASH).filter(|hash| is_mirror && !hash.is_empty()).map(String::as_str)
}

fn meta<K>(pod: &PartialObjectMeta<K>, rules: &relabel::Relabel) -> Box<[(Box<str>, Box<str>)]>
where
    PartialObjectMeta<K>: kube::Resource,
{
    let mut meta: Vec<(Box<str>, Box<str>)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() && rules.reads(name) {
            meta.push((name.into(), value.into()));
        }
    };
    let labels = pod.labels().iter().map(|(name, value)| (relabel::label_names(name), value));
    let annotations = pod.annotations().iter().map(|(name, value)| (relabel::annotation_names(name), value));
    for ([by_value, by_presence], value) in labels.chain(annotations) {
        add(&by_value, value);
        add(&by_presence, "true");
    }
    if let Some(OwnerReference { kind, name, .. }) =
        pod.owner_references().iter().find(|owner| owner.controller == Some(true))
    {
        let [kind_name, name_name] = relabel::controller_names();
        add(kind_name, kind);
        add(name_name, name);
    }
    meta.sort();
    meta.into()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

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
        let mut metadata = json!({"name": "p", "namespace": "ns", "uid": "u"});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        PodMetadata::of(&serde_json::from_value::<PartialObjectMeta<Pod>>(object).unwrap(), interest).unwrap()
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
