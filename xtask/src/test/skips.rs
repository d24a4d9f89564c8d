//! Which skips a CI machine is allowed, and why.
//!
//! On a developer's machine a skip is only reported. With CI=true it is a failure, so that a missing tool or permission
//! cannot turn the tests off unseen, unless it is listed here.

use super::Skip;

/// A reason that no CI machine can fix.
struct Allowed {
    /// What the reason begins with: the part of the test that cannot run.
    part: &'static str,
    /// What else is in it.
    reason: &'static str,
}

/// Each entry says above it why the CI machine cannot run the test, and where it runs instead.
const ALLOWED: &[Allowed] = &[
    // The CI machine's kernel takes tp_btf programs, with which the same tests run, and refuses to attach fexit ones: they
    // run in the virtual machines of the step `vm`.
    Allowed { part: "fexit", reason: "Operation not permitted" },
    // And it is built without CONFIG_KPROBES: as fexit.
    Allowed { part: "kprobe", reason: "this kernel has no kprobes" },
];

/// Whether this skip may stand in a CI run: all of its reasons are on the list.
pub fn is_allowed(skip: &Skip) -> bool {
    let is_listed = |reason: &String| {
        ALLOWED.iter().any(|allowed| reason.starts_with(allowed.part) && reason.contains(allowed.reason))
    };
    skip.reasons.iter().all(is_listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_that_is_not_listed_is_enough_to_refuse_a_skip() {
        let skip = |reasons: &[&str]| Skip { test: "t".into(), reasons: reasons.iter().map(|&r| r.into()).collect() };
        let listed = "kprobe vfs_write: this kernel has no kprobes (use another)";
        assert!(is_allowed(&skip(&[listed])));
        assert!(!is_allowed(&skip(&[listed, "tp_btf ext4_da_write_end: not root"])));
    }
}
