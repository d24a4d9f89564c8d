//! The values of a chart that say how the collector runs, and not what it collects.
//!
//! In: values of Promtail's, Alloy's or the Agent's chart. Out: [`Setting`]s of Pilcrow's chart, or findings. What Pilcrow's chart
//! does by itself is named.

use super::origin::{Finding, Kind, Origin, Pair, Setting, Tree, Value};

/// Values that have the same name and meaning in Pilcrow's chart.
const SAME: [&str; 12] = [
    "affinity",
    "extraEnv",
    "extraVolumeMounts",
    "extraVolumes",
    "imagePullSecrets",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "priorityClassName",
    "resources",
    "tolerations",
    "updateStrategy",
];

/// Values whose part Pilcrow's chart plays itself, and how.
const BY_ITSELF: [(&str, &str); 21] = [
    ("image", "Pilcrow has an image of its own (image.repository)"),
    ("global", "Pilcrow has an image of its own (image.repository)"),
    ("fullnameOverride", "a name of its own (fullnameOverride)"),
    ("nameOverride", "a name of its own (nameOverride)"),
    ("rbac", "a ClusterRole of its own, for pods only (rbac.create)"),
    ("serviceAccount", "a service account of its own (serviceAccount.create)"),
    ("podSecurityPolicy", "Kubernetes has no such policies any more"),
    ("livenessProbe", "probes of its own"),
    ("readinessProbe", "probes of its own"),
    ("startupProbe", "probes of its own"),
    ("podSecurityContext", "few capabilities instead of root (securityContext.capabilities)"),
    ("containerSecurityContext", "few capabilities instead of root (securityContext.capabilities)"),
    ("defaultVolumeMounts", "mounts /var/log and its own folder for positions (hostPaths)"),
    ("hostNetwork", "needs no host network"),
    ("networkPolicy", "a policy of its own is not needed"),
    ("daemonset", "is always a DaemonSet"),
    ("enabled", "is its own release"),
    ("presets", "is always a DaemonSet, and reads files"),
    ("secret", "the configuration is in a ConfigMap"),
    ("sidecar", "is restarted when its configuration changes (rollOnConfigChange)"),
    ("crds", "needs no objects of its own in the cluster"),
];

/// Values of Alloy's or the Agent's chart: those of the container lie in a group of their own, those of the pod in another.
/// `prefix`: where they stand, `alloy-logs.`.
pub fn of_alloy(values: &Tree, prefix: &str, origin: &mut Origin) {
    let storage = Storage::of(values);
    if let Some(storage) = &storage {
        origin.positions_folder = Some(storage.folder.clone());
    }
    read(values, prefix, &["alloy", "agent", "controller"], origin);
    for (group, others) in
        [("alloy", OF_ALLOY), ("agent", OF_ALLOY), ("controller", &["type", "podDisruptionBudget", "volumes"][..])]
    {
        let Some(pair) = values.get(group) else { continue };
        let group = &format!("{prefix}{group}");
        read(&pair.value, &format!("{group}."), others, origin);
        for own in pair.value.pairs().iter().filter(|own| others.contains(&own.key.as_str())) {
            of_alloy_own(group, own, storage.as_ref(), origin);
        }
    }
}

/// What Alloy's storage path is mounted from, which has its positions.
struct Storage {
    /// The name of the volume.
    volume: String,
    /// The folder of the nodes.
    folder: Tree,
}

impl Storage {
    fn of(values: &Tree) -> Option<Self> {
        let text =
            |tree: &Tree, key: &str| tree.get(key)?.value.as_text().map(|text| text.trim_end_matches('/').to_owned());
        let own = ["alloy", "agent"].into_iter().find_map(|group| Some((group, &values.get(group)?.value)));
        let (group, own) = own?;
        let path = text(own, "storagePath").unwrap_or_else(|| format!("/tmp/{group}"));
        let mounts = own.get("mounts")?.value.get("extra")?.value.items();
        let mount = mounts.iter().find(|mount| text(mount, "mountPath").is_some_and(|mounted| mounted == path))?;
        let volume = text(mount, "name")?;
        let volumes = values.get("controller")?.value.get("volumes")?.value.get("extra")?.value.items();
        let found = volumes.iter().find(|item| text(item, "name").as_ref() == Some(&volume))?;
        let folder = found.get("hostPath")?.value.get("path")?.value.clone();
        Some(Self { volume, folder })
    }
}

/// A list without the volume, or its mount, that holds Alloy's positions.
fn without(storage: Option<&Storage>, list: &Tree, what: &str, origin: &mut Origin) -> Tree {
    let Some(storage) = storage else { return list.clone() };
    let is_it = |item: &&Tree| item.get("name").is_some_and(|pair| pair.value.as_text() == Some(&storage.volume));
    let (own, others): (Vec<&Tree>, Vec<&Tree>) = list.items().iter().partition(is_it);
    for item in own {
        origin.taken(&item.place, what, "migrate.path: it holds Alloy's positions, which are taken over");
    }
    Tree { place: list.place.clone(), value: Value::List(others.into_iter().cloned().collect()) }
}

/// Values in the group of the container that have no counterpart of the same name.
const OF_ALLOY: &[&str] = &[
    "configMap",
    "mounts",
    "clustering",
    "storagePath",
    "listenAddr",
    "listenPort",
    "mode",
    "securityContext",
    "stabilityLevel",
];

fn of_alloy_own(group: &str, pair: &Pair, storage: Option<&Storage>, origin: &mut Origin) {
    let what = format!("{group}.{}", pair.key);
    match pair.key.as_str() {
        "configMap" | "mode" => {}
        "mounts" => {
            origin.taken(&pair.place, &what, "mounted by Pilcrow's chart itself (hostPaths.logs, hostPaths.docker)");
            if let Some(extra) = pair.value.get("extra") {
                let what = format!("{what}.extra");
                let others = without(storage, &extra.value, &what, origin);
                volumes("extraVolumeMounts", &what, &others, origin);
            }
        }
        "volumes" => {
            if let Some(extra) = pair.value.get("extra") {
                let what = format!("{what}.extra");
                let others = without(storage, &extra.value, &what, origin);
                volumes("extraVolumes", &what, &others, origin);
            }
        }
        "type" if pair.value.as_text() == Some("daemonset") => {
            origin.taken(&pair.place, &what, "Pilcrow is a DaemonSet")
        }
        "type" => origin.changed(&pair.place, &what, "Pilcrow is a DaemonSet: it reads the files of its own node"),
        "clustering" => {
            origin.changed(&pair.place, &what, "each node reads its own files, so that there is nothing to share out")
        }
        "storagePath" => {
            origin.changed(&pair.place, &what, "Pilcrow keeps positions in hostPaths.state, which outlives the pod")
        }
        "listenPort" => {
            origin.taken(&pair.place, &what, "port");
            push(origin, "port", pair.value.clone(), &what);
        }
        _ => origin.taken(&pair.place, &what, "Pilcrow's chart: has its own"),
    }
}

/// Reads the values at this level, but those that `read` names, which the caller reads. `prefix`: where they stand, `alloy.`.
pub fn read(values: &Tree, prefix: &str, read: &[&str], origin: &mut Origin) {
    for pair in values.pairs().iter().filter(|pair| pair.value.value != Value::Nothing) {
        let key = pair.key.as_str();
        let what = format!("{prefix}{key}");
        if read.contains(&key) || key == "extraConfig" && is_empty(&pair.value) {
            continue;
        }
        if SAME.contains(&key) {
            same(key, &what, &pair.value, origin);
        } else if let Some((_, how)) = BY_ITSELF.iter().find(|(name, _)| *name == key) {
            origin.taken(&pair.place, &what, format!("Pilcrow's chart: {how}"));
        } else if key == "defaultVolumes" {
            default_volumes(&pair.value, &what, origin);
        } else if key == "extraEnvFrom" || key == "envFrom" {
            env_from(pair, &what, origin);
        } else if key == "extraConfig" {
            let text = "is a configuration in Alloy's language and not read here: write it into a file, and convert that by itself";
            origin.not_possible(&pair.place, &what, text);
        } else if key == "serviceMonitor" {
            if pair.value.get("enabled").and_then(|pair| pair.value.as_text()) == Some("true") {
                service_monitor(&pair.value, &what, origin);
            }
        } else if pair.value.get("enabled").and_then(|pair| pair.value.as_text()) == Some("false") {
            origin.taken(&pair.place, &what, "off, as in Pilcrow's chart, which has no such value");
        } else {
            let text = "Pilcrow's chart has no such value; see its values.yaml for what there is";
            origin.changed(&pair.place, &what, text);
        }
    }
}

/// Where Promtail's chart mounts its folders from, by the names of its volumes, with the folder that Pilcrow's chart has for each.
const DEFAULT_VOLUMES: [(&str, &str); 3] =
    [("pods", "/var/log/pods"), ("run", "/run/promtail"), ("containers", "/var/lib/docker/containers")];

/// The volumes that Promtail's chart has by default, which may be mounted from elsewhere.
fn default_volumes(value: &Tree, what: &str, origin: &mut Origin) {
    for item in value.items() {
        let text = |pair: Option<&Pair>| pair.and_then(|pair| pair.value.as_text()).unwrap_or("").to_owned();
        let name = text(item.get("name"));
        let path = text(item.get("hostPath").and_then(|pair| pair.value.get("path")));
        let path = path.trim_end_matches('/');
        let what = format!("{what}.{name}");
        match DEFAULT_VOLUMES.iter().find(|(known, _)| *known == name) {
            Some((_, usual)) if path == *usual => {
                origin.taken(&item.place, &what, "mounted by Pilcrow's chart itself (hostPaths)");
            }
            Some(("run", _)) if !path.is_empty() => {
                origin.taken(&item.place, &what, "migrate.path, the folder of the nodes with its positions");
                origin.positions_folder = Some(Tree::text(&item.place, path));
            }
            Some(("pods", _)) if !path.is_empty() => {
                origin.changed(&item.place, &what, "paths.pods, as this kubelet has another folder for logs");
                origin.settings.push(Setting::new("paths.pods", Tree::text(&item.place, path), &what));
            }
            Some(("containers", _)) if !path.is_empty() => {
                origin.taken(&item.place, &what, "hostPaths.docker");
                push(origin, "hostPaths.docker", Tree::text(&item.place, path), &what);
            }
            _ => {
                let text = "is not one of the chart's own volumes, or of another kind: see hostPaths and extraVolumes of Pilcrow's chart";
                origin.not_possible(&item.place, &what, text);
            }
        }
    }
}

/// Variables that come from a whole Secret or ConfigMap.
fn env_from(pair: &Pair, what: &str, origin: &mut Origin) {
    if is_empty(&pair.value) {
        return;
    }
    let source = |item: &Tree| {
        let pair = item.pairs().iter().find(|pair| pair.key.ends_with("Ref"))?;
        let name = pair.value.get("name")?.value.as_text()?.to_owned();
        Some(format!("{} {name}", if pair.key.starts_with("secret") { "Secret" } else { "ConfigMap" }))
    };
    let names: Vec<String> = pair.value.items().iter().filter_map(source).collect();
    let names = if names.is_empty() { "it".to_owned() } else { format!("the {}", names.join(", the ")) };
    let text = format!(
        "Pilcrow's chart takes no whole Secret for variables: name each one that the configuration uses in extraEnv, with valueFrom and a \
         key of {names}, which has to be in Pilcrow's namespace"
    );
    origin.not_possible(&pair.place, what, text);
}

/// What asks Prometheus to scrape the collector.
fn service_monitor(group: &Tree, what: &str, origin: &mut Origin) {
    for pair in group.pairs().iter().filter(|pair| !is_empty(&pair.value)) {
        let what = format!("{what}.{}", pair.key);
        let new = match pair.key.as_str() {
            "enabled" => "serviceMonitor.enabled",
            "interval" => "serviceMonitor.interval",
            // Of Alloy's chart.
            "labels" | "additionalLabels" => "serviceMonitor.labels",
            _ => {
                origin.changed(
                    &pair.place,
                    &what,
                    "Pilcrow's chart has no such value; its serviceMonitor has interval and labels",
                );
                continue;
            }
        };
        let text = if pair.key == "enabled" { format!("{new}, with Pilcrow's own metrics") } else { new.to_owned() };
        origin.taken(&pair.place, &what, text);
        push(origin, new, pair.value.clone(), &what);
    }
}

fn is_empty(value: &Tree) -> bool {
    match &value.value {
        Value::List(items) => items.is_empty(),
        Value::Group(pairs) => pairs.is_empty(),
        Value::Text(text) => text.is_empty(),
        Value::Nothing => true,
    }
}

fn push(origin: &mut Origin, key: &str, value: Tree, from: &str) {
    origin.chart.push(Setting::new(key, value, from));
}

fn same(key: &str, what: &str, value: &Tree, origin: &mut Origin) {
    if is_empty(value) {
        return;
    }
    match key {
        "extraVolumes" | "extraVolumeMounts" => volumes(key, what, value, origin),
        "resources" => {
            let text = "resources, as they are; Pilcrow's own (10m, 24Mi, limit 64Mi) are enough for most nodes";
            origin.taken(&value.place, what, text);
            push(origin, key, value.clone(), what);
        }
        _ => {
            origin.taken(&value.place, what, key);
            push(origin, key, value.clone(), what);
        }
    }
}

/// Volumes but those that Pilcrow's chart mounts itself.
fn volumes(key: &str, what: &str, value: &Tree, origin: &mut Origin) {
    let own = |item: &Tree| {
        let path = item.get("hostPath").and_then(|pair| pair.value.get("path")).or(item.get("mountPath"));
        let path = path.and_then(|pair| pair.value.as_text()).unwrap_or("").trim_end_matches('/').to_owned();
        path.starts_with("/var/log/")
            || ["/var/log", "/var/lib/docker/containers", "/run/promtail"].contains(&path.as_str())
    };
    let (own, others): (Vec<&Tree>, Vec<&Tree>) = value.items().iter().partition(|item| own(item));
    for item in own {
        origin.findings.push(Finding::new(
            Kind::Taken,
            &item.place,
            what,
            "mounted by Pilcrow's chart itself (hostPaths)",
        ));
    }
    if !others.is_empty() {
        origin.taken(&value.place, what, key);
        let list = Value::List(others.into_iter().cloned().collect());
        push(origin, key, Tree { place: value.place.clone(), value: list }, what);
    }
}
