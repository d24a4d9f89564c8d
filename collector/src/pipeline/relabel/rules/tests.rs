//! From what is known of a container to its labels: the built-in rules, those of a configuration, what comes out at the end.

use proptest::prelude::*;

use super::*;
use crate::model::PodName;

fn relabel(yaml: &str, defaults: bool) -> Relabel {
    let config = Config {
        labels: [("cluster".to_owned(), "home-k8s".to_owned()), ("none".to_owned(), String::new())].into(),
        relabel_configs: RelabelConfig::list(yaml),
        relabel_defaults: defaults,
        ..Config::default()
    };
    Relabel::new(&config).unwrap()
}

fn outcome(relabel: &Relabel, from_api: &[(&str, &str)]) -> Outcome {
    let pod = PodName { namespace: "default".into(), pod: "nginx-1".into(), uid: "467433c9".into() };
    let from_api: Vec<_> = from_api.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    relabel.apply(&Target { pod: &pod, container: "nginx", folder: "/f", stream: "stderr", from_api: &from_api })
}

#[track_caller]
fn kept(relabel: &Relabel, from_api: &[(&str, &str)]) -> Relabelled {
    match outcome(relabel, from_api) {
        Outcome::Keep(relabelled) => relabelled,
        Outcome::Drop { is_final, .. } => panic!("dropped, final: {is_final}"),
    }
}

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

const APP: &str = "__meta_kubernetes_pod_label_app_kubernetes_io_name";
const TIER: &str = "__meta_kubernetes_pod_label_tier";

#[test]
fn the_built_in_rules_are_good_ones_and_each_of_them_counts() {
    for preset in [Preset::None, Preset::PromtailChart, Preset::K8sMonitoring] {
        let items = built_in_yaml(preset).lines().filter(|line| line.starts_with("- ")).count();
        assert_eq!(built_in(preset).len(), items, "{}", preset.name());
        assert!(built_in(preset).iter().all(|rule| Rule::new(rule).is_ok()), "{}", preset.name());
    }
}

proptest! {
    #[test]
    fn the_built_in_rules_make_the_seven_labels_and_no_other(
        namespace in "[a-z0-9-]{1,20}",
        pod in "[a-z0-9.-]{1,30}",
        container in "[a-z0-9-]{1,20}",
        app in "([A-Za-z0-9][A-Za-z0-9._-]{0,20})?",
        is_stderr: bool,
        others in prop::collection::vec(("[a-z_]{1,12}", ".{0,12}"), 0..5),
    ) {
        let name = PodName { namespace: namespace.clone(), pod: pod.clone(), uid: "u".into() };
        let stream = if is_stderr { "stderr" } else { "stdout" };
        let others = others.into_iter().map(|(name, value)| (format!("__meta_kubernetes_pod_label_{name}"), value));
        let from_api: Vec<(Box<str>, Box<str>)> =
            others.chain([(APP.to_owned(), app.clone())]).map(|(name, value)| (name.into(), value.into())).collect();
        let target =
            Target { pod: &name, container: &container, folder: "/f", stream, from_api: &from_api };
        let job = format!("{namespace}/{container}");
        let all = [
            ("app", app.as_str()), ("cluster", "home-k8s"), ("container", &container), ("job", &job),
            ("namespace", &namespace), ("pod", &pod), ("stream", stream),
        ];
        let expected: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let Outcome::Keep(relabelled) = relabel("", true).apply(&target) else { panic!("dropped") };
        prop_assert_eq!(pairs(&relabelled.labels), expected);
        prop_assert!(relabelled.metadata.is_empty() && relabelled.problem().is_none());
        prop_assert_eq!(&*relabelled.encoded().metadata, &[] as &[u8]);
    }
}

#[test]
fn the_rules_of_a_configuration_come_after_the_built_in_ones_or_in_their_place() {
    let rules = "- {source_labels: [pod], regex: '([a-z]+)-.*', target_label: workload}\n\
                 - {action: labeldrop, regex: pod|job}\n";
    let relabelled = kept(&relabel(rules, true), &[(APP, "nginx")]);
    let expected = [
        ("app", "nginx"),
        ("cluster", "home-k8s"),
        ("container", "nginx"),
        ("namespace", "default"),
        ("stream", "stderr"),
        ("workload", "nginx"),
    ];
    assert_eq!(pairs(&relabelled.labels), expected);
    let rules = "- {source_labels: [__meta_kubernetes_pod_name], target_label: instance}\n\
                 - {source_labels: [__path__], target_label: filename}\n";
    let relabelled = kept(&relabel(rules, false), &[(APP, "nginx")]);
    let expected = [("cluster", "home-k8s"), ("filename", "/f/*.log"), ("instance", "nginx-1")];
    assert_eq!(pairs(&relabelled.labels), expected);
}

#[test]
fn labels_with_two_underscores_in_front_end_here_and_those_of_the_reserved_prefix_become_structured_metadata() {
    let rules = "- {target_label: __tmp, replacement: x}\n\
                 - {source_labels: [__meta_kubernetes_pod_uid], target_label: __structured_metadata_pod_uid}\n\
                 - {action: labelmap, regex: '__meta_kubernetes_pod_label_(.+)', replacement: '__structured_metadata_$1'}\n\
                 - {target_label: __structured_metadata_, replacement: nameless}\n";
    let relabelled = kept(&relabel(rules, true), &[(TIER, "web")]);
    assert!(relabelled.labels.keys().all(|name| !name.starts_with('_')));
    assert_eq!(pairs(&relabelled.metadata), [("pod_uid", "467433c9"), ("tier", "web")]);
}

#[test]
fn a_mapped_name_that_loki_would_refuse_gets_an_underscore_in_front() {
    let rules = "- {action: labelmap, regex: '__meta_kubernetes_pod_label_(.+)'}\n";
    let relabelled = kept(&relabel(rules, true), &[("__meta_kubernetes_pod_label_1password_com_x", "y")]);
    assert_eq!(pairs(&relabelled.labels)[0], ("_1password_com_x", "y"));
}

#[test]
fn where_the_rules_leave_no_label_the_job_stands_in_and_that_is_reported() {
    let relabelled = kept(&relabel("- {action: labelkeep, regex: none}\n", true), &[]);
    assert_eq!(pairs(&relabelled.labels), [("job", "default/nginx")]);
    assert!(relabelled.problem().is_some_and(|problem| problem.contains("no label")));
}

#[test]
fn what_goes_over_a_limit_of_loki_is_reported() {
    let many: String = (0..9).map(|n| format!("- {{target_label: l{n}, replacement: x}}\n")).collect();
    let problem = kept(&relabel(&many, true), &[(APP, "nginx")]).problem();
    assert!(problem.as_ref().is_some_and(|problem| problem.starts_with("16 labels (app, cluster, ")), "{problem:?}");
    let long = format!("- {{target_label: l, replacement: {}}}\n", "x".repeat(2049));
    let problem = kept(&relabel(&long, true), &[]).problem();
    assert!(problem.as_ref().is_some_and(|problem| problem.starts_with("the label l is longer")), "{problem:?}");
    let huge = format!("- {{target_label: __structured_metadata_l, replacement: {}}}\n", "x".repeat(65 << 10));
    let problem = kept(&relabel(&huge, true), &[]).problem();
    assert!(problem.as_ref().is_some_and(|problem| problem.starts_with("structured metadata of 1 ")), "{problem:?}");
}

#[test]
fn a_drop_is_final_unless_it_hangs_on_what_the_api_may_still_say() {
    for (rules, is_final) in [
        ("- {action: drop, source_labels: [__meta_kubernetes_namespace], regex: default}\n", true),
        ("- {action: drop, source_labels: [namespace], regex: default}\n", true),
        ("- {action: keep, source_labels: [__meta_kubernetes_pod_label_tier], regex: web}\n", false),
        ("- {action: drop, source_labels: [app], regex: ''}\n", false),
        (
            "- {source_labels: [__meta_kubernetes_pod_label_tier, namespace], target_label: __tmp}\n\
             - {action: drop, source_labels: [__tmp], regex: ';default'}\n",
            false,
        ),
        (
            "- {action: labelmap, regex: '__meta_kubernetes_pod_label_(.+)'}\n\
             - {action: drop, source_labels: [__meta_kubernetes_namespace], regex: default}\n",
            true,
        ),
        (
            "- {action: labelmap, regex: '__meta_kubernetes_pod_label_(.+)'}\n\
             - {action: keep, source_labels: [tier], regex: web}\n",
            false,
        ),
        ("- {action: keepequal, source_labels: [namespace], target_label: app}\n", false),
    ] {
        let Outcome::Drop { is_final: this_one, .. } = outcome(&relabel(rules, true), &[]) else { panic!("{rules}") };
        assert_eq!(this_one, is_final, "{rules}");
    }
}

#[test]
fn service_name_is_the_annotation_else_the_first_label_of_lokis_list_and_a_rules_own_wins() {
    let named = |yaml: &str, defaults, from_api: &[(&str, &str)]| {
        let relabel = Relabel { names_services: true, ..relabel(yaml, defaults) };
        kept(&relabel, from_api).labels.remove("service_name").unwrap()
    };
    let annotation = (service_name::ANNOTATION, "shop");
    assert_eq!(named("", true, &[(APP, "web"), annotation]), "shop");
    assert_eq!(named("", true, &[(APP, "web")]), "web");
    assert_eq!(named("", true, &[]), "nginx");
    assert_eq!(named("- {target_label: service, replacement: first}", true, &[(APP, "web")]), "first");
    assert_eq!(named("- {action: labeldrop, regex: container|job}", true, &[]), "unknown_service");
    let own = "- {target_label: service_name, replacement: mine}";
    assert_eq!(named(own, true, &[(APP, "web"), annotation]), "mine");
    // The label that stands in where rules leave none counts, too.
    assert_eq!(named("- {action: labeldrop, regex: cluster|none}", false, &[]), "default/nginx");
    let with = Relabel { names_services: true, ..relabel("", true) };
    let without = relabel("", true);
    assert!(with.reads(service_name::ANNOTATION) && !without.reads(service_name::ANNOTATION));
    assert!(!kept(&without, &[]).labels.contains_key("service_name"));
}

#[test]
fn the_label_service_name_does_not_count_among_those_that_loki_accepts() {
    let rules = (0..8).map(|n| format!("- {{target_label: l{n}, replacement: x}}\n")).collect::<String>();
    let labels = Relabel { names_services: true, ..relabel(&rules, true) };
    let kept = kept(&labels, &[(APP, "web")]);
    assert_eq!((kept.labels.len(), kept.problem()), (LABELS_MAX + 1, None));
}
