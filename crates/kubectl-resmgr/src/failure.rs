//! Why something could not be asked, in a sentence.

/// The error and its causes; of an API server's refusal its own message alone.
pub(crate) fn why(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            parts.push(status.message.clone());
            break;
        }
        let text = cause.to_string();
        // Many errors repeat their cause.
        if parts.last().is_none_or(|last| !last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_refusal_is_reported_once_and_in_the_servers_words() {
        let status = Status::failure("nodes is forbidden", "Forbidden").with_code(403);
        let refused: Result<(), _> = Err(kube::Error::Api(Box::new(status)));
        let error = refused.context("list Nodes").unwrap_err();
        assert_eq!(why(&error), "list Nodes: nodes is forbidden");
    }

    #[test]
    fn a_repeated_cause_is_shown_once() {
        let io = std::io::Error::other("no route");
        let error = anyhow::Error::from(io).context("connect: no route").context("list Nodes");
        assert_eq!(why(&error), "list Nodes: connect: no route");
    }
}
