//! The kubelet's folder names: /var/log/pods/NAMESPACE_POD_UID/CONTAINER (kubernetes pkg/kubelet/kuberuntime/helpers.go,
//! `BuildPodLogsDirectory`).

/// What the name of a pod's log folder says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Pod UID; for static pods the annotation kubernetes.io/config.hash.
    pub uid: String,
}

impl PodName {
    /// Parses `NAMESPACE_POD_UID`. None of the three may hold an underscore or be empty, so the split is unique.
    pub fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.split('_');
        let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || namespace.is_empty() || pod.is_empty() || uid.is_empty() {
            return None;
        }
        Some(Self { namespace: namespace.into(), pod: pod.into(), uid: uid.into() })
    }

    /// The name of the folder.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.pod, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_folder_gives_namespace_pod_and_uid() {
        let name = PodName::parse("ns--two_web-0.prod.v1.2.3_467433c9-ed7f-4e83-9600-6441503c1539").unwrap();
        assert_eq!(name.namespace, "ns--two");
        assert_eq!(name.pod, "web-0.prod.v1.2.3");
        assert_eq!(name.uid, "467433c9-ed7f-4e83-9600-6441503c1539");
        assert_eq!(name.folder_name(), "ns--two_web-0.prod.v1.2.3_467433c9-ed7f-4e83-9600-6441503c1539");
    }

    #[test]
    fn other_folders_are_no_pods() {
        for folder in ["", "lost+found", "a_b", "a__c", "_b_c", "a_b_", "a_b_c_d"] {
            assert_eq!(PodName::parse(folder), None, "{folder}");
        }
    }
}
