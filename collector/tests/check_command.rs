//! The command line: `pilcrow check`, what it prints, and the exit codes of all commands that read a configuration.

use std::{fs, path::Path, process::Command};

/// Standard output, standard error and exit code.
fn pilcrow(arguments: &[&str], environment: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilcrow"));
    command.args(arguments).env_remove("LOKI_URL").env_remove("NODE_NAME").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn check(yaml: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), yaml).unwrap();
    let path = file.path().to_str().unwrap();
    let (out, err, code) = pilcrow(&[&["check", "--config", path], arguments].concat(), &[]);
    (out.replace(path, "FILE"), err.replace(path, "FILE"), code)
}

#[test]
fn a_good_configuration_is_explained_in_sentences() {
    let (out, err, code) = check(
        "loki: {url: 'https://loki.example.com', tenant: home, headers: {X-Token: s3cret}}\n\
         labels: {cluster: home-k8s}\nstart_at: end\n",
        &[],
    );
    assert_eq!((err.as_str(), code), ("", Some(0)));
    for sentence in [
        "The configuration is valid:\n",
        "- Lines go to Loki at https://loki.example.com, for tenant home.\n",
        "- Every request carries the headers X-Token.\n",
        "- The built-in rules make labels, such as {app=\"nginx\", cluster=\"home-k8s\", container=\"nginx\", \
         job=\"default/nginx\", namespace=\"default\", pod=\"nginx-6d9c6b5f4-x2x7k\", stream=\"stderr\"} (",
        "- Logs of all namespaces are collected; pods with the annotation pilcrow.dev/exclude: \"true\" are left out.\n",
        "- Logs are read from /var/log/pods; those without a saved position from their end",
        "- Positions are kept in /var/lib/pilcrow.\n",
        "Files are read by io_uring if the kernel allows it, else pread.\n",
        "- A stream is sent at 2.5MiB a second at most, 10MiB at once; one that Loki refuses waits on the disk",
        "- Metrics, readiness and health are served on http://[::]:9080/; not ready after lines have waited for 2m ",
    ] {
        assert!(out.contains(sentence), "{sentence}\n{out}");
    }
    assert!(!out.contains("s3cret") && !out.contains("warning: "), "{out}");
}

#[test]
fn levels_and_service_name_are_shown_where_they_are_on() {
    let yaml = "levels: true\nservice_name: true\n";
    let (out, err, code) = check(yaml, &[]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    assert!(check(yaml, &["--print"]).0.contains("\nlevels: true\nservice_name: true\n"));
    for part in [
        "- The built-in rules make labels, and service_name is added, such as {app=\"nginx\", ",
        "service_name=\"nginx\", stream=\"stderr\"}",
        "- The level of each line is sent as the structured metadata detected_level, ",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let (out, ..) = check("{}", &[]);
    assert!(!out.contains("detected_level") && !out.contains("service_name"), "{out}");
}

#[test]
fn what_is_printed_is_a_configuration_with_the_same_meaning_and_no_secret() {
    let yaml = "loki: {batch: {age: 90s}, headers: {Authorization: s3cret}}\nlabels: {v: '1.10', n: 'null', y: 'true'}\n\
                kubernetes: {enabled: false, node_name: ''}\n";
    let (out, _, code) = check(yaml, &["--print"]);
    assert_eq!(code, Some(0));
    assert!(!out.contains("s3cret"), "{out}");
    assert!(out.starts_with("loki:\n") && out.contains("age: 1m30s"), "{out}");
    let (again, err, code) = check(&out, &["--print"]);
    assert_eq!((again, err.as_str(), code), (out, "", Some(0)));
}

#[test]
fn dollars_are_printed_so_that_they_mean_the_same_when_they_are_read_again() {
    let yaml = "labels: {a: 'x$$$$y', b: '$${HOME}', c: '$$1'}\nrelabel_configs:\n\
                - {source_labels: [namespace], regex: '(.)(.*)', target_label: t, replacement: '$$$$$1-$${two}-${1}'}\n\
                pipeline_stages: [{template: {source: a, template: '$$$$ $${x} ${1} $y'}}]\n";
    let (out, err, code) = check(yaml, &["--print"]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    for line in ["  a: x$$$$y\n", "  b: $${HOME}\n", "replacement: $$$$$$1-$${two}-$${1}\n"] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert_eq!(check(&out, &["--print"]).0, out);
}

#[test]
fn what_works_but_is_likely_not_meant_is_warned_of() {
    let labels: Vec<String> = (0..10).map(|i| format!("l{i}: x")).collect();
    let yaml = format!(
        "loki:\n  url: http://a\n  basic_auth: {{username: me, password_file: /nonexistent}}\n  tls: {{server_name: b}}\n\
         labels: {{{}}}\nrelabel_configs: [{{source_labels: [__meta_kubernetes_pod_ip], target_label: ip}}, \
         {{target_label: l, replacement: x}}]\n",
        labels.join(", ")
    );
    let yaml = format!("reader: {{shards: 2}}\n{yaml}");
    let (out, _, code) = check(&yaml, &[]);
    assert_eq!(code, Some(0));
    for warning in [
        "warning: line 1: reader.shards: has no effect any more: one thread reads all files; delete the key\n",
        "warning: loki.basic_auth.password_file: /nonexistent cannot be read on this machine: No such file or directory",
        "warning: loki.url is http://: the password or token travels unencrypted\n",
        "warning: loki.tls has no effect, as loki.url is http://\n",
        "warning: 17 labels (app, container, job, l, l0, ",
        ") are more than the 15 that Loki accepts by default (max_label_names_per_series)\n",
        "warning: relabel_configs[0]: __meta_kubernetes_pod_ip is always empty: it stands in the pod's spec or status, and \
         Pilcrow asks the Kubernetes API for the pods' metadata only\n",
    ] {
        assert!(out.contains(warning), "{warning}\n{out}");
    }
}

#[test]
fn more_labels_by_rules_and_stages_together_than_loki_accepts_are_warned_of() {
    let labels: Vec<String> = (0..10).map(|index| format!("l{index}: x")).collect();
    let stages = format!("pipeline_stages: [{{static_labels: {{{}}}}}]\n", labels.join(", "));
    let (out, _, code) = check(&format!("loki: {{url: http://a}}\n{stages}"), &[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("warning: lines may have 16 labels (app, container, job, l0, "), "{out}");
    let (out, _, _) = check("loki: {url: http://a}\npipeline_stages: [{static_labels: {l: x}}]\n", &[]);
    assert!(!out.contains("warning: lines may have"), "{out}");
}

#[test]
fn the_rules_are_printed_so_that_they_can_stand_in_the_place_of_the_built_in_ones() {
    let yaml = "labels: {cluster: home}\nrelabel_configs:\n\
                - {action: LabelDrop, regex: pod}\n\
                - {source_labels: [container], regex: '(.)(.*)', target_label: c, replacement: '${1}-$$$$${2}', separator: ''}\n";
    let (rules, err, code) = check(yaml, &["--show-relabel"]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    let begin = "relabel_defaults: false\nrelabel_configs:\n# built in\n\
                 - {source_labels: [__meta_kubernetes_namespace], target_label: namespace, action: replace}\n";
    assert!(rules.starts_with(begin), "{rules}");
    let labels = |yaml: &str| {
        let (out, err, _) = check(yaml, &[]);
        let sentence = out.lines().find(|line| line.contains("such as {")).unwrap_or_else(|| panic!("{out}{err}"));
        sentence.split_once("such as ").unwrap().1.to_owned()
    };
    assert!(labels(yaml).contains("c=\"n-$ginx\", cluster=\"home\""), "{}", labels(yaml));
    assert_eq!(labels(&format!("labels: {{cluster: home}}\n{rules}")), labels(yaml));
}

#[test]
fn what_only_the_kubernetes_api_knows_is_warned_of_where_it_is_not_asked() {
    let rule = "- {source_labels: [__meta_kubernetes_pod_label_tier], regex: web, action: keep}";
    let yaml = format!("kubernetes: {{enabled: false, pod_selector: tier=web}}\nrelabel_configs:\n{rule}\n");
    let (out, _, code) = check(&yaml, &[]);
    assert_eq!(code, Some(0));
    for expected in [
        "lines of a container nginx in the namespace default are left out by them.\n",
        "warning: kubernetes.pod_selector has no effect: only the Kubernetes API knows the labels of pods",
        "warning: relabel_configs[0]: __meta_kubernetes_pod_label_tier is always empty: only the Kubernetes API knows it",
    ] {
        assert!(out.contains(expected), "{expected}\n{out}");
    }
}

#[test]
fn without_a_file_the_environment_is_the_configuration() {
    let (out, _, code) = pilcrow(&["check"], &[("LOKI_URL", "http://loki.monitoring:3100"), ("NODE_NAME", "pi-3")]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Loki at http://loki.monitoring:3100, without a tenant.\n"), "{out}");
    let (out, ..) = pilcrow(&["check", "--print"], &[("NODE_NAME", "pi-3")]);
    assert!(out.contains("  node_name: pi-3\n"), "{out}");
    let (_, err, code) = pilcrow(&["check"], &[("LOKI_URL", "loki:3100")]);
    let message = "environment variable LOKI_URL: loki.url: lacks http:// or https:// in front of \"loki:3100\"\n";
    assert_eq!((err.as_str(), code), (message, Some(2)));
}

/// In a mount namespace of its own, so that the machine's /etc is left alone.
#[test]
fn check_and_doctor_read_the_file_of_the_packages_where_no_other_is_named_and_say_so() {
    let run = |arguments: &str| {
        let script = format!(
            "mount -t tmpfs none /etc && mkdir /etc/pilcrow && echo 'labels: {{site: attic}}' > /etc/pilcrow/pilcrow.yaml && \
             exec \"$0\" {arguments}"
        );
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_pilcrow")]);
        let output = command.env_remove("LOKI_URL").env_remove("NODE_NAME").output();
        output.map(|output| [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
    };
    let said = "pilcrow: using /etc/pilcrow/pilcrow.yaml\n";
    let [out, err] = match run("check --print") {
        Ok([_, err]) if err.contains("unshare:") || err.contains("mount:") => return println!("SKIPPED: {err}"),
        Ok(printed) => printed,
        Err(error) => return println!("SKIPPED: unshare: {error}"),
    };
    assert!(out.starts_with("loki:\n") && out.contains("  site: attic\n"), "{out}");
    assert_eq!(err, said);
    assert!(run("doctor").unwrap()[1].starts_with(said));
    let [out, err] = run("check --config /dev/null").unwrap();
    assert!(out.starts_with("The configuration is valid") && !out.contains("attic") && err.is_empty(), "{out}{err}");
    let (_, err, _) = pilcrow(&["check"], &[]);
    assert!(err.contains("/etc/pilcrow/pilcrow.yaml"), "{err}");
}

#[test]
fn the_mistakes_shown_in_the_documentation_are_reported_so() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let (out, err, code) = check("loki:\n  ulr: http://loki:3100\n  timeout: ten\nsignal: epbf\n", &[]);
    assert_eq!((out.as_str(), code), ("", Some(2)));
    assert_eq!(err.replace("FILE", "pilcrow.yaml"), shown);
}

#[test]
fn every_command_ends_with_2_on_a_bad_configuration_or_command_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "sginal: auto\n").unwrap();
    let path = file.path().to_str().unwrap();
    for command in ["run", "check", "doctor"] {
        let (out, err, code) = pilcrow(&[command, "--config", path], &[]);
        let message = format!("{path}:1:1: sginal: unknown key; did you mean signal?\n");
        assert_eq!((out.as_str(), err, code), ("", message, Some(2)), "{command}");
        let (_, err, code) = pilcrow(&[command, "--config", "/nonexistent/p.yaml"], &[]);
        let message = "cannot read the configuration /nonexistent/p.yaml: No such file or directory (os error 2)\n";
        assert_eq!((err.as_str(), code), (message, Some(2)), "{command}");
    }
    for arguments in [&["chekc"][..], &["run", "--confg", "a"], &[]] {
        assert_eq!(pilcrow(arguments, &[]).2, Some(2), "{arguments:?}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let (out, _, code) = pilcrow(&["--version"], &[]);
    assert_eq!((out.as_str(), code), (concat!("pilcrow ", env!("CARGO_PKG_VERSION"), "\n"), Some(0)));
}

#[test]
fn stages_that_do_nothing_and_labels_with_many_values_are_warned_of_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let pods = folder.path().join("pods");
    let container = pods.join("default_web_467433c9-ed7f-4e83-9600-6441503c1539").join("web");
    fs::create_dir_all(&container).unwrap();
    let lines: String = (0..80)
        .map(|n| format!("2026-01-02T00:{:02}:{:02}.5Z stdout F {{\"kind\":\"k{n}\"}}\n", n / 60, n % 60))
        .collect();
    fs::write(container.join("0.log"), lines).unwrap();
    let yaml = format!(
        "labels: {{cluster: home}}\npaths: {{pods: {}, state: {}}}\npipeline_stages:\n- json: {{expressions: {{kind: , t: , trace_id: }}}}\n\
         - labels: {{kind: , level: , trace_id: }}\n- timestamp: {{source: t, format: RFC3339, action_on_failure: fudge}}\n\
         - match: {{selector: '{{cluster=\"office\"}}', action: drop}}\n",
        pods.display(),
        folder.path().join("state").display()
    );
    let (out, err, code) = check(&yaml, &[]);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    for warning in [
        "warning: line 5: pipeline_stages[1].labels.level: nothing extracts level, and no label has this name\n",
        "warning: line 5: pipeline_stages[1].labels.trace_id: this name speaks of many values: ",
        "warning: line 6: pipeline_stages[2].timestamp.action_on_failure: fudge: ",
        "warning: line 7: pipeline_stages[3].match.selector: never matches: cluster is always \"home\" here\n",
        "warning: pipeline_stages: the label kind has 80 values in the last 80 lines of this node's 1 containers; each is a stream of its own\n",
    ] {
        assert!(out.contains(warning), "{warning}\n{out}");
    }
}
