//! Whether the Kubernetes API gives this node's pods.

use super::{Finding, Status};
use crate::{
    config::{Enabled, Kubernetes},
    source::kubernetes::Probe,
};

pub(super) fn examine(config: &Kubernetes, probe: &Probe) -> Finding {
    let finding = |status, found: String, mend: String| Finding {
        section: "kubernetes",
        check: "api",
        status,
        found,
        mend: (!mend.is_empty()).then_some(mend),
    };
    match probe {
        Probe::Off => finding(Status::Ok, "not asked, as configured: lines have no label app".into(), String::new()),
        Probe::Impossible(impossible) => {
            let status = if config.enabled == Enabled::True { Status::Fail } else { Status::Warn };
            finding(status, format!("can not be asked: {}", impossible.reason), impossible.mend.into())
        }
        Probe::Refused { server, trouble } => {
            finding(Status::Warn, format!("{server} {}; lines have no label app", trouble.what), trouble.mend.into())
        }
        Probe::Answered { server, node, pods: 0 } => finding(
            Status::Warn,
            format!("{server} knows no pod on the node {node}"),
            "is that the node's name? `kubectl get nodes` has them; set kubernetes.node_name or NODE_NAME".into(),
        ),
        Probe::Answered { server, node, pods } => {
            finding(Status::Ok, format!("{server} lists {pods} pods of the node {node}"), String::new())
        }
    }
}
