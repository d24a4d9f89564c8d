//! What it costs to make a stream's labels by rules, once for each stream and change of its pod:
//! `cargo bench --package benches --bench relabel`.

use std::hint::black_box;

use collector::{
    config::{Config, RelabelConfig},
    model::PodName,
    pipeline::relabel::{Outcome, Relabel, Target, label_names},
};
use criterion::{Criterion, criterion_group, criterion_main};

/// Rules as people have them: a label, the Deployment's name, structured metadata of all pod labels, a namespace left out.
const RULES: &str = r"
- {source_labels: [__meta_kubernetes_pod_label_team], target_label: team}
- source_labels: [__meta_kubernetes_pod_controller_kind, __meta_kubernetes_pod_controller_name]
  regex: ReplicaSet;(.+)-[0-9a-f]+
  target_label: deployment
- {action: labelmap, regex: __meta_kubernetes_pod_label_(.+), replacement: __structured_metadata_$1}
- {source_labels: [__meta_kubernetes_namespace], regex: kube-system|kube-public, action: drop}
- {action: labeldrop, regex: job}
";

fn relabel(criterion: &mut Criterion) {
    let pod = PodName { namespace: "default".into(), pod: "nginx-6d9c6b5f4-x2x7k".into(), uid: "467433c9".into() };
    let labels = [("app.kubernetes.io/name", "nginx"), ("team", "blue"), ("pod-template-hash", "6d9c6b5f4")];
    let mut from_api: Vec<(Box<str>, Box<str>)> =
        labels.map(|(name, value)| (label_names(name)[0].as_str().into(), value.into())).into();
    from_api.push(("__meta_kubernetes_pod_controller_kind".into(), "ReplicaSet".into()));
    from_api.push(("__meta_kubernetes_pod_controller_name".into(), "nginx-6d9c6b5f4".into()));
    let target = Target {
        pod: &pod,
        container: "nginx",
        folder: "/var/log/pods/default_nginx-6d9c6b5f4-x2x7k_467433c9/nginx",
        stream: "stderr",
        from_api: &from_api,
    };
    for (name, rules) in [("the built-in rules", ""), ("five rules more", RULES)] {
        let config = Config { relabel_configs: RelabelConfig::list(rules), ..Config::default() };
        criterion.bench_function(&format!("compile {name}"), |b| b.iter(|| Relabel::new(black_box(&config)).is_ok()));
        let Ok(relabel) = Relabel::new(&config) else { panic!("{name} are no rules") };
        criterion.bench_function(&format!("one stream by {name}"), |b| {
            b.iter(|| match relabel.apply(black_box(&target)) {
                Outcome::Keep(relabelled) => relabelled.encoded().labels.len(),
                Outcome::Drop { .. } => 0,
            });
        });
    }
}

criterion_group!(benches, relabel);
criterion_main!(benches);
