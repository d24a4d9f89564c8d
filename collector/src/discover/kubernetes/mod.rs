//! What the Kubernetes API knows of this node's pods and their paths do not say.
//!
//! In: the metadata of this node's pods, by a watch ([`follow`]). Out: [`PodUpdate`]s, small and in order; no whole object is
//! kept. Guarantees that an update follows for every pod that is there once the API answers, however long it was away, and
//! that every pod that vanished meanwhile is seen to be missing in a list. Never fails: trouble is said, counted and
//! tried again. Knows no containers, files or labels of Loki.

mod access;
mod trouble;
mod watch;

use kube::{ResourceExt, core::PartialObjectMeta};

pub use access::{Access, Impossible, Origin, Probe, open, probe};
pub use trouble::Trouble;
pub use watch::{Updates, follow};

/// The pod label that Loki's label `app` is made of (one of the recommended labels of kubernetes.io).
const APP: &str = "app.kubernetes.io/name";

/// The annotation of a static pod's mirror that is the static pod's UID, and so stands in the name of its log folder
/// (kubernetes pkg/kubelet/types, `ConfigHashAnnotationKey`).
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// What is used of a pod's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMetadata {
    /// `metadata.uid`.
    pub uid: String,
    /// The annotation `kubernetes.io/config.hash`: the UID in the folder names of a static pod.
    pub config_hash: Option<String>,
    /// The label `app.kubernetes.io/name`.
    pub app: Option<String>,
}

/// News of this node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodUpdate {
    /// Every pod that is there follows as [`PodUpdate::Known`].
    ListBegins,
    /// A pod as it is now.
    Known(PodMetadata),
    /// A pod that was deleted.
    Gone(PodMetadata),
    /// Pods that were not among those since [`PodUpdate::ListBegins`] are no more.
    ListEnds,
}

impl PodMetadata {
    /// `None` where the object has no UID, which no stored one lacks.
    fn of<K>(pod: &PartialObjectMeta<K>) -> Option<Self>
    where
        PartialObjectMeta<K>: kube::Resource,
    {
        let not_empty = |value: &String| (!value.is_empty()).then(|| value.clone());
        Some(Self {
            uid: pod.uid()?,
            config_hash: pod.annotations().get(CONFIG_HASH).and_then(not_empty),
            app: pod.labels().get(APP).and_then(not_empty),
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn metadata(json: serde_json::Value) -> Option<PodMetadata> {
        let object =
            serde_json::json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": json});
        PodMetadata::of(&serde_json::from_value::<PartialObjectMeta<Pod>>(object).unwrap())
    }

    #[test]
    fn a_pod_gives_its_uid_and_app_and_a_mirror_pod_its_hash_too() {
        let pod = metadata(serde_json::json!({"uid": "u", "labels": {APP: "nginx", "app": "other"}}));
        assert_eq!(pod, Some(PodMetadata { uid: "u".into(), config_hash: None, app: Some("nginx".into()) }));
        let mirror = metadata(serde_json::json!({"uid": "u", "annotations": {CONFIG_HASH: "h"}}));
        assert_eq!(mirror, Some(PodMetadata { uid: "u".into(), config_hash: Some("h".into()), app: None }));
    }

    #[test]
    fn an_empty_label_is_none_and_an_object_without_uid_is_no_pod() {
        assert_eq!(metadata(serde_json::json!({"uid": "u", "labels": {APP: ""}})).unwrap().app, None);
        assert_eq!(metadata(serde_json::json!({"name": "p"})), None);
    }
}
