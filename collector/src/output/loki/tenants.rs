//! What Loki's answers have shown of each tenant.
//!
//! In: requests that got through, streams that were refused. Out: whether a tenant's streams are certain, and whether what fails
//! fails for one tenant only. Bounded: a tenant is forgotten half an hour after it was heard of last.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::certain::{TIGHT_FOR, Tenant};
use crate::model::TenantName;

const FORGET_AFTER: Duration = TIGHT_FOR;

#[derive(Debug, Default)]
pub(super) struct Tenants {
    /// Grows when Loki may have lost what it had in memory.
    pub(super) epoch: u32,
    known: HashMap<TenantName, Known>,
}

#[derive(Debug, Default)]
struct Known {
    passed: Option<Instant>,
    tight_until: Option<Instant>,
}

impl Tenants {
    /// What decides whether a tenant's streams are certain.
    pub(super) fn of(&self, name: &TenantName) -> Tenant {
        Tenant { epoch: self.epoch, tight_until: self.known.get(name).and_then(|known| known.tight_until) }
    }

    /// Loki has refused a stream of the tenant at its stream limit.
    pub(super) fn note_tight(&mut self, name: &TenantName, now: Instant) {
        self.known.entry(name.clone()).or_default().tight_until = Some(now + TIGHT_FOR);
    }

    /// Loki took lines of the tenant.
    pub(super) fn note_passed(&mut self, name: &TenantName, now: Instant) {
        match self.known.get_mut(name) {
            Some(known) => known.passed = Some(now),
            None => {
                let is_recent =
                    |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < FORGET_AFTER);
                self.known
                    .retain(|_, known| is_recent(known.passed) || known.tight_until.is_some_and(|until| now < until));
                self.known.insert(name.clone(), Known { passed: Some(now), tight_until: None });
            }
        }
    }

    /// Whether Loki took lines of the tenant after that time.
    pub(super) fn passes(&self, name: &TenantName, since: Instant) -> bool {
        self.known.get(name).and_then(|known| known.passed).is_some_and(|at| at > since)
    }

    /// Whether Loki took lines of other tenants after that time.
    pub(super) fn others_pass(&self, name: &TenantName, since: Instant) -> bool {
        self.known.keys().any(|other| other != name && self.passes(other, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_get_is_told_from_what_the_tenant_itself_gets() {
        let (start, mut tenants) = (Instant::now(), Tenants::default());
        let [a, b]: [TenantName; 2] = [Some("a".into()), None];
        let later = start + Duration::from_secs(1);
        assert!(!tenants.others_pass(&a, start));
        tenants.note_passed(&b, later);
        assert!(tenants.others_pass(&a, start) && tenants.passes(&b, start));
        assert!(!tenants.others_pass(&b, start) && !tenants.others_pass(&a, later) && !tenants.passes(&a, start));
        tenants.note_tight(&a, later);
        assert!(tenants.of(&a).tight_until.is_some() && tenants.of(&b).tight_until.is_none());
        tenants.note_passed(&Some("c".into()), later + FORGET_AFTER);
        assert!(tenants.known.len() < 3);
    }
}
