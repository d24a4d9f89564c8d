//! A container of a Kubernetes manifest as the kubelet hands it to the runtime.
//!
//! In: the pod template of a DaemonSet, as JSON. Out: a [`ContainerConfig`] with the image, arguments, environment, mounts,
//! capabilities and limits that the manifest says. A field that a manifest of ours does not use is not known here.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::NAMESPACES;
use crate::cri::api::{
    Capability, ContainerConfig, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, Mount, SecurityProfile, profile_type,
};

/// Of pkg/securitycontext/util.go of Kubernetes.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The first container of a pod. Volumes that are folders of the node are made if need be; every ConfigMap is the folder
/// `config_map`.
pub fn container(pod: &Value, config_map: &Path, node: &str) -> anyhow::Result<ContainerConfig> {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    ensure!(security["allowPrivilegeEscalation"] == false, "the container may gain privileges");
    let limits = &container["resources"]["limits"];
    Ok(ContainerConfig {
        image: Some(ImageSpec { image: container["image"].as_str().context("no image")?.to_owned() }),
        args: words(&container["args"]),
        envs: environment(container, node),
        mounts: mounts(pod, container, config_map)?,
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources { memory_limit_in_bytes: mebibytes(&limits["memory"])? << 20 }),
            security_context: Some(LinuxContainerSecurityContext {
                capabilities: Some(Capability {
                    add_capabilities: words(&security["capabilities"]["add"]),
                    drop_capabilities: words(&security["capabilities"]["drop"]),
                }),
                privileged: security["privileged"] == true,
                namespace_options: Some(NAMESPACES),
                run_as_user: security["runAsUser"].as_i64().map(|value| Int64Value { value }),
                run_as_group: security["runAsGroup"].as_i64().map(|value| Int64Value { value }),
                readonly_rootfs: security["readOnlyRootFilesystem"] == true,
                no_new_privs: true,
                masked_paths: MASKED.map(str::to_owned).to_vec(),
                readonly_paths: READ_ONLY.map(str::to_owned).to_vec(),
                seccomp: Some(SecurityProfile { profile_type: seccomp(security)? }),
            }),
        }),
        ..ContainerConfig::default()
    })
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn environment(container: &Value, node: &str) -> Vec<KeyValue> {
    let variable = |variable: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let is_node = variable["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName";
        KeyValue {
            key: text(&variable["name"]),
            value: if is_node { node.to_owned() } else { text(&variable["value"]) },
        }
    };
    container["env"].as_array().into_iter().flatten().map(variable).collect()
}

fn mounts(pod: &Value, container: &Value, config_map: &Path) -> anyhow::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().context("no mounts")? {
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let volume = volumes.into_iter().find(|volume| volume["name"] == mount["name"]);
        let volume = volume.with_context(|| format!("there is no volume {}", mount["name"]))?;
        let host_path = match volume["hostPath"]["path"].as_str() {
            Some(path) => path.to_owned(),
            None => config_map.display().to_string(),
        };
        if volume["hostPath"]["type"] == "DirectoryOrCreate" {
            fs::create_dir_all(&host_path)?;
        }
        mounts.push(Mount {
            container_path: mount["mountPath"].as_str().context("a mount without path")?.to_owned(),
            host_path,
            readonly: mount["readOnly"] == true,
        });
    }
    Ok(mounts)
}

/// `64Mi`.
fn mebibytes(limit: &Value) -> anyhow::Result<i64> {
    let text = limit.as_str().context("no memory limit")?;
    text.strip_suffix("Mi").and_then(|number| number.parse().ok()).with_context(|| format!("a limit of {text}"))
}

fn seccomp(security: &Value) -> anyhow::Result<i32> {
    let kind = &security["seccompProfile"]["type"];
    ensure!(
        *kind == json!("Unconfined") || *kind == json!("RuntimeDefault"),
        "the seccomp profile {kind} is not known"
    );
    Ok(if kind == "Unconfined" { profile_type::UNCONFINED } else { profile_type::RUNTIME_DEFAULT })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(folder: &Path) -> Value {
        json!({
            "containers": [{
                "image": "localhost/pilcrow:1",
                "args": ["run", "--config", "/etc/pilcrow/pilcrow.yaml"],
                "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                        {"name": "X", "value": "y"}],
                "securityContext": {
                    "runAsUser": 0, "privileged": false, "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true, "seccompProfile": {"type": "Unconfined"},
                    "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON"]},
                },
                "resources": {"limits": {"memory": "64Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/pilcrow", "readOnly": true},
                                 {"name": "state", "mountPath": "/var/lib/pilcrow"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "pilcrow"}},
                        {"name": "state", "hostPath": {"path": folder.join("state"), "type": "DirectoryOrCreate"}}],
        })
    }

    #[test]
    fn the_runtime_is_told_what_the_manifest_says() {
        let folder = tempfile::tempdir().unwrap();
        let config = container(&pod(folder.path()), Path::new("/c"), "pi-3").unwrap();
        assert_eq!(config.args, ["run", "--config", "/etc/pilcrow/pilcrow.yaml"]);
        let variables: Vec<_> = config.envs.iter().map(|v| (v.key.as_str(), v.value.as_str())).collect();
        assert_eq!(variables, [("NODE_NAME", "pi-3"), ("X", "y")]);
        let mounts: Vec<_> = config.mounts.iter().map(|m| (m.host_path.as_str(), m.readonly)).collect();
        let state = folder.path().join("state");
        assert_eq!(mounts, [("/c", true), (state.to_str().unwrap(), false)]);
        assert!(state.is_dir());
        let linux = config.linux.unwrap();
        assert_eq!(linux.resources.unwrap().memory_limit_in_bytes, 64 << 20);
        let security = linux.security_context.unwrap();
        assert_eq!(security.capabilities.unwrap().add_capabilities, ["BPF", "PERFMON"]);
        assert_eq!(security.seccomp.unwrap().profile_type, profile_type::UNCONFINED);
        assert!(security.no_new_privs && security.readonly_rootfs && !security.privileged);
    }

    #[test]
    fn a_container_that_may_gain_privileges_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut pod = pod(folder.path());
        pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        assert!(container(&pod, Path::new("/c"), "pi-3").is_err());
    }
}
