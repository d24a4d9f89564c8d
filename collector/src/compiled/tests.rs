use proptest::prelude::*;

use super::*;
use crate::config::{ByteSize, Enabled, HumanDuration, Reader, ReaderChoice, SignalChoice};

fn none(_: &str) -> Option<String> {
    None
}

fn on_a_node(name: &str) -> Option<String> {
    match name {
        "LOKI_URL" => Some("http://loki.monitoring:3100".into()),
        "NODE_NAME" => Some("pi-3".into()),
        _ => None,
    }
}

fn good(text: &str) -> Config {
    Compiled::parse(text, &none).unwrap_or_else(|problems| panic!("{problems:#?}")).config
}

/// The problems as a user reads them, one a line, for a file named `p.yaml`.
fn bad(text: &str) -> String {
    let problems = Compiled::parse(text, &none).expect_err("must be refused");
    ConfigError::Invalid { path: Some("p.yaml".into()), problems }.to_string()
}

#[test]
fn dollars_are_printed_so_that_they_are_read_as_the_same_dollars() {
    let config = good("labels: {a: $$$$, b: '$${HOME}', c: $5, d: 'a$$$${b$}'}\n");
    assert_eq!(config.labels["a"], "$$");
    assert_eq!(config.labels["d"], "a$${b$}");
    assert_eq!(good(&config.to_yaml().unwrap()), config);
}

#[test]
fn a_problem_is_one_line_also_where_the_file_has_a_newline_in_the_middle_of_it() {
    let text = "labels:\n  b: |\n    ${SET\n  \"c\\nd\": ${}\n\"e\\x1b\": 1\n";
    let said = bad(text);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.starts_with("p.yaml:3:5: \"${SET\\n\" has no closing brace"), "{said}");
    let said = bad("\"e\\x1b\\n\": 1\n");
    assert!(said.starts_with("p.yaml:1:1: e\\u{1b}\\n: unknown key"), "{said}");
}

#[test]
fn a_newline_at_the_end_of_a_variable_is_not_part_of_its_value() {
    let environment = |name: &str| match name {
        "LOKI_URL" => Some("http://loki:3100\n".to_owned()),
        "NODE_NAME" => Some("pi-3\r\n".to_owned()),
        "CLUSTER" => Some("home\n".to_owned()),
        _ => None,
    };
    let config = Compiled::parse("labels: {cluster: '${CLUSTER}'}\n", &environment).unwrap().config;
    assert_eq!(config.loki.url, "http://loki:3100");
    assert_eq!(config.kubernetes.node_name, "pi-3");
    assert_eq!(config.labels["cluster"], "home");
}

#[test]
fn nothing_at_all_is_the_defaults() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "loki:\nlabels:\n# none\npaths: {}\n", "\u{feff}", "~"] {
        assert_eq!(good(text), Config::default(), "{text:?}");
    }
}

#[test]
fn the_example_of_the_documentation_is_the_defaults_with_a_cluster_and_a_node() {
    let text = r#"
loki:
  url: http://127.0.0.1:3100        # base, or the full /loki/api/v1/push
  tenant: ""                        # X-Scope-OrgID
  basic_auth: {username: "", password_file: ""}
  bearer_token_file: ""
  tls: {ca_file: "", cert_file: "", key_file: "", server_name: "", insecure_skip_verify: false}
  headers: {}
  timeout: 10s
  backoff: {min: 500ms, max: 5m}
  batch: {bytes: 1MiB, age: 1s}
labels: {cluster: home-k8s}         # static
paths: {pods: /var/log/pods, state: /var/lib/pilcrow}
kubernetes: {enabled: auto, node_name: "${NODE_NAME:-}", kubeconfig: ""}
signal: auto                        # auto | ebpf | inotify | poll
reader: auto                        # auto | io_uring | pread
start_at: beginning                 # for files without a checkpoint: beginning | end
log: {level: info, format: text}    # text | json
"#;
    let mut expected = Config::default();
    expected.labels.insert("cluster".into(), "home-k8s".into());
    assert_eq!(good(text), expected);
    expected.kubernetes.node_name = "pi-3".into();
    expected.loki.url = "http://127.0.0.1:3100".into();
    assert_eq!(Compiled::parse(text, &on_a_node).unwrap().config, expected);
}

#[test]
fn without_a_file_the_environment_fills_in_url_and_node() {
    let config = Compiled::load(None, &on_a_node).unwrap().config;
    assert_eq!(config.loki.url, "http://loki.monitoring:3100");
    assert_eq!(config.kubernetes.node_name, "pi-3");
    let rest = Config { loki: Default::default(), kubernetes: Default::default(), ..config };
    assert_eq!(rest, Config::default());
}

#[test]
fn what_the_file_sets_goes_before_the_environment() {
    let text = "loki: {url: 'http://other:1'}\nkubernetes: {node_name: pi-9}\n";
    let config = Compiled::parse(text, &on_a_node).unwrap().config;
    assert_eq!(config.loki.url, "http://other:1");
    assert_eq!(config.kubernetes.node_name, "pi-9");
    let config = Compiled::parse("loki: {tenant: t}\nkubernetes: {node_name: }\n", &on_a_node).unwrap().config;
    assert_eq!(config.loki.url, "http://loki.monitoring:3100");
    assert_eq!(config.kubernetes.node_name, "pi-3");
}

#[test]
fn values_of_every_kind_are_read() {
    let config = good(
        "loki: {batch: {bytes: 65536, age: 1m30s}, tls: {insecure_skip_verify: True}}\n\
         labels: {version: 1.10, zone: 07, on: yes, quoted: '$$x'}\n\
         kubernetes: {enabled: false}\nsignal: ebpf\nreader: io_uring\n",
    );
    assert_eq!(config.loki.batch.bytes, ByteSize(65_536));
    assert_eq!(config.loki.batch.age, HumanDuration::from_secs(90));
    assert!(config.loki.tls.insecure_skip_verify);
    let labels: Vec<_> = config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("on", "yes"), ("quoted", "$x"), ("version", "1.10"), ("zone", "07")]);
    assert_eq!(config.kubernetes.enabled, Enabled::False);
    assert_eq!((config.signal, config.reader.backend), (SignalChoice::Ebpf, ReaderChoice::IoUring));
    let text = "kubernetes: {enabled: true, node_name: n}";
    assert_eq!(good(text).kubernetes.enabled, Enabled::True);
}

#[test]
fn the_reader_is_a_backend_alone_or_a_group_of_keys() {
    let pread = Reader { backend: ReaderChoice::Pread };
    for text in ["reader: pread\n", "reader: {backend: pread}\n"] {
        assert_eq!(good(text).reader, pread, "{text}");
    }
    for (text, error) in [
        ("reader: preed\n", "p.yaml:1:9: reader.backend: expected one of auto, io_uring, pread, found \"preed\""),
        ("reader: {backends: a}\n", "p.yaml:1:10: reader.backends: unknown key; did you mean backend?"),
    ] {
        assert_eq!(bad(text), error);
    }
}

#[test]
fn a_key_of_an_earlier_version_is_a_warning_whatever_its_value() {
    for value in ["2", "auto", "[]", "", "{a: {b: 1}}"] {
        let compiled = Compiled::parse(&format!("reader:\n  backend: pread\n  shards: {value}\n"), &none).unwrap();
        assert_eq!(compiled.config.reader.backend, ReaderChoice::Pread);
        let warnings: Vec<_> = compiled.warnings.iter().map(Problem::to_string).collect();
        let warning = "line 3: reader.shards: has no effect any more: one thread reads all files; delete the key";
        assert_eq!(warnings, [warning], "{value}");
    }
    assert_eq!(good("").reader, Reader::default());
    assert!(Compiled::parse("", &none).unwrap().warnings.is_empty());
}

#[test]
fn what_is_wrong_with_the_other_items_of_a_list_is_reported_beside_one_that_cannot_be_decoded() {
    let text = "relabel_configs:\n\
                - {source_labels: a, target_label: b}\n\
                - 5\n\
                - {source_labels: [a], regex: '(', target_label: b}\n\
                - {source_labels: [a], target_label: b, action: drpo}\n\
                kubernetes: {namespaces: {include: [[x], good, Bad]}}\n\
                budgets: [{selector: [], rate: 1KiB/s}, {selector: '{', rate: 1KiB/s}]\n";
    let text = bad(text);
    let keys: Vec<&str> = text.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let places = ["2:19", "3:3", "4:24", "5:49", "6:37", "6:48", "7:22", "7:42"];
    assert_eq!(keys, places.map(|place| format!("p.yaml:{place}")), "{text}");
    assert!(text.contains("relabel_configs[2].regex: "), "{text}");
    assert!(text.contains("kubernetes.namespaces.include[2]: a namespace's name"), "{text}");
}

#[test]
fn a_budget_that_never_applies_is_a_warning() {
    let budgets = |selectors: &[&str], more: &str| {
        let items: Vec<String> =
            selectors.iter().map(|selector| format!("- {{selector: '{selector}', rate: 1KiB/s}}\n")).collect();
        let compiled = Compiled::parse(&format!("budgets:\n{}{more}", items.concat()), &none).unwrap();
        compiled.warnings.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    let warning = "line 3: budgets[1].selector: never applies: budgets[0] takes all containers that this one selects, and the first \
                   that fits counts";
    for first in
        ["{namespace=~\".+\"}", "{namespace!=\"\"}", "{app=~\".*\"}", "{namespace=\"a\"}", "{namespace=~\"a|b\"}"]
    {
        assert_eq!(budgets(&[first, "{namespace=\"a\",app=\"b\"}"], ""), [warning], "{first}");
    }
    for first in ["{namespace=\"b\"}", "{app=~\".+\"}", "{namespace=\"a\",app=\"c\"}"] {
        assert!(budgets(&[first, "{namespace=\"a\"}"], "").is_empty(), "{first}");
    }
    // Other rules may take the label away.
    assert!(
        budgets(&["{namespace=~\".+\"}", "{app=\"b\"}"], "relabel_configs: [{regex: namespace, action: labeldrop}]\n")
            .is_empty()
    );
}

#[test]
fn variables_in_comments_are_left_alone_and_empty_ones_leave_a_key_out() {
    let config =
        good("# ${NOT_SET}\nloki:\n  url: ${NOT_SET:-}\n  timeout: ${T:-3s} # ${X}\nlabels: {a: '${NONE:-}'}\n");
    assert_eq!(config.loki.url, Config::default().loki.url);
    assert_eq!(config.loki.timeout, HumanDuration::from_secs(3));
    assert!(config.labels.is_empty());
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    assert_eq!(
        bad("loki:\n  url: http://${HOST}:3100\n"),
        "p.yaml:2:8: the environment variable HOST is not set; set it, give it a default: ${HOST:-default}, or write $${HOST} for the text itself"
    );
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_known_one() {
    for (text, error) in [
        ("loki:\n  tennant: a\n", "p.yaml:2:3: loki.tennant: unknown key; did you mean tenant?"),
        ("lables: {a: b}\n", "p.yaml:1:1: lables: unknown key; did you mean labels?"),
        (
            "scrape_configs: []\n",
            "p.yaml:1:1: scrape_configs: a key of Promtail or Grafana Agent; `pilcrow migrate FILE` converts their configurations",
        ),
        ("loki: {tls: {caFile: x}}\n", "p.yaml:1:14: loki.tls.caFile: unknown key; did you mean ca_file?"),
        ("loki: {basic-auth: {}}\n", "p.yaml:1:8: loki.basic-auth: unknown key; did you mean basic_auth?"),
        ("node_name: pi\n", "p.yaml:1:1: node_name: unknown key here; did you mean kubernetes.node_name?"),
        (
            "interval: 5s\n",
            "p.yaml:1:1: interval: unknown key here; did you mean checkpoint.interval or sweep.interval?",
        ),
        ("paths: {frobnicate: 1}\n", "p.yaml:1:9: paths.frobnicate: unknown key; known here: pods, docker, state"),
    ] {
        assert_eq!(bad(text), error);
    }
}

#[test]
fn a_value_of_the_wrong_kind_says_what_was_expected() {
    for (text, error) in [
        (
            "loki:\n  timeout: ten\n",
            "p.yaml:2:12: loki.timeout: expected a duration such as 500ms, 10s, 5m, 1h or 1m30s, found \"ten\"",
        ),
        (
            "loki: {batch: {bytes: 1.55MiB}}\n",
            "p.yaml:1:23: loki.batch.bytes: expected a size such as 64KiB, 1MiB, 10MB or a number of bytes, found \"1.55MiB\"",
        ),
        (
            "loki: {stream_rate: fast}\n",
            "p.yaml:1:21: loki.stream_rate: expected a size per second such as 2.5MiB, or unlimited, found \"fast\"",
        ),
        (
            "loki: {refused_streams: drop}\n",
            "p.yaml:1:25: loki.refused_streams: expected wait, or drop after a duration such as drop after 1h, found \"drop\"",
        ),
        ("signal: epbf\n", "p.yaml:1:9: signal: expected one of auto, ebpf, inotify, poll, found \"epbf\""),
        ("loki: {compression: gzip}\n", "p.yaml:1:21: loki.compression: expected one of snappy, none, found \"gzip\""),
        (
            "kubernetes: {enabled: maybe}\n",
            "p.yaml:1:23: kubernetes.enabled: expected one of auto, true, false, found \"maybe\"",
        ),
        (
            "loki: {tls: {insecure_skip_verify: 1}}\n",
            "p.yaml:1:36: loki.tls.insecure_skip_verify: expected true or false, found \"1\"",
        ),
        (
            "http: {listen: ':9080'}\n",
            "p.yaml:1:16: http.listen: expected an IP address and a port such as 0.0.0.0:9080 or [::]:9080, found \":9080\"",
        ),
        ("labels: [a, b]\n", "p.yaml:1:9: labels: expected a group of keys, found a list"),
        ("labels: {a: {b: c}}\n", "p.yaml:1:13: labels.a: expected text, found a group of keys"),
        (
            "relabel_configs:\n- {action: kep}\n",
            "p.yaml:2:12: relabel_configs[0].action: expected one of replace, keep, drop, keepequal, dropequal, hashmod, \
             lowercase, uppercase, labelmap, labeldrop, labelkeep, found \"kep\"",
        ),
        ("paths: /var/log\n", "p.yaml:1:8: paths: expected keys (pods, docker, state), found \"/var/log\""),
    ] {
        assert_eq!(bad(text), error);
    }
}

#[test]
fn a_value_out_of_bounds_or_without_its_other_half_says_so() {
    for (text, error) in [
        (
            "loki: {url: 'loki:3100/push'}\n",
            "p.yaml:1:8: loki.url: expected an address such as http://loki:3100 or \
             https://loki.example.com/loki/api/v1/push, found \"loki:3100/push\"",
        ),
        ("loki: {url: 'loki:3100'}\n", "p.yaml:1:8: loki.url: lacks http:// or https:// in front of \"loki:3100\""),
        ("loki: {url: 'ftp://a'}\n", "p.yaml:1:8: loki.url: must begin with http:// or https://, not ftp://"),
        (
            "loki: {url: 'http://me:pass@a'}\n",
            "p.yaml:1:8: loki.url: must not hold a user name or password; use loki.basic_auth",
        ),
        (
            "loki: {url: 'http://[::1]:99999'}\n",
            "p.yaml:1:8: loki.url: has a port that is no number from 1 to 65535: \"http://[::1]:99999\"",
        ),
        (
            "loki: {tenant: 'a b'}\n",
            "p.yaml:1:8: loki.tenant: a tenant's name is at most 150 letters, digits and ! - _ . * ' ( ), found \"a b\"",
        ),
        (
            "loki:\n  basic_auth:\n    username: me\n",
            "p.yaml:2:3: loki.basic_auth.password_file: must be set where loki.basic_auth.username is",
        ),
        ("loki: {tls: {cert_file: /c}}\n", "p.yaml:1:8: loki.tls.key_file: must be set where loki.tls.cert_file is"),
        ("loki: {tls: {key_file: /k}}\n", "p.yaml:1:8: loki.tls.cert_file: must be set where loki.tls.key_file is"),
        (
            "loki: {backoff: {min: 10s, max: 1s}}\n",
            "p.yaml:1:28: loki.backoff.max: must not be less than loki.backoff.min (10s), found 1s",
        ),
        ("loki: {batch: {bytes: 100}}\n", "p.yaml:1:16: loki.batch.bytes: must lie between 1KiB and 64MiB, found 100"),
        ("loki: {stream_rate: 10}\n", "p.yaml:1:8: loki.stream_rate: must lie between 1KiB and 1GiB, found 10"),
        (
            "loki: {refused_streams: drop after 1ms}\n",
            "p.yaml:1:8: loki.refused_streams: must lie between 1s and 30d, found 1ms",
        ),
        ("ready: {after: 2h}\n", "p.yaml:1:9: ready.after: must lie between 100ms and 1h, found 2h"),
        ("debug: {drop_signals: 1.5}\n", "p.yaml:1:9: debug.drop_signals: must lie between 0 and 1, found 1.5"),
        (
            "memory: {queue: 512KiB}\n",
            "p.yaml:1:10: memory.queue: must hold at least one batch (loki.batch.bytes is 1MiB), found 512KiB",
        ),
        (
            "labels: {my-label: x}\n",
            "p.yaml:1:10: labels.my-label: a label's name is letters, digits and _, and begins with no digit, found \"my-label\"",
        ),
        (
            "labels: {pod: x}\n",
            "p.yaml:1:10: labels.pod: pod comes from the pod; choose another name for a static label",
        ),
        (
            "loki: {headers: {X-Scope-OrgID: t}}\n",
            "p.yaml:1:18: loki.headers.X-Scope-OrgID: cannot be set here: set loki.tenant instead",
        ),
        (
            "relabel_configs:\n- {action: keep}\n- {source_labels: [a], regex: 'a(', target_label: b}\n",
            "p.yaml:3:24: relabel_configs[1].regex: is no regular expression: found open group without closing ')'",
        ),
        (
            "kubernetes: {pod_selector: 'a in b'}\n",
            "p.yaml:1:14: kubernetes.pod_selector: expected a list of values, (a, b), behind a in, found \"b\"",
        ),
        (
            "kubernetes: {enabled: true}\n",
            "p.yaml:1:1: kubernetes.node_name: must be set where kubernetes.enabled is true (or set NODE_NAME)",
        ),
        (
            "paths: {pods: /a, state: /a/b}\n",
            "p.yaml:1:19: paths.state: must not be in paths.pods, which Pilcrow only reads",
        ),
    ] {
        assert_eq!(bad(text), error);
    }
}

#[test]
fn a_bad_value_from_the_environment_names_the_variable() {
    let problems = Compiled::parse("", &|name| (name == "LOKI_URL").then(|| "loki:3100".into())).unwrap_err();
    assert_eq!(
        ConfigError::Invalid { path: None, problems }.to_string(),
        "environment variable LOKI_URL: loki.url: lacks http:// or https:// in front of \"loki:3100\""
    );
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let text = "loki:\n  ulr: http://a\n  timeout: x\nsignal: foo\nlabels: {9a: b}\nloki_url: a\n";
    let errors = bad(text);
    let keys: Vec<&str> = errors.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(keys, ["loki.ulr", "loki.timeout", "signal", "labels.9a", "loki_url"]);
}

#[test]
fn yaml_features_that_no_configuration_needs_work_or_have_a_clear_error() {
    assert_eq!(good("labels: &l {a: b}\n"), good("labels: {a: b}\n"), "an anchor that nothing refers to");
    assert_eq!(good("\u{feff}labels: {a: b}\r\n"), good("labels: {a: b}\n"), "a byte order mark, Windows line ends");
    assert_eq!(good("%YAML 1.2\n---\nlabels:\n  a: >-\n    b\n...\n"), good("labels: {a: b}\n"));
    let laughs: String = (1..20).map(|i| format!("l{i}: &l{i} [*l{}, *l{}]\n", i - 1, i - 1)).collect();
    for (text, begin) in [
        (format!("l0: &l0 [a]\n{laughs}"), "p.yaml:2:10: YAML aliases (*name) are not supported; write the value out"),
        ("a: &a {b: c}\nlabels: {<<: *a}\n".into(), "p.yaml:2:10: YAML merge keys (<<) are not supported"),
        ("labels: {<<: {b: c}}\n".into(), "p.yaml:1:10: YAML merge keys (<<) are not supported"),
        ("loki:\n\turl: http://a\n".into(), "p.yaml:2:"),
        ("labels: {[a, b]: c}\n".into(), "p.yaml:1:10: a key must be a word"),
        ("labels: {a: b, a: c}\n".into(), "p.yaml:1:16: key a is set twice, first in line 1"),
        (format!("labels: {}a{}\n", "{a: ".repeat(5000), "}".repeat(5000)), "p.yaml:1:"),
        ("- ".repeat(5000), "p.yaml:1:"),
        ("[".repeat(100_000), "p.yaml:1:"),
        ("labels: \u{0}\n".into(), "p.yaml:1:"),
    ] {
        let errors = bad(&text);
        assert!(errors.starts_with(begin), "{begin}\n{errors}");
        assert!(errors.lines().count() == 1 && errors.len() < 500, "{errors}");
    }
}

#[test]
fn what_is_no_yaml_says_where() {
    for (text, begin) in [
        ("loki: {url: a\n", "p.yaml:1:7: not valid YAML: unclosed bracket"),
        ("loki:\n\turl: a\n", "p.yaml:2:"),
        ("a: *b\n", "p.yaml:1:4: not valid YAML: "),
        ("a: &b 1\nc: *b\n", "p.yaml:2:4: YAML aliases (*name) are not supported"),
        ("loki: {}\nloki: {}\n", "p.yaml:2:1: key loki is set twice, first in line 1"),
        ("loki: {}\n---\nloki: {}\n", "p.yaml:3:1: a second YAML document"),
        ("- a\n", "p.yaml:1:1: expected keys (loki, labels, "),
    ] {
        let errors = bad(text);
        assert!(errors.starts_with(begin), "{errors:?}");
    }
    let deep = format!("labels: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(bad(&deep).contains("too deep"));
}

#[test]
fn a_secret_header_is_never_repeated_in_an_error() {
    let errors = bad("loki: {headers: {Authorization: \"s3cret\\n\", 'bad name': s3cret}}\n");
    assert_eq!(errors.lines().count(), 2);
    assert!(!errors.contains("s3cret"), "{errors}");
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_problems_that_can_be_shown(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "loki", "url", "labels", ":", ": ", "\n", "  ", "- ", "{", "}", "[", "]", ",", "\"", "'", "${", "$$", "A",
                "&a ", "*a", "!!x ", "|", ">", "#", "\t", "~", "10s", "http://a", "tls", "batch", "%", "---\n", "é",
            ]),
            0..40,
        )
    ) {
        let text = words.concat();
        if let Err(problems) = Compiled::parse(&text, &none) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
}
