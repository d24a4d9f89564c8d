//! The status page: three files that are part of the program.
//!
//! In: a path. Out: the file, with a policy by which it loads nothing from elsewhere and runs no script but its own, whatever a
//! log, a name or an annotation holds.

use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
};

use super::{Answer, whole};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// In the order of `page/ORDER`.
pub(super) const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("../page/dom.js"),
    include_str!("../page/format.js"),
    include_str!("../page/chart.js"),
    include_str!("../page/overview.js"),
    include_str!("../page/units.js"),
    include_str!("../page/unit.js"),
    include_str!("../page/tail.js"),
    include_str!("../page/main.js"),
);

/// The file at this path, if it is one of the page's.
pub(super) fn file(path: &str) -> Option<Answer> {
    let (content_type, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("../page/index.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("../page/page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return None,
    };
    let mut response = whole(StatusCode::OK, content_type, text);
    for (name, value) in
        [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}
