//! Asking for pods: the list and the watch, read while they arrive.
//!
//! In: an [`Access`]. Out: each pod's object or event as JSON, one at a time, and the version up to which a list goes. Guarantees that no
//! answer is in memory as a whole, however large the pods are. Does not know what is read of an object.

use std::{pin::Pin, time::Duration};

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ListMeta};
use kube::{
    Resource,
    api::{ListParams, VersionMatch, WatchParams},
    core::{Request, request},
};
use serde::Deserialize;

use super::{
    Access, Problem,
    access::SILENCE_MAX,
    cut::{Cutter, Shape},
};
use crate::config::open_named_file;

/// How a list ended.
#[derive(Debug)]
pub struct Listed {
    /// A watch goes on from here.
    pub version: String,
    /// Pods that were passed over, as their objects are larger than [`super::cut::OBJECT_BYTES_MAX`].
    pub too_large: usize,
}

/// An answer, of which the beginning came.
pub struct Answer {
    body: Pin<Box<dyn AsyncBufRead + Send>>,
    cutter: Cutter,
    silence: Duration,
}

impl Access {
    /// Asks once for this node's pods, and calls `each` with the object of each.
    ///
    /// # Errors
    /// Where the API does not give all of them, or nothing comes for as long as `silence`.
    pub(super) async fn list(&self, silence: Duration, mut each: impl FnMut(&[u8])) -> Result<Listed, Problem> {
        // Version 0: what the API server has in memory will do, and etcd is not asked, as hundreds of nodes may start at once. It
        // does not divide such a list into pages.
        let mut params = ListParams::default().fields(&self.field_selector());
        params = params.at("0").matching(VersionMatch::NotOlderThan);
        let mut too_large = 0;
        loop {
            let mut answer = self.ask(pods().list_metadata(&params), Shape::List, silence).await?;
            while answer.next(&mut each).await? {}
            too_large += answer.take_too_large();
            let ListMeta { resource_version, continue_, .. } = answer.list_meta()?;
            match continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(Listed { version: resource_version.unwrap_or_default(), too_large }),
            }
        }
    }

    /// Begins to watch this node's pods from a version on.
    ///
    /// # Errors
    /// Where the API refuses.
    pub(super) async fn watch(&self, version: &str) -> Result<Answer, Problem> {
        let params = WatchParams::default().fields(&self.field_selector());
        self.ask(pods().watch_metadata(&params, version), Shape::Events, SILENCE_MAX).await
    }

    async fn ask(
        &self,
        request: Result<hyper::Request<Vec<u8>>, request::Error>,
        shape: Shape,
        silence: Duration,
    ) -> Result<Answer, Problem> {
        let request = request.map_err(|error| Problem::of(&kube::Error::BuildRequest(error)))?;
        if let Some(error) = self.files.iter().find_map(|file| open_named_file(file).err()) {
            return Err(Problem::credentials(&error));
        }
        let asking = async { self.client.request_stream(request).await.map_err(|error| Problem::of(&error)) };
        let body = Box::pin(within(silence, asking).await?);
        Ok(Answer { body, cutter: Cutter::new(shape), silence })
    }

    fn field_selector(&self) -> String {
        format!("spec.nodeName={}", self.node)
    }
}

impl Answer {
    /// Takes what comes next, and calls `each` with every object that ends in it; false at the answer's end.
    ///
    /// # Errors
    /// Where the answer breaks off, or nothing comes for too long.
    pub async fn next(&mut self, each: &mut impl FnMut(&[u8])) -> Result<bool, Problem> {
        let reading =
            async { self.body.fill_buf().await.map_err(|error| Problem::of(&kube::Error::ReadEvents(error))) };
        let bytes = within(self.silence, reading).await?;
        let length = bytes.len();
        self.cutter.push(bytes, each);
        self.body.consume_unpin(length);
        Ok(length > 0)
    }

    /// How many objects were passed over since the last call, as they were too large.
    pub fn take_too_large(&mut self) -> usize {
        self.cutter.take_too_large()
    }

    fn list_meta(&self) -> Result<ListMeta, Problem> {
        #[derive(Deserialize)]
        struct Around {
            metadata: ListMeta,
        }
        let around = self.cutter.around().ok_or_else(|| Problem::unreadable(&"it ends in the middle"))?;
        let around: Around = serde_json::from_slice(around).map_err(|error| Problem::unreadable(&error))?;
        Ok(around.metadata)
    }
}

/// Requests for the pods of all namespaces.
fn pods() -> Request {
    Request::new(Pod::url_path(&(), None))
}

/// # Errors
/// Where it takes longer than `limit`, or fails.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Problem::timeout(limit)))
}
