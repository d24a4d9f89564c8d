//! Arguments of the programs, of Promtail and of Alloy, that change no line and no label.

/// What is told of such an argument; nothing where it is another one. `name`: without dashes and value.
#[must_use]
pub fn without_effect(name: &str) -> Option<&'static str> {
    const BEGINNINGS: [(&str, &str); 11] = [
        ("config.file", "Pilcrow's chart names the file itself"),
        ("config.expand-env", "always on: ${NAME}, ${NAME:-default}"),
        ("print-config-stderr", "`pilcrow check` prints what a configuration means"),
        ("log-config-reverse-order", "`pilcrow check` prints what a configuration means"),
        ("inspect", "`pilcrow try --explain` shows what each stage does"),
        ("server.", "Pilcrow serves only /metrics, /ready and /healthz, at http.listen"),
        ("target.", "growth is reported by the kernel; sweep.interval is the safety net"),
        ("cluster.", "each node reads its own files, so that there is nothing to share out"),
        ("stability.level", "Pilcrow has no such levels"),
        ("feature.", "Pilcrow has no such levels"),
        ("disable-reporting", "Pilcrow reports to nobody"),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, text)| *text)
}
