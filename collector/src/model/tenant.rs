//! Loki's tenants.

use std::sync::Arc;

/// The tenant that a `tenant` stage chose for lines; `None`: that of `loki.tenant`.
pub type TenantName = Option<Arc<str>>;

/// Bytes of the longest name (dskit, tenant.ValidTenantID).
const BYTES_MAX: usize = 150;

/// What [`is_tenant_name`] asks for, for messages.
pub const TENANT_NAME_RULE: &str = "at most 150 letters, digits and ! - _ . * ' ( )";

/// Whether Loki takes it as the name of one tenant (dskit, tenant.ValidTenantID).
pub fn is_tenant_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(&byte);
    !name.is_empty() && name.len() <= BYTES_MAX && name.bytes().all(is_good) && name != "." && name != ".."
}
