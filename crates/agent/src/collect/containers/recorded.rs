//! A recorded `docker inspect` or `podman inspect`: containers and images, one or several of them.

use muster_model::Facts;
use serde_json::Value;

use super::describe::{Engine, describe};
use super::{DESCRIPTOR, inspect};
use crate::collect::draft::Draft;

/// Facts of a recording of this kind of engine.
pub(crate) fn describe_recorded(kind: &'static str, text: &str) -> Facts {
    let mut draft = Draft::new(DESCRIPTOR.name);
    let documents = match serde_json::from_str(text) {
        Ok(Value::Array(documents)) => documents,
        Ok(document) => vec![document],
        Err(error) => {
            draft.error(kind, &error);
            return draft.finish();
        }
    };
    let mut engine = Engine {
        name: kind.to_owned(),
        kind,
        ..Engine::default()
    };
    let mut problems = Vec::new();
    for document in &documents {
        // Only an image has layers, and only a container a state.
        if document.get("RootFS").is_some() || document.get("RepoTags").is_some() {
            engine.images.extend(inspect::image(document, &mut problems));
        } else {
            engine
                .containers
                .extend(inspect::container(document, &mut problems));
        }
    }
    for problem in problems {
        draft.problem(problem);
    }
    if documents.is_empty() {
        draft.problem("there is nothing in it");
    }
    let mut described = Draft::new(DESCRIPTOR.name);
    describe(&mut described, &engine, None);
    let mut facts = described.finish();
    // A recording does not tell how the engine is.
    let runtime = engine.key();
    facts.resources.retain(|resource| resource.key != runtime);
    facts.problems.extend(draft.finish().problems);
    facts
}
