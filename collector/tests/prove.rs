//! `pilcrow migrate --prove` on recorded logs: what differs is found, and nothing else.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
};

use collector::{
    admin::migrate::{
        self, Source,
        convert::{Draft, Options},
        prove::{Proof, Request},
    },
    compiled::Compiled,
    output::loki::{SeriesQuery, StreamLabels, series},
    source::kubernetes::PodMetadata,
};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The containerd logs that were recorded, below a folder of their own.
fn recorded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let archive = fs::File::open(tests().join("data/containerd-1.7.24.tar.gz")).unwrap();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(archive)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path: PathBuf = entry.path().unwrap().components().skip(1).collect();
        if !path.starts_with("pods") || !entry.header().entry_type().is_file() {
            continue;
        }
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::copy(&mut entry, &mut fs::File::create(path).unwrap()).unwrap();
    }
    folder
}

/// What the Kubernetes API would say: every pod is another case of what the charts' rules go by.
fn known(pods: &Path) -> Vec<PodMetadata> {
    let mut folders: Vec<String> =
        fs::read_dir(pods).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let cases: [&[(&str, &str)]; 5] = [
        &[("label_app_kubernetes_io_name", "web"), ("label_app_kubernetes_io_instance", "web-1"), ("label_team", "a")],
        &[("label_app", "db"), ("label_component", "store"), ("annotation_k8s_grafana_com_logs_job", "my/job")],
        &[("controller_name", "cache-5d9c7b8f6d"), ("annotation_resource_opentelemetry_io_service_name", "checkout")],
        &[("annotation_logs_grafana_com_pods_enabled", "no"), ("label_app", "quiet")],
        &[
            ("annotation_resource_opentelemetry_io_service_namespace", "store"),
            ("annotation_resource_opentelemetry_io_service_instance_id", "one"),
            ("annotation_resource_opentelemetry_io_deployment_environment", "prod"),
        ],
    ];
    let pod = |(index, folder): (usize, String)| {
        let meta = cases[index % cases.len()].iter();
        let meta: Vec<(Box<str>, Box<str>)> =
            meta.map(|(name, value)| (format!("__meta_kubernetes_pod_{name}").into(), (*value).into())).collect();
        PodMetadata { folder: folder.into(), meta: meta.into(), asked: Box::default(), exclusion: None }
    };
    folders.into_iter().enumerate().map(pod).collect()
}

fn no_loki(_: &SeriesQuery) -> anyhow::Result<Vec<StreamLabels>> {
    panic!("no Loki was named")
}

/// What `--prove` prints, and whether it succeeds; `new`: the configuration of the new side.
fn proof(name: &str, text: &str, pods: &Path, new: Option<&str>) -> (String, bool) {
    let first = text.lines().next().unwrap_or("");
    let job = first.split_once("--job ").map(|(_, job)| job.trim().to_owned());
    let source = Source { name: name.into(), text: text.into() };
    let request = Request { pods: Some(pods.to_owned()), lines: Some(20), loki: None };
    let new = new.map(|text| Compiled::parse(text, &|_| None).unwrap());
    let proof =
        Proof::new(&[source], &Options { job }, &request, new).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let mut out = Vec::new();
    let result = proof.run(&request, Ok(Some(known(pods))), &no_loki, &mut out);
    let why = result.as_ref().err().map(|error| format!("{error:#}\n")).unwrap_or_default();
    (String::from_utf8(out).unwrap() + &why, result.is_ok())
}

/// Everything was compared, and nothing differs.
fn assert_identical(name: &str, (text, is_same): (String, bool)) {
    assert!(is_same, "{name}\n{text}");
    let count = |line: &str, word: &str| -> u64 {
        let line = text.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}\n{text}"));
        let words: Vec<&str> = line.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|found| *found == word).unwrap();
        words[at - 1].parse().unwrap()
    };
    let streams = count("streams:", "identical");
    assert!(streams > 10 && count("streams:", "by") == streams, "{name}\n{text}");
    assert!(count("lines:", "identical") > 100, "{name}\n{text}");
}

fn file(name: &str) -> String {
    fs::read_to_string(tests().join("prove").join(name)).unwrap()
}

#[test]
fn the_default_rules_of_both_charts_make_of_every_recorded_line_what_the_conversion_and_the_preset_make_of_it() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    for (name, preset) in [
        ("promtail-chart.yaml", "preset: promtail-chart"),
        ("k8s-monitoring.alloy", "preset: k8s-monitoring\nlabels: {cluster: home}"),
    ] {
        let text = file(name);
        assert_identical(name, proof(name, &text, &pods, None));
        let preset = format!("loki: {{url: http://loki}}\n{preset}\n");
        assert_identical(&preset, proof(name, &text, &pods, Some(&preset)));
    }
}

#[test]
fn values_of_the_chart_3_make_of_every_recorded_line_what_the_chart_has_rendered() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let values = fs::read_to_string(tests().join("migrate/k8s-monitoring-3-defaults.new.yaml")).unwrap();
    let name = "k8s-monitoring-3.alloy";
    assert_identical(name, proof(name, &file(name), &pods, Some(&values)));
    assert_identical(name, proof(name, &file(name), &pods, None));
}

#[test]
fn more_labels_than_loki_accepts_are_noted() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let labels: Vec<String> = (0..16).map(|index| format!("l{index}: x")).collect();
    let old = format!("{HEAD}{PODS}      - static_labels: {{{}}}\n", labels.join(", "));
    let (text, _) = proof("p.yaml", &old, &pods, None);
    assert!(text.contains("note: lines may have 19 labels (l0, l1, "), "{text}");
}

/// Old configurations that are converted to something else, with what differs; their reports say it.
const DIFFERENT: [(&str, &str); 20] = [
    // Without the stages cri and docker lines keep the runtime's head.
    ("alloy-all-telemetry", "another text"),
    ("alloy-docker-only", "another text"),
    ("alloy-files-of-the-host", "another text"),
    ("alloy-import-string", "another text"),
    ("alloy-otlp-destination", "another text"),
    ("alloy-relabel-actions", "another text"),
    ("alloy-two-destinations", "another text"),
    ("alloy-write-authorization", "another text"),
    ("alloy-write-auth", "another text"),
    ("alloy-write-oauth2", "another text"),
    // Which runtime writes a container's log is not known.
    ("alloy-grafana-docs-kubernetes-api", "other labels: container_runtime"),
    ("whole-alloy-kubernetes-api", "other labels: container_runtime"),
    ("static-without-runtime-stage", "another text"),
    ("wrong-types", "another text"),
    // Labels of pods instead of filename.
    ("static-jobs-by-folder", "other labels: container, namespace, pod"),
    // Globs that no rule can say: more is read.
    ("static-not-possible", "sent by the new rules, and not by the old ones"),
    // Texts that somebody else fills in are left out.
    ("chart-alloy-templates", "other labels: cluster"),
    ("k8s-monitoring-template", "other labels: region"),
    ("url-unfilled", "other labels: cluster"),
    // With more labels than Loki takes another one becomes structured metadata.
    ("many-labels", "other structured metadata: stream"),
];

/// Old configurations whose last stages leave no label, which Loki would refuse; and one whose second `cri` reads lines as records.
const ODD: [&str; 2] = ["alloy-stages-all", "stage-unknown"];

/// What `--prove` prints where the namespaces and selectors of an old configuration select none of the recorded pods.
const NO_PODS: &str = "the configuration leaves them out";

#[test]
fn every_conversion_in_the_corpus_makes_the_same_of_every_recorded_line_or_a_known_difference() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let mut wrong = String::new();
    let mut files: Vec<PathBuf> = fs::read_dir(tests().join("migrate")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut compared = 0;
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((case, _)) = name.split_once(".old.") else { continue };
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or("");
        let job = first.split_once("--job ").map(|(_, job)| job.trim().to_owned());
        let source = Source { name: name.clone(), text: text.clone() };
        // Docker's containers are no pods.
        let is_of_pods = |draft: &Draft| draft.get("paths.docker").is_none();
        if !migrate::converted(&[source], &Options { job }).is_ok_and(|(_, draft)| is_of_pods(&draft)) {
            continue;
        }
        compared += 1;
        let (text, is_same) = proof(&name, &text, &pods, None);
        if ODD.contains(&case) || text.contains(NO_PODS) || text.contains("nothing was compared") {
            assert!(!is_same, "{case}\n{text}");
            continue;
        }
        let known = DIFFERENT.iter().find(|(known, _)| *known == case);
        match known {
            None if is_same => {}
            Some((_, what)) if !is_same && text.contains(what) => {}
            _ => wrong += &format!("\n{case}: expected {known:?}\n{text}"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(compared > 40, "{compared}");
}

const HEAD: &str = "clients: [{url: http://loki:3100}]\nscrape_configs:\n";
const PODS: &str = r"  - job_name: pods
    kubernetes_sd_configs: [{role: pod}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
    pipeline_stages:
      - cri: {}
";

#[test]
fn a_fault_of_the_conversion_is_a_difference_since_the_old_side_is_read_from_the_old_file_itself() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let old = format!("{HEAD}{PODS}      - static_labels: {{team: a}}\n");
    let (without, head) = ("loki: {url: http://loki}\nrelabel_defaults: false\n", "relabel_configs:\n");
    let rules = "  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}\n  \
                 - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}\n  \
                 - {source_labels: [__meta_pilcrow_stream], target_label: stream}\n";
    let stage = "pipeline_stages: [{static_labels: {team: a}}]\n";
    let right = format!("{without}{head}{rules}{stage}");
    assert_identical("as it is", proof("p.yaml", &old, &pods, Some(&right)));
    // What tells its lines from the other's while both run.
    let beside = format!("{right}labels: {{collector: pilcrow}}\n");
    assert_identical("beside", proof("p.yaml", &old, &pods, Some(&beside)));
    let (text, is_same) = proof("p.yaml", &old, &pods, Some(&format!("{without}{head}{rules}")));
    assert!(!is_same && text.contains("other labels: team"), "{text}");
}

#[test]
fn labels_that_a_rule_copies_by_a_pattern_are_no_difference_and_a_comparison_of_nothing_is_no_success() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    for regex in [
        "__meta_kubernetes_(namespace|pod_name)",
        "__meta_kubernetes_pod_(name|uid)",
        "__meta_kubernetes_pod_label_(.+)",
    ] {
        let map = format!("      - {{action: labelmap, regex: '{regex}'}}\n");
        let old = format!("{HEAD}{PODS}").replace("    pipeline_stages", &format!("{map}    pipeline_stages"));
        assert_identical(regex, proof("p.yaml", &old, &pods, None));
    }
    let rule = "      - {source_labels: [__meta_kubernetes_pod_label_none], regex: x, action: keep}\n";
    let old = format!("{HEAD}{PODS}").replace("    pipeline_stages", &format!("{rule}    pipeline_stages"));
    let (text, is_same) = proof("p.yaml", &old, &pods, None);
    assert!(!is_same && text.contains("nothing was compared"), "{text}");
}

#[test]
fn sampling_is_no_difference_and_a_note_says_that_it_is_left_out() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let nested = "      - match: {selector: '{namespace=~\".+\"}', stages: [{sampling: {rate: 0.1}}]}\n";
    let old = format!("{HEAD}{PODS}      - sampling: {{rate: 0.5}}\n{nested}");
    let (text, is_same) = proof("p.yaml", &old, &pods, None);
    assert!(text.contains("note: sampling is left out on both sides"), "{text}");
    assert_identical("sampling", (text, is_same));
}

#[test]
fn labels_that_a_stage_takes_from_the_name_of_the_file_are_the_same_whatever_folder_the_pods_lie_in() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    for (path, expression) in [
        ("/var/log/pods/*/*/*.log", "/var/log/pods/(?P<namespace>[^_]+)_(?P<pod>[^_]+)_[^/]+/(?P<container>[^/]+)/"),
        (
            "/var/log/containers/*.log",
            "/var/log/containers/(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+)-[0-9a-f]{64}\\\\.log",
        ),
    ] {
        let old = format!(
            "{HEAD}  - job_name: pods\n    static_configs: [{{targets: [localhost], labels: {{__path__: {path}}}}}]\n    \
             pipeline_stages:\n      - cri: {{}}\n      - regex: {{source: filename, expression: \"{expression}\"}}\n      \
             - labels: {{namespace: , pod: , container: }}\n"
        );
        assert_identical(path, proof("p.yaml", &old, &pods, None));
    }
}

/// A job with this target, whose stages name pods by the file.
fn static_job(labels: &str) -> String {
    let expression = match labels.contains("containers") {
        true => "/var/log/containers/(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>.+)-[0-9a-f]{64}",
        false => "/var/log/pods/(?P<namespace>[^_]+)_(?P<pod>[^_]+)_[^/]+/(?P<container>[^/]+)/",
    };
    format!(
        "{HEAD}  - job_name: pods\n    static_configs: [{{labels: {{{labels}}}}}]\n    pipeline_stages:\n      - cri: {{}}\n      \
         - regex: {{source: filename, expression: '{expression}'}}\n      - labels: {{namespace: , pod: , container: }}\n"
    )
}

#[test]
fn globs_select_the_same_pods_on_both_sides() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    for labels in [
        "__path__: '/var/log/pods/batch_*/*/*.log'",
        "__path__: '/var/log/pods/batch_crash*/**/*.log'",
        "__path__: '/var/log/pods/*/x/*.log', job: x",
        "__path__: '/var/log/pods/{shop,batch}_*/[a-s]*/*.log'",
        "__path__: '/var/log/pods/**/*.log', __path_exclude__: '/var/log/pods/*/{dead,flaky}/*.log'",
        "__path__: '/var/log/pods/*/*/*.log', __path_exclude__: '/var/log/pods/batch_*/worker/**'",
        "__path__: '/var/log/containers/*_batch_*.log'",
        "__path__: '/var/log/containers/crashloop-*.log'",
        "__path__: '/var/log/containers/*_shop_s*.log', __path_exclude__: '/var/log/pods/shop_*/*/*.log'",
    ] {
        let (text, is_same) = proof("p.yaml", &static_job(labels), &pods, None);
        assert!(is_same, "{labels}\n{text}");
    }
}

#[test]
fn a_glob_or_an_exclude_that_a_conversion_loses_is_a_difference() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let rules = "loki: {url: http://loki}\nrelabel_defaults: false\nrelabel_configs:\n  \
                 - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}\n  \
                 - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}\n  \
                 - {source_labels: [__meta_kubernetes_pod_container_name], target_label: container}\n  \
                 - {source_labels: [__meta_pilcrow_stream], target_label: stream}\n";
    for labels in [
        "__path__: '/var/log/pods/batch_*/*/*.log'",
        "__path__: '/var/log/containers/*_batch_*.log'",
        "__path__: '/var/log/pods/*/*/*.log', __path_exclude__: '/var/log/pods/batch_*/*/*.log'",
    ] {
        let (text, is_same) = proof("p.yaml", &static_job(labels), &pods, Some(rules));
        assert!(!is_same, "{labels}\n{text}");
    }
}

#[test]
fn lines_that_go_to_a_second_client_or_through_another_job_are_named() {
    let folder = recorded();
    let pods = folder.path().join("pods");
    let clients = "clients: [{url: http://loki:3100}, {url: http://other:3100, name: backup}]\nscrape_configs:\n";
    let old = format!("{clients}{PODS}{}", PODS.replace("job_name: pods", "job_name: more"));
    let (text, is_same) = proof("p.yaml", &old, &pods, None);
    assert!(is_same, "{text}");
    assert!(text.contains("note: not compared: clients[1] (p.yaml:1), as one Pilcrow sends to one Loki"), "{text}");
    assert!(text.contains("note: not compared: job more (p.yaml:10); --job more does"), "{text}");
}

/// Answers each request for streams with these, and gives back what it was asked.
fn loki(answers: Vec<(&'static str, String)>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    let serve = move || {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            asked.push(head);
            let length = body.len();
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                .unwrap();
        }
        asked
    };
    (url, thread::spawn(serve))
}

/// A pod with lines of this minute.
fn fresh_pods() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let container = folder.path().join("shop_web-0_0a1b2c3d-0000-4000-8000-000000000001/app");
    fs::create_dir_all(&container).unwrap();
    let now = jiff::Timestamp::now();
    fs::write(container.join("0.log"), format!("{now} stdout F one\n{now} stderr F two\n")).unwrap();
    folder
}

#[test]
fn loki_is_asked_with_the_tenant_and_credentials_of_the_configuration_and_its_streams_are_compared() {
    let folder = fresh_pods();
    let password = folder.path().join("password");
    fs::write(&password, "s3cret\n").unwrap();
    let old = format!(
        "clients: [{{url: http://loki:3100, tenant_id: home, basic_auth: {{username: me, password_file: {}}}}}]\n\
         scrape_configs:\n{PODS}",
        password.display()
    );
    let stream = |name: &str, more: &str| {
        format!(
            r#"{{"namespace":"shop","pod":"web-0","stream":"{name}","filename":"/x/0.log","service_name":"unknown_service"{more}}}"#
        )
    };
    let run = |streams: &[String]| {
        let (url, server) = loki(vec![("200 OK", format!(r#"{{"status":"success","data":[{}]}}"#, streams.join(",")))]);
        let request = Request { pods: Some(folder.path().to_owned()), lines: None, loki: Some(url) };
        let source = Source { name: "p.yaml".into(), text: old.clone() };
        let proof = Proof::new(&[source], &Options::default(), &request, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |query: &SeriesQuery| runtime.block_on(series(&proof.config().loki, query));
        let mut out = Vec::new();
        let result = proof.run(&request, Ok(None), &ask, &mut out);
        let asked = server.join().unwrap();
        (String::from_utf8(out).unwrap(), result.map_err(|error| error.to_string()), asked)
    };
    let (text, result, asked) = run(&[stream("stdout", ""), stream("stderr", "")]);
    assert_eq!(result, Ok(()), "{text}");
    assert!(text.contains("streams: 2 in Loki, 2 by the new configuration, 2 identical"), "{text}");
    let head = asked[0].to_ascii_lowercase();
    let selector = "match%5b%5d=%7bnamespace%3d%22shop%22%2c%20pod%3d%22web-0%22%7d&start=";
    assert!(head.starts_with(&format!("get /prefix/loki/api/v1/series?{selector}")), "{head}");
    // me:s3cret
    assert!(
        head.contains("x-scope-orgid: home\r\n") && head.contains("authorization: basic bwu6cznjcmv0\r\n"),
        "{head}"
    );

    let (text, result, _) = run(&[stream("stdout", ""), stream("stderr", r#","team":"a""#)]);
    assert_eq!(result, Err("1 stream differs".into()), "{text}");
    assert!(text.contains("1 stream: other labels: team"), "{text}");
}

#[test]
fn a_loki_that_refuses_to_tell_is_an_error_with_its_own_words() {
    let (url, server) = loki(vec![("401 Unauthorized", "no org id".into())]);
    let folder = fresh_pods();
    let request = Request { pods: Some(folder.path().to_owned()), lines: None, loki: Some(url.clone()) };
    let source = Source { name: "p.yaml".into(), text: format!("{HEAD}{PODS}") };
    let proof = Proof::new(&[source], &Options::default(), &request, None).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |query: &SeriesQuery| runtime.block_on(series(&proof.config().loki, query));
    let error = format!("{:#}", proof.run(&request, Ok(None), &ask, &mut Vec::new()).unwrap_err());
    server.join().unwrap();
    assert!(error.contains(&url) && error.contains("401 Unauthorized: no org id"), "{error}");
}
