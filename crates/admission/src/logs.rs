//! What is written down of a verdict: who was judged and how, and nothing of a configuration.

use crate::review::Request;
use crate::verdict::Verdict;

/// Longest name that is written, in characters: Kubernetes' own limit.
const NAME: usize = 253;

pub(crate) fn judged(request: &Request, verdict: &Verdict) {
    let cut = |text: &str| text.chars().take(NAME).collect::<String>();
    let (namespace, name, operation) = (cut(&request.namespace), cut(&request.name), cut(&request.operation));
    match verdict {
        Verdict::Allowed { warnings } => {
            tracing::debug!(namespace, name, operation, warnings = warnings.len(), "admitted a Shoot");
        }
        Verdict::Denied { causes, .. } => {
            // Fields are the schema's, up to where a text of the owner's begins.
            let field = causes.first().map(|cause| cut(&cause.field)).unwrap_or_default();
            tracing::info!(namespace, name, operation, field, causes = causes.len(), "refused a Shoot");
        }
    }
}
