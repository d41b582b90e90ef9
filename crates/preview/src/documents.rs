//! From a file's text to its documents, and from each to its report.

use serde_json::Value;

use crate::kind::{Kind, Recognized, recognize};
use crate::node_files::NodeFiles;
use crate::provider_config::{self, Base};
use crate::report::{Finding, Judged, Report, Skipped, Unreadable, where_and_why};
use crate::{daemon, image_overrides, kubelet, limits, shoot, values};

/// Judges each document of a text: as `kind`, or as what it says that it is; then others are skipped.
///
/// # Errors
/// When nothing can be said: too long, of no kind that is known, or nothing but other kinds.
pub fn judge(text: &str, kind: Option<Kind>, base: Option<&Base>) -> Result<Judged, Unreadable> {
    let documents = documents(text)?;
    let mut judged = Judged::default();
    for document in documents {
        let line = document.line;
        let parsed = parse(document.text);
        let kind = match (kind, &parsed) {
            (Some(kind), _) => kind,
            (None, Err(why)) => {
                judged.unreadable.push(Skipped::to_choose(line, &format!("is neither YAML nor JSON: {why}")));
                continue;
            }
            (None, Ok(value)) => match recognize(value) {
                Recognized::As(kind) => kind,
                Recognized::Other(reason) => {
                    judged.skipped.push(Skipped { line, reason });
                    continue;
                }
                Recognized::Unclear(what) => {
                    judged.unreadable.push(Skipped::to_choose(line, &what));
                    continue;
                }
            },
        };
        judged.documents.push(Report { line, ..report(kind, document.text, parsed, base) });
    }
    // A file of one document is that document.
    if let ([], [], [_]) = (&judged.documents[..], &judged.skipped[..], &judged.unreadable[..])
        && let Some(document) = judged.unreadable.pop()
    {
        return Err(Unreadable::Document(document));
    }
    if judged.unreadable.is_empty() && judged.documents.is_empty() {
        let reasons = judged.skipped.iter().map(|skipped| format!("line {}: {}", skipped.line, skipped.reason));
        return Err(Unreadable::Nothing(reasons.collect::<Vec<_>>().join("; ")));
    }
    Ok(judged)
}

/// The documents of a text.
fn documents(text: &str) -> Result<Vec<Document<'_>>, Unreadable> {
    if text.len() > limits::FILE_BYTES {
        return Err(Unreadable::too_large());
    }
    let mut documents = split(text);
    if documents.len() > limits::DOCUMENTS {
        return Err(Unreadable::TooMuch { what: "documents", allowed: limits::DOCUMENTS });
    }
    // A single one is judged as the whole text that it is, marks and directives included.
    if let [document] = documents.as_mut_slice() {
        *document = Document { line: 1, text };
    }
    Ok(documents)
}

/// The base configuration of a landscape, as a text holds it: the first document with one counts.
///
/// # Errors
/// When there is none.
pub fn base(text: &str) -> Result<Base, Unreadable> {
    let found = documents(text)?.into_iter().find_map(|document| values::base(&parse(document.text).ok()?));
    found.ok_or(Unreadable::NoBase)
}

/// Judges the kubelet of a node by its files.
#[must_use]
pub fn judge_node(files: &NodeFiles) -> Judged {
    Judged { documents: vec![kubelet::judge(files)], ..Judged::default() }
}

fn report(kind: Kind, text: &str, parsed: Result<Value, String>, base: Option<&Base>) -> Report {
    match (kind, parsed) {
        (Kind::Daemon, parsed) => daemon::judge(text, parsed.ok().as_ref()),
        (Kind::ImageVector, _) => image_overrides::judge(text),
        (Kind::Kubelet, _) => kubelet::judge_configuration(text),
        (Kind::ProviderConfig, Ok(value)) => provider_config::judge(&value, base),
        (Kind::Shoot, Ok(value)) => shoot::judge(&value, base),
        (Kind::Values, Ok(value)) => values::judge(&value),
        (Kind::ProviderConfig | Kind::Shoot | Kind::Values, Err(why)) => {
            Report::refused(kind, vec![Finding::new("", format!("is neither YAML nor JSON: {why}"))])
        }
    }
}

/// Lenient, as it is only to find out what is meant; a map's key that is there twice is judged later.
fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_documents: 2, max_nodes: limits::FILE_BYTES, max_total_scalar_bytes: 2 * limits::FILE_BYTES },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| where_and_why(&error))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Document<'a> {
    line: usize,
    text: &'a str,
}

/// Splits at lines that begin with `---`: YAML lets no value hold one. What has only comments and directives is no document, but of one file
/// there is at least one.
fn split(text: &str) -> Vec<Document<'_>> {
    let mut all = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let is_marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if is_marker && at > 0 {
            all.push(Document { line: begin_line, text: &text[begin..at] });
            (begin, begin_line) = (at, number);
        }
        at += line.len();
    }
    all.push(Document { line: begin_line, text: &text[begin..] });
    let holds_something = |document: &Document<'_>| {
        let lines = document.text.lines().map(|line| line.trim_start_matches('\u{feff}').trim());
        let mut lines = lines.map(|line| line.strip_prefix("---").unwrap_or(line).trim());
        lines.any(|line| !line.is_empty() && !line.starts_with(['#', '%']) && line != "...")
    };
    let with_content: Vec<_> = all.iter().copied().filter(holds_something).collect();
    if with_content.is_empty() { vec![Document { line: 1, text }] } else { with_content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_begin_at_their_markers() {
        for (text, expected) in [
            ("", vec![(1, "")]),
            ("# a\n---\n", vec![(1, "# a\n---\n")]),
            ("a: 1\n", vec![(1, "a: 1\n")]),
            ("---\na: 1\n", vec![(1, "---\na: 1\n")]),
            ("# a\n---\na: 1\n--- # b\nb: 1\n---\n", vec![(2, "---\na: 1\n"), (4, "--- # b\nb: 1\n")]),
            ("a: |\n  ---\nb: ---x\n---x: 1\n", vec![(1, "a: |\n  ---\nb: ---x\n---x: 1\n")]),
            ("a: 1\r\n---\r\nb: 1\r\n", vec![(1, "a: 1\r\n"), (2, "---\r\nb: 1\r\n")]),
            ("%YAML 1.1\n---\na: 1\n...\n", vec![(2, "---\na: 1\n...\n")]),
        ] {
            let found: Vec<_> = split(text).iter().map(|document| (document.line, document.text)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
