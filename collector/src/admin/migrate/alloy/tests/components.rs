use super::*;

/// A way from pods to Loki with these blocks and arguments in between.
fn with(middle: &str) -> String {
    format!(
        "discovery.kubernetes \"pods\" {{\n  role = \"pod\"\n}}\n\
         loki.source.file \"pods\" {{\n  targets = discovery.relabel.pods.output\n  forward_to = [loki.process.pods.receiver]\n}}\n\
         loki.write \"default\" {{\n  endpoint {{\n    url = \"http://loki:3100/loki/api/v1/push\"\n  }}\n}}\n{middle}"
    )
}

fn rules(rules: &str) -> String {
    format!("discovery.relabel \"pods\" {{\n  targets = discovery.kubernetes.pods.targets\n{rules}}}\n")
}

fn process(stages: &str) -> String {
    let rules = rules("");
    with(&format!("{rules}loki.process \"pods\" {{\n  forward_to = [loki.write.default.receiver]\n{stages}}}\n"))
}

fn stages(stages: &str) -> Vec<String> {
    flow(&pipeline(&process(stages)).stages)
}

#[test]
fn stages_have_promtails_form() {
    for (alloy, promtail) in [
        ("stage.cri {}", "cri: ~"),
        (
            "stage.json {\n expressions = {level = \"\", \"a b\" = \"x.y\"}\n}",
            "json: {expressions: {level: ~, a b: x.y}}",
        ),
        ("stage.labels {\n values = {level = \"\", app = \"name\"}\n}", "labels: {level: ~, app: name}"),
        (
            "stage.labels {\n values = {level = null}\n source_type = \"structured_metadata\"\n}",
            "labels: {values: {level: ~}, source_type: structured_metadata}",
        ),
        ("stage.label_drop {\n values = [\"filename\"]\n}", "labeldrop: [filename]"),
        ("stage.label_keep {\n values = [\"app\"]\n}", "labelallow: [app]"),
        ("stage.static_labels {\n values = {a = \"b\"}\n}", "static_labels: {a: b}"),
        ("stage.structured_metadata {\n values = {pod = \"\"}\n}", "structured_metadata: {pod: ~}"),
        ("stage.structured_metadata_drop {\n values = [\"x\"]\n}", "structured_metadata_drop: [x]"),
        ("stage.drop {\n source = \"a,b\"\n value = \"x;y\"\n}", "drop: {source: [a, b], value: x;y}"),
        ("stage.drop {\n older_than = \"24h\"\n longer_than = \"8KB\"\n}", "drop: {older_than: 24h, longer_than: 8KB}"),
        ("stage.limit {\n rate = 5\n burst = 10.5\n drop = true\n}", "limit: {rate: 5, burst: 10.5, drop: true}"),
        (
            "stage.truncate {\n rule {\n limit = \"1KiB\"\n suffix = \"…\"\n}\n}",
            "truncate: {rules: [{limit: 1KiB, suffix: …}]}",
        ),
        ("stage.replace {\n expression = `(\\d+)`\n replace = \"$1\"\n}", "replace: {expression: (\\d+), replace: $1}"),
        (
            "stage.match {\n selector = `{app=\"x\"}`\n stage.json {\n expressions = {a = \"\"}\n}\n stage.output {\n source = \"a\"\n}\n}",
            "match: {selector: {app=\"x\"}, stages: [{json: {expressions: {a: ~}}}, {output: {source: a}}]}",
        ),
        (
            "stage.metrics {\n metric.counter {\n name = \"n\"\n action = \"inc\"\n match_all = true\n}\n}",
            "metrics: {n: {type: Counter, prefix: loki_process_custom_, config: {action: inc, match_all: true}}}",
        ),
    ] {
        let found = stages(alloy);
        assert_eq!(found, [promtail]);
    }
}

#[test]
fn two_metrics_of_one_name_are_two_stages() {
    let metric = "metric.gauge {\n name = \"n\"\n action = \"set\"\n}\n";
    assert_eq!(stages(&format!("stage.metrics {{\n{metric}{metric}}}")).len(), 2);
}

#[test]
fn what_is_not_known_of_a_stage_takes_the_stage_and_tells() {
    let origin = origin(&process(
        "stage.drop {\n expression = loki.write.default.receiver\n}\nstage.nosuch {}\nstage.json {\n expressions = {a = \"\"}\n nosuch = 1\n}\n",
    ));
    assert_eq!(flow(&origin.pipelines[0].stages), ["json: {expressions: {a: ~}}"]);
    let told = findings(&origin, Kind::NotPossible);
    assert!(told.contains("loki.process.pods stage.drop: is left out as a whole"), "{told}");
    assert!(told.contains("stage.nosuch: is no stage that is known here"), "{told}");
    assert!(told.contains("stage.json.nosuch: is not known"), "{told}");
}

#[test]
fn rules_of_all_components_on_the_way_are_in_their_order() {
    let text = with(&format!(
        "{}loki.relabel \"a\" {{\n forward_to = [loki.write.default.receiver]\n rule {{\n action = \"labeldrop\"\n regex = \"filename|x\"\n}}\n}}\n\
         loki.process \"pods\" {{\n forward_to = [loki.relabel.a.receiver]\n stage.cri {{}}\n}}\n",
        rules("  rule {\n source_labels = [\"__meta_kubernetes_namespace\"]\n target_label = \"namespace\"\n}\n")
    ));
    let pipeline = pipeline(&text);
    assert_eq!(
        flow(&pipeline.relabel),
        [
            "source_labels: [__meta_kubernetes_namespace], target_label: namespace",
            "action: labeldrop, regex: filename|x"
        ]
    );
    assert_eq!(flow(&pipeline.stages), ["cri: ~"]);
}

#[test]
fn rules_behind_stages_become_stages() {
    let behind = |stages: &str, rule: &str| {
        let text = with(&format!(
            "{}loki.relabel \"a\" {{\n forward_to = [loki.write.default.receiver]\n rule {{\n{rule}\n}}\n}}\n\
             loki.process \"pods\" {{\n forward_to = [loki.relabel.a.receiver]\n{stages}\n}}\n",
            rules("")
        ));
        let pipeline = pipeline(&text);
        (flow(&pipeline.relabel), flow(&pipeline.stages).split_off(1))
    };
    let labels = "stage.labels {\n values = {level = \"\"}\n}";
    for (rule, expected) in [
        ("action = \"labeldrop\"\nregex = \"a|b\"", "labeldrop: [a, b]"),
        ("action = \"labelkeep\"\nregex = \"(a|b)\"", "labelallow: [a, b]"),
        ("target_label = \"a\"\nreplacement = \"b\"", "static_labels: {a: b}"),
        (
            "action = \"drop\"\nsource_labels = [\"level\"]\nregex = \"debug|trace\"",
            "match: {selector: {level=~`debug|trace`}, action: drop, drop_counter_reason: relabel}",
        ),
        (
            "action = \"keep\"\nsource_labels = [\"level\"]\nregex = \"error\"",
            "match: {selector: {level!~`error`}, action: drop, drop_counter_reason: relabel}",
        ),
        (
            "source_labels = [\"level\"]\ntarget_label = \"severity\"",
            "match: {selector: {level=~`.+`}, stages: [{labels: {severity: level}}]}",
        ),
    ] {
        let (relabel, stages) = behind(labels, rule);
        assert!(relabel.is_empty(), "{relabel:?}");
        assert_eq!(stages[0], expected);
    }
    let (relabel, stages) = behind("stage.decolorize {}", "action = \"labelmap\"\nregex = \"a(.*)\"");
    assert_eq!((relabel.len(), stages.len()), (1, 0));
    let (relabel, stages) = behind(labels, "action = \"labelmap\"\nregex = \"a(.*)\"");
    assert_eq!((relabel.len(), stages.len()), (0, 0));
}

#[test]
fn one_way_to_two_destinations_is_one_pipeline_and_two_ways_are_two() {
    let second = "loki.write \"second\" {\n endpoint {\n url = \"http://b\"\n}\n}\n";
    let text = with(&format!(
        "{}{second}loki.process \"pods\" {{\n forward_to = [loki.write.default.receiver, loki.write.second.receiver, loki.echo.e.receiver]\n}}\n\
         loki.echo \"e\" {{}}\n",
        rules("")
    ));
    assert_eq!(pipeline(&text).clients, [0, 1]);
    let text = with(&format!(
        "{}{second}loki.process \"other\" {{\n forward_to = [loki.write.second.receiver]\n}}\nloki.process \"pods\" {{\n \
         forward_to = [loki.write.default.receiver, loki.process.other.receiver]\n}}\n",
        rules("")
    ));
    let origin = origin(&text);
    assert_eq!(origin.pipelines.len(), 2);
    assert!(findings(&origin, Kind::NotPossible).contains("its lines go 2 ways"));
}

#[test]
fn the_kubernetes_api_gives_job_and_instance_and_makes_no_stream() {
    let text = "discovery.kubernetes \"p\" {\n role = \"pod\"\n}\nloki.source.kubernetes \"p\" {\n targets = discovery.kubernetes.p.targets\n \
                forward_to = [loki.process.p.receiver]\n}\nloki.process \"p\" {\n forward_to = [loki.write.w.receiver]\n stage.cri {}\n}\n\
                loki.write \"w\" {\n endpoint {\n url = \"http://a\"\n}\n}\n";
    let pipeline = pipeline(text);
    assert_eq!(pipeline.relabel.len(), 2);
    assert!(flow(&pipeline.relabel)[1].contains("replacement: $1/$2:$3"));
    assert!(pipeline.stages.is_empty());
}

#[test]
fn custom_components_are_looked_through() {
    let text = "declare \"logs\" {\n argument \"to\" {}\n argument \"role\" {\n optional = true\n default = \"pod\"\n }\n \
                discovery.kubernetes \"p\" {\n  role = argument.role.value\n }\n loki.source.file \"p\" {\n  targets = discovery.kubernetes.p.targets\n  \
                forward_to = [loki.process.x.receiver]\n }\n loki.process \"x\" {\n forward_to = argument.to.value\n stage.static_labels {\n \
                values = {c = module.inner.y.text}\n }\n }\n export \"receiver\" {\n value = loki.process.x.receiver\n }\n}\n\
                logs \"a\" {\n to = [loki.write.w.receiver]\n}\n\
                loki.write \"w\" {\n endpoint {\n url = \"http://a\"\n}\n}\n";
    let origin = origin(text);
    assert_eq!(origin.pipelines.len(), 1, "{:?}", origin.findings);
    assert_eq!(origin.pipelines[0].clients, [0]);
}

#[test]
fn modules_are_found_among_the_files_and_in_strings() {
    let main = "import.file \"lib\" {\n filename = \"/etc/alloy/lib.alloy\"\n}\nlib.out \"o\" {\n url = \"http://a\"\n}\n\
                import.string \"s\" {\n content = `declare \"src\" {\n argument \"to\" {}\n loki.source.file \"f\" {\n \
                targets = [{__path__ = \"/var/log/pods/*/*/*.log\", job = \"x\"}]\n forward_to = argument.to.value\n }\n}`\n}\n\
                s.src \"a\" {\n to = [lib.out.o.receiver]\n}\n";
    let lib = "declare \"out\" {\n argument \"url\" {}\n loki.write \"w\" {\n endpoint {\n url = argument.url.value\n}\n}\n \
               export \"receiver\" {\n value = loki.write.w.receiver\n }\n}\n";
    let texts = [("c.alloy", main), ("lib.alloy", lib)].map(|(file, text)| Text { place: Place::start_of(file), text });
    let origin = read(&texts).unwrap();
    assert_eq!(origin.pipelines.len(), 1, "{:?}", origin.findings);
    assert_eq!(origin.clients[0].settings[0].value.as_text(), Some("http://a"));
    assert_eq!(&*origin.clients[0].place.file, "lib.alloy");
    assert_eq!(flow(&origin.pipelines[0].relabel), ["target_label: job, replacement: x"]);
    let alone = read(&texts[..1]).unwrap();
    assert!(findings(&alone, Kind::NotPossible).contains("name its file beside this one"));
}

#[test]
fn what_is_not_of_pods_has_one_finding() {
    let origin = origin(
        "prometheus.scrape \"a\" {\n targets = []\n forward_to = []\n}\nloki.source.journal \"j\" {\n forward_to = []\n}\n\
         otelcol.exporter.otlp \"o\" {}\nlogging {\n level = \"debug\"\n format = \"logfmt\"\n}\nlivedebugging {}\nnosuch \"x\" {}\n",
    );
    let told = findings(&origin, Kind::NotPossible);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains("1 prometheus.scrape.a: Pilcrow collects logs and no metrics"));
    assert_eq!(origin.settings.len(), 2);
    assert!(findings(&origin, Kind::Taken).contains("livedebugging: `pilcrow try`"));
}

#[test]
fn secrets_are_never_written_and_files_of_them_are() {
    let text = process("").replace(
        "    url =",
        "    bearer_token = local.file.t.content\n    basic_auth {\n      username = \"u\"\n      password = \"hunter2\"\n    }\n    \
         headers = {\"X-Api-Key\" = \"s3cret\", \"X-Scope-OrgID\" = \"t\", \"X-A\" = \"b\"}\n    url =",
    ) + "local.file \"t\" {\n  filename = \"/var/run/token\"\n  is_secret = true\n}\n";
    let origin = origin(&text);
    let told = format!("{:?}", origin);
    assert!(!told.contains("hunter2") && !told.contains("s3cret"), "{told}");
    let settings: Vec<_> =
        origin.clients[0].settings.iter().map(|setting| (setting.key.as_str(), flowed(&setting.value))).collect();
    assert!(settings.contains(&("loki.bearer_token_file", "/var/run/token".into())), "{settings:?}");
    assert!(settings.contains(&("loki.tenant", "t".into())), "{settings:?}");
    assert!(settings.contains(&("loki.headers", "{X-Api-Key: ${LOKI_X_API_KEY}, X-A: b}".into())), "{settings:?}");
}

#[test]
fn stages_and_rules_of_charts_are_read_alone() {
    let mut findings = Vec::new();
    let place = Place { file: "values.yaml".into(), line: 10, column: 5 };
    let text = Text { place: place.clone(), text: "stage.drop {\n  expression = \"x\"\n}\nrule {}\n" };
    let stages = read_stages(&text, &mut findings).unwrap();
    assert_eq!(flow(&stages), ["drop: {expression: x}"]);
    assert_eq!(stages[0].place.line, 10);
    assert_eq!((findings.len(), findings[0].place.line, findings[0].place.column), (1, 13, 5));
    let text = Text { place, text: "rule {\n  action = \"labeldrop\"\n  regex = \"x\"\n}" };
    assert_eq!(flow(&read_rules(&text, &mut findings).unwrap()), ["action: labeldrop, regex: x"]);
    assert_eq!(findings.len(), 1);
}

#[test]
fn everything_that_is_read_has_a_finding_or_a_place() {
    let origin = origin(&process("").replace("role = \"pod\"", "role = \"pod\"\n  selectors {\n    role = \"pod\"\n    field = \"spec.nodeName=\" + coalesce(sys.env(\"HOSTNAME\"), constants.hostname)\n    label = \"a=b\"\n  }\n  namespaces {\n    names = [\"x\"]\n    own_namespace = true\n  }"));
    let keys: Vec<_> = origin.pipelines[0].settings.iter().map(|setting| setting.key.as_str()).collect();
    assert_eq!(keys, ["kubernetes.namespaces.include", "kubernetes.pod_selector"]);
    assert!(findings(&origin, Kind::Taken).contains("selectors.field: Pilcrow reads the logs of its own node only"));
    assert!(findings(&origin, Kind::NotPossible).contains("own_namespace"));
}

#[test]
fn a_match_for_each_runtime_becomes_the_stages_of_the_first() {
    let runtime = |label: &str, stage: &str| {
        format!(
            "stage.match {{\n selector = `{{runtime=\"{label}\"}}`\n stage.{stage} {{}}\n stage.labels {{\n values = {{stream = \"\"}}\n}}\n}}\n"
        )
    };
    let both = format!("{}{}", runtime("containerd", "cri"), runtime("docker", "docker"));
    assert_eq!(stages(&both), ["cri: ~", "labels: {stream: ~}"]);
    assert!(findings(&origin(&process(&both)), Kind::Changed).contains("detects by itself which runtime wrote a log"));
}
