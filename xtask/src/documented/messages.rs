//! Every message that the pages for owners and operators quote is one that the code can tell.
//!
//! A quote is what stands in italics and has three words or more; `…` in it stands for what differs from case to case. Each piece between must stand in one text of the
//! sources as it is.

use std::path::Path;

use super::names::pages;
use super::root;

/// Messages and titles of others.
const FOREIGN: [&str; 2] = ["read-only file system", "no space left on device"];
/// Where texts stand that people are shown: of programs, of objects in shoots, of rules and dashboards.
const SOURCES: [&str; 2] = ["crates", "charts"];
/// Nothing of it ships.
const NOT_SHIPPED: &str = "crates/dev";

/// Texts of the sources, each without its placeholders and in pieces.
fn texts() -> Vec<String> {
    let mut pieces = Vec::new();
    let mut folders: Vec<_> = SOURCES.map(|folder| root().join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && path != root().join(NOT_SHIPPED) && !["tests", "golden", "snapshots"].contains(&&*name)
            {
                folders.push(path);
                continue;
            }
            if path.is_dir() || name == "tests.rs" {
                continue;
            }
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                    pieces.extend(literals(shipped).iter().flat_map(|literal| fixed(literal)));
                }
                Some("yaml" | "json") => pieces.push(std::fs::read_to_string(&path).unwrap()),
                _ => {}
            }
        }
    }
    pieces
}

/// Texts between quotes, with `\` at the end of a line and simple escapes taken away. Comments on lines of their own are left out.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("'\"'", "").replace("'\\\"'", "");
    let mut found = Vec::new();
    let mut chars = code.chars();
    while chars.any(|c| c == '"') {
        let mut text = String::new();
        loop {
            match chars.next() {
                None | Some('"') => break,
                Some('\\') => match chars.next() {
                    // What follows begins with the next line's first word.
                    Some('\n') => {
                        let rest = chars.as_str().trim_start();
                        chars = rest.chars();
                    }
                    Some('n') => text.push('\n'),
                    Some(c) => text.push(c),
                    None => break,
                },
                Some(c) => text.push(c),
            }
        }
        found.push(text);
    }
    found
}

/// What stands between the placeholders of a text.
fn fixed(literal: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, part) in literal.replace("{{", "\u{1}").replace("}}", "\u{2}").split('{').enumerate() {
        let part = if index == 0 { part } else { part.split_once('}').map_or(part, |(_, after)| after) };
        found.push(part.replace('\u{1}', "{").replace('\u{2}', "}"));
    }
    found
}

/// Texts in italics with at least three words, outside of code.
fn quotes(page: &str) -> Vec<String> {
    let mut is_code = false;
    let mut text = String::new();
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        if !fence && !is_code {
            // The last cell of a row and a paragraph's end end what is in italics.
            text += if line.trim().is_empty() || line.starts_with('|') { "\n" } else { " " };
            text += line.trim();
        }
    }
    let mut found = Vec::new();
    for paragraph in text.lines() {
        // In back-ticks an asterisk is one.
        let plain: String = paragraph.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let plain = plain.replace("**", "");
        found.extend(
            plain.split('*').skip(1).step_by(2).filter(|quote| quote.split_whitespace().count() > 2).map(str::to_owned),
        );
    }
    found
}

/// Pieces of a quote that nothing tells.
fn invented<'a>(quote: &'a str, texts: &[String]) -> Vec<&'a str> {
    let pieces =
        quote.split('…').map(|piece| piece.trim_matches([' ', ':', ';', '.', ','])).filter(|piece| !piece.is_empty());
    pieces.filter(|piece| !texts.iter().any(|text| text.contains(piece))).collect()
}

#[test]
fn every_quoted_message_can_be_printed() {
    let mut texts = texts();
    assert!(texts.len() > 1000, "only {} texts were found in the sources", texts.len());
    texts.extend(FOREIGN.map(str::to_owned));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (page, text) in pages() {
        for quote in quotes(&text) {
            seen += 1;
            wrong.extend(
                invented(&quote, &texts).into_iter().map(|piece| format!("{page}: *{quote}*: nothing says {piece:?}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 15, "only {seen} quotes were found");
}

#[test]
fn a_quote_that_nothing_tells_is_found() {
    let source = "// a \"comment\"\nlet c = '\"'; f(\"waiting for a slot ({slots} {nodes} at \\\n     a time)\"); g(\"a \\\"b\\\" {{c}}\")";
    let texts: Vec<String> = literals(source).iter().flat_map(|literal| fixed(literal)).collect();
    assert_eq!(texts, ["waiting for a slot (", " ", " at a time)", "a \"b\" {c}"]);
    assert!(invented("waiting for a slot (… at a time): …", &texts).is_empty());
    assert_eq!(invented("waiting for the slot (… at a time)", &texts), ["waiting for the slot ("]);
    let page = "*one two* and *one two\nthree* or **bold text here** `*a b c*`\n| *x y z* | b |\n```\n*d e f*\n```\n";
    assert_eq!(quotes(page), ["one two three", "x y z"]);
    assert!(Path::new(&root().join(NOT_SHIPPED)).is_dir());
}
