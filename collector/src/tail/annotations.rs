//! Which pipeline a container has by the annotations of its pod.

use super::{
    State,
    pipelines::{PipelineId, Refusal},
};
use crate::{model::UnitId, pipeline::Asked};

impl State {
    /// The container's pipeline; `None`: its lines go through none. What it asks for and cannot have is reported, and its lines go the way
    /// of those that ask for nothing.
    pub(super) fn pipeline_of(&mut self, id: UnitId) -> Option<PipelineId> {
        let stages = self.decoding.stages.as_mut()?;
        let unit = self.units.get(id)?;
        let pod = self.selecting.metadata.pod(&unit.pod.folder_name());
        let asked = pod.map(|pod| Asked::of(&pod.asked, &unit.name)).unwrap_or_default();
        let refusal = match stages.pipelines.find(&asked) {
            Ok(pipeline) => return pipeline,
            Err(refusal) => refusal,
        };
        let container = unit.saved_name();
        match refusal {
            Refusal::Reported => {}
            Refusal::Mistake(why) => {
                self.metrics.annotation_errors.inc();
                tracing::warn!(container, "{why}; the annotations of this pod have no effect on the container's lines");
            }
            Refusal::TooMany => {
                self.metrics.annotation_errors.inc();
                if let Some(more) = self.throttles.annotations.permit() {
                    tracing::warn!(
                        container,
                        more,
                        "pods ask for too many different things by annotations; those of this pod have no \
                        effect until others are gone"
                    );
                }
            }
        }
        stages.pipelines.base()
    }
}
