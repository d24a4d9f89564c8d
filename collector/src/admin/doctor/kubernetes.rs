//! Whether the Kubernetes API gives this node's pods.

use super::{Finding, Status};
use crate::{
    config::{Enabled, Kubernetes},
    source::kubernetes::Probe,
};

pub(super) fn examine(config: &Kubernetes, probe: &Probe) -> Finding {
    let finding = |status, found: String, fix: String| Finding {
        section: "kubernetes",
        check: "api",
        status,
        found,
        fix: (!fix.is_empty()).then_some(fix),
    };
    match probe {
        Probe::Off => finding(Status::Ok, "not used, as configured: lines have no label app".into(), String::new()),
        Probe::Impossible(impossible) => {
            let status = if config.enabled == Enabled::True { Status::Fail } else { Status::Warn };
            finding(status, format!("cannot be used: {}", impossible.reason), impossible.fix.into())
        }
        Probe::Refused { server, problem } => {
            finding(Status::Warn, format!("{server} {}; lines have no label app", problem.what), problem.fix.into())
        }
        Probe::Answered { server, node, pods: 0 } => finding(
            Status::Warn,
            format!("{server} lists no pods on the node {node}"),
            "is that the node's name? `kubectl get nodes` has them; set kubernetes.node_name or NODE_NAME".into(),
        ),
        Probe::Answered { server, node, pods } => {
            finding(Status::Ok, format!("{server} lists {pods} pods of the node {node}"), String::new())
        }
    }
}
