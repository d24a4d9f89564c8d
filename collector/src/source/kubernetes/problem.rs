//! What can go wrong between Pilcrow and the API, with the fix.

use std::{error::Error, fmt, time::Duration};

use kube::core::Status;

/// A failed request or watch, which is retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For the metrics: `unauthorized`, `forbidden`, `expired`, `refused`, `credentials`, `timeout` or `unreachable`.
    pub reason: &'static str,
    pub what: String,
    /// Empty where there is no advice.
    pub fix: &'static str,
}

impl Problem {
    /// Of one request.
    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            kube::Error::Auth(error) => Self::credentials(error),
            error => match innermost(error) {
                // The layer that adds the token boxes its errors like all the others.
                inner if inner.downcast_ref::<kube::client::AuthError>().is_some() => Self::credentials(inner),
                inner => Self {
                    reason: "unreachable",
                    what: format!("does not answer ({inner})"),
                    fix: "is the API server up, and may Pilcrow reach it (network policies, firewall)?",
                },
            },
        }
    }

    /// An answer that is not the list or the watch that was asked for.
    pub(super) fn unreadable(error: &dyn fmt::Display) -> Self {
        Self {
            reason: "refused",
            what: format!("gave no list of pods ({error})"),
            fix: "is a proxy or another server at its address?",
        }
    }

    /// A watch that ended as soon as it had begun.
    pub(super) fn watch_ended() -> Self {
        Self {
            reason: "refused",
            what: "ended the watch at once".into(),
            fix: "does a proxy before it pass on watches?",
        }
    }

    /// Nothing came within `limit`.
    pub(super) fn timeout(limit: Duration) -> Self {
        Self {
            reason: "timeout",
            what: format!("did not answer within {} s", limit.as_secs()),
            fix: "is the API server overloaded, or does a firewall drop packets?",
        }
    }

    /// Whether it is a normal event of a watch.
    pub(super) fn is_ordinary(&self) -> bool {
        self.reason == "expired"
    }

    pub(super) fn credentials(error: &dyn Error) -> Self {
        Self {
            reason: "credentials",
            what: format!("could not be asked, as the credentials cannot be read ({error})"),
            fix: "is the service account's token mounted, or what the kubeconfig names there?",
        }
    }

    /// Of what the API answered, or ended a watch with.
    pub(super) fn of_status(status: &Status) -> Self {
        let Status { code, message, .. } = status;
        match code {
            401 => Self {
                reason: "unauthorized",
                what: format!("does not accept Pilcrow's credentials (401 {message})"),
                fix: "is the service account's token, or the kubeconfig's, one of this cluster, and not expired?",
            },
            403 => Self {
                reason: "forbidden",
                what: format!("forbids Pilcrow to read the pods (403 {message})"),
                fix: "bind its service account to a ClusterRole with this rule: \
                       {apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}",
            },
            410 => Self { reason: "expired", what: format!("ended the watch (410 {message})"), fix: "" },
            _ => Self { reason: "refused", what: format!("answered {code} {message}"), fix: "" },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; {}", self.fix) }
    }
}

/// The outer errors of a failed connection only say that something failed.
fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut error = error;
    while error.downcast_ref::<kube::client::AuthError>().is_none()
        && let Some(source) = error.source()
    {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn status(code: u16) -> Status {
        Status::failure("the message", "Reason").with_code(code)
    }

    #[test]
    fn each_refusal_has_its_reason_and_a_forbidden_one_names_the_missing_rule() {
        for (code, reason) in [(401, "unauthorized"), (403, "forbidden"), (410, "expired"), (500, "refused")] {
            let problem = Problem::of(&kube::Error::Api(status(code).boxed()));
            assert_eq!(problem.reason, reason);
            assert!(problem.what.contains(&format!("{code} the message")), "{problem}");
        }
        let forbidden = Problem::of(&kube::Error::Api(status(403).boxed())).to_string();
        assert!(forbidden.contains("{apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}"), "{forbidden}");
    }

    #[test]
    fn a_watch_that_expired_is_normal() {
        assert!(Problem::of_status(&status(410)).is_ordinary());
        assert!(!Problem::of_status(&status(500)).is_ordinary());
    }

    #[test]
    fn a_failed_connection_says_its_cause_and_not_that_a_service_failed() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let problem = Problem::of(&kube::Error::Service(Box::new(refused)));
        assert_eq!((problem.reason, problem.what.as_str()), ("unreachable", "does not answer (connection refused)"));
    }
}
