//! The steps of `cargo xtask test`, in the order in which they run.
//!
//! A step says what is wrong by an error or by its [`Report`]; it must not print a verdict of its own.

use std::thread;

use super::{Report, chart, layering, libtest, packages, page};
use crate::{
    apt, bench, build, chaos, conformance, cross, e2e, ebpf, helm::Helm, image, links, package, process, versions, vm,
    words, workflows,
};

/// One step.
pub struct Step {
    /// What `--only` takes.
    pub name: &'static str,
    /// One line for people.
    pub what: &'static str,
    /// Only with `--all`.
    pub long: bool,
    pub run: fn() -> anyhow::Result<Report>,
}

/// All names, for the command line.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut i = 0;
    while i < ALL.len() {
        names[i] = ALL[i].name;
        i += 1;
    }
    names
};

pub const ALL: [Step; 19] = [
    Step { name: "format", what: "cargo fmt", long: false, run: format },
    Step {
        name: "layering",
        what: "which part may import which, and how long a file may be",
        long: false,
        run: layering::run,
    },
    Step { name: "lints", what: "clippy, warnings are errors", long: false, run: lints },
    Step {
        name: "docs",
        what: "rustdoc, warnings are errors; links, words and versions in the documents, and the age of their figures",
        long: false,
        run: docs,
    },
    Step { name: "tests", what: "unit, property, behaviour and probe tests", long: false, run: tests },
    Step { name: "chaos", what: "everything goes wrong at once, with fixed seeds", long: false, run: chaos },
    Step { name: "helm", what: "the chart, and the manifests made from it", long: false, run: chart::run },
    Step {
        name: "packages",
        what: "the deb and the rpm, installed into a root of their own",
        long: false,
        run: packages::run,
    },
    Step { name: "workflows", what: "actionlint on .github/workflows", long: false, run: workflows },
    Step { name: "vm", what: "the probe's tests and the collector on real kernels, in QEMU", long: false, run: vm },
    Step {
        name: "probe",
        what: "the probe, built from its sources, is the one in the repository",
        long: true,
        run: probe,
    },
    Step {
        name: "cross",
        what: "the aarch64 binaries, static and for glibc, under an emulator, and the image",
        long: true,
        run: cross,
    },
    Step {
        name: "conformance",
        what: "the pipeline stages against Promtail's own library, with a fixed seed",
        long: true,
        run: conformance,
    },
    Step {
        name: "page",
        what: "the status page in a real browser: of a stand-in, and of the program",
        long: true,
        run: page::run,
    },
    Step {
        name: "containerd",
        what: "the collector's pod on a node with containerd, in QEMU",
        long: true,
        run: containerd,
    },
    Step { name: "systemd", what: "the deb on a machine with a real systemd, in QEMU", long: true, run: systemd },
    Step { name: "docker", what: "the collector beside a real Docker", long: true, run: docker },
    Step { name: "loki", what: "the collector against a real Loki", long: true, run: loki },
    Step { name: "kube", what: "the collector against a real kube-apiserver", long: true, run: kube },
];

fn probe() -> anyhow::Result<Report> {
    Ok(match ebpf::check()? {
        None => Report::one_passed(),
        Some(reason) => Report::one_skipped("probe", &reason),
    })
}

fn format() -> anyhow::Result<Report> {
    if !has_component("fmt") {
        return Ok(Report::one_skipped("format", "no rustfmt; run: rustup component add rustfmt"));
    }
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    Ok(Report::one_passed())
}

fn lints() -> anyhow::Result<Report> {
    if !has_component("clippy") {
        return Ok(Report::one_skipped("lints", "no clippy; run: rustup component add clippy"));
    }
    ensure_c_compiler()?;
    ebpf::lint()?;
    process::run(process::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(Report::one_passed())
}

fn docs() -> anyhow::Result<Report> {
    process::run(
        process::cargo()
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            // Private items are documented too, so a link to one leads somewhere.
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"),
    )?;
    links::check()?;
    words::check()?;
    versions::check()?;
    bench::figures_are_recent()?;
    Ok(Report { passed: 5, ..Report::default() })
}

fn workflows() -> anyhow::Result<Report> {
    if let Err(reason) = workflows::ACTIONLINT.can_build() {
        return Ok(Report::one_skipped("workflows", reason));
    }
    workflows::check()?;
    Ok(Report::one_passed())
}

/// Other programs that tests compare with: one reads the YAML that `pilcrow migrate` writes, install.sh calls the other.
const PEERS: [apt::Package; 2] = [
    apt::Package { name: "python3-yaml", program: "/usr/lib/python3/dist-packages/yaml/__init__.py" },
    apt::Package { name: "kubernetes-client", program: "kubectl" },
];

fn tests() -> anyhow::Result<Report> {
    ebpf::ensure_built()?;
    ensure_c_compiler()?;
    if let Err(error) = apt::ensure(&PEERS) {
        println!("some tests will be skipped: {error:#}");
    }
    let mut cargo = process::cargo();
    match Helm::check_available() {
        Ok(()) => drop(cargo.env("HELM", Helm::find_or_build()?.program())),
        Err(reason) => println!("a test will be skipped: {reason}"),
    }
    // --show-output, as libtest otherwise keeps what a passing test says, its `SKIPPED:` lines among it.
    cargo.args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"]);
    // Most of them wait for something most of the time.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cargo.arg(format!("--test-threads={}", 2 * cores));
    libtest::follow("tests", cargo)
}

fn chaos() -> anyhow::Result<Report> {
    let mut report = Report::one_passed();
    if let Some(not_done) = chaos::run_ci_seeds()? {
        report.add(Report::one_skipped("chaos", not_done));
    }
    Ok(report)
}

fn vm() -> anyhow::Result<Report> {
    if let Err(reason) = vm::can_boot() {
        return Ok(Report::one_skipped("vm", reason));
    }
    vm::report()
}

fn containerd() -> anyhow::Result<Report> {
    if let Err(reason) = vm::can_boot() {
        return Ok(Report::one_skipped("containerd", reason));
    }
    vm::report_of(vm::Set::Containers)
}

fn systemd() -> anyhow::Result<Report> {
    if let Err(reason) = vm::can_boot().and_then(|()| package::NFPM.can_build()) {
        return Ok(Report::one_skipped("systemd", reason));
    }
    vm::report_of(vm::Set::Service)
}

fn conformance() -> anyhow::Result<Report> {
    if let Err(reason) = conformance::can_run() {
        return Ok(Report::one_skipped("conformance", reason));
    }
    conformance::run(&conformance::Args::default())?;
    Ok(Report::one_passed())
}

fn cross() -> anyhow::Result<Report> {
    cross::static_program_starts()?;
    cross::glibc_program_starts()?;
    image::is_read_by_skopeo(build::AARCH64_STATIC)?;
    Ok(Report { passed: 3, ..Report::default() })
}

fn docker() -> anyhow::Result<Report> {
    if let Err(reason) = e2e::docker::check_available() {
        return Ok(Report::one_skipped("docker", reason));
    }
    e2e::docker::run(&build::build(None, true)?)?;
    Ok(Report::one_passed())
}

fn loki() -> anyhow::Result<Report> {
    if let Err(reason) = e2e::loki::PROGRAM.can_build() {
        return Ok(Report::one_skipped("loki", reason));
    }
    e2e::rules::are_parsed()?;
    e2e::run(&e2e::Args::default())?;
    Ok(Report { passed: 2, ..Report::default() })
}

fn kube() -> anyhow::Result<Report> {
    if let Err(reason) = e2e::kube::cluster::PROGRAM.can_build() {
        return Ok(Report::one_skipped("kube", reason));
    }
    e2e::kube::run(None, false)?;
    Ok(Report::one_passed())
}

/// Whether the toolchain has `cargo NAME`.
fn has_component(name: &str) -> bool {
    let mut cargo = process::cargo();
    process::output_of(cargo.args([name, "--version"])).is_ok()
}

/// ring and mimalloc are partly C.
fn ensure_c_compiler() -> anyhow::Result<()> {
    apt::ensure(&[apt::Package { name: "gcc", program: "cc" }, apt::Package { name: "libc6-dev", program: "cc" }])
}
