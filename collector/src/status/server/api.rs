//! `/api/v1`: the [`View`] as JSON (docs/status.md).

use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, HeaderValue},
};
use serde::Serialize;

use super::{Answer, text, whole};
use crate::status::view::{Busy, View, unit_of};

/// What stands at a path below `/api/v1/`; `None`: nothing. `tail`: whether the peer may see lines.
pub(super) async fn answer(path: &str, tail: bool, view: &View) -> Option<Answer> {
    Some(match path.split_once('/') {
        None if path == "status" => json(&view.summary(tail).await),
        None if path == "units" => view.units().await.map_or_else(busy, |units| json(&units)),
        Some(("units", name)) => match view.unit(unit_of(name)?).await {
            Ok(Some(unit)) => json(&unit),
            Ok(None) => no_unit(),
            Err(error) => busy(error),
        },
        _ => return None,
    })
}

pub(super) fn no_unit() -> Answer {
    text(StatusCode::NOT_FOUND, "no such unit: its container is gone, or Pilcrow was restarted\n".into())
}

pub(super) fn busy(_: Busy) -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "the reader is busy and did not answer in time; try again\n".into())
}

fn json(value: &impl Serialize) -> Answer {
    let Ok(body) = serde_json::to_vec(value) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written as JSON\n".into());
    };
    let mut response = whole(StatusCode::OK, "application/json", body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
