//! An error with its causes, in one line.

use std::error::Error;
use std::fmt;

/// Longest line, in bytes. Some errors hold what somebody else wrote.
const LIMIT: usize = 8192;

/// Displays an error and its causes, outermost first, joined by `: `.
///
/// Some foreign errors repeat their source in their own text; what the text so far already ends with is left out. Errors of JSON quote
/// what they find; that is left out, too: it may be a configuration, or a Secret.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quotes: Vec<(String, String)> = Vec::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let json = error.downcast_ref::<serde_json::Error>();
            quotes.extend(json.map(|error| (error.to_string(), without_quote(error))));
            next = error.source();
        }
        let plain = |error: &dyn Error| {
            quotes.iter().fold(error.to_string(), |text, (quoting, without)| text.replace(quoting, without))
        };
        let mut last = plain(self.0);
        let mut line = last.clone();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = plain(error);
            if !last.contains(&text) {
                line = line + ": " + &text;
                last = text;
            }
            cause = error.source();
        }
        if line.len() > LIMIT {
            let mut end = LIMIT;
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
            line.push('…');
        }
        formatter.write_str(&line)
    }
}

/// The text up to the first quote, and what was expected instead. Names of missing fields are ours.
fn without_quote(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quote = text.find(['"', '`']).filter(|_| !text.starts_with("missing field"));
    let Some(quote) = quote else { return text };
    let expected = text.rfind(", expected ").filter(|expected| *expected > quote);
    let rest = expected.or_else(|| text.rfind(" at line ").filter(|place| *place > quote));
    format!("{}…{}", &text[..quote], rest.map_or("", |rest| &text[rest..]))
}

impl fmt::Debug for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("read the file")]
        Plain(#[source] Box<Layer>),
        #[error("service error: {0}")]
        Repeats(#[source] Box<Layer>),
        #[error("no such file")]
        Root,
        #[error("deserializing the answer: {0}")]
        Json(#[source] serde_json::Error),
        #[error("{0}")]
        Long(String),
    }

    #[test]
    fn an_error_chain_shows_each_cause_once() {
        for (error, text) in [
            (Layer::Root, "no such file"),
            (Layer::Plain(Box::new(Layer::Root)), "read the file: no such file"),
            (Layer::Repeats(Box::new(Layer::Root)), "service error: no such file"),
            (
                Layer::Plain(Box::new(Layer::Repeats(Box::new(Layer::Plain(Box::new(Layer::Root)))))),
                "read the file: service error: read the file: no such file",
            ),
        ] {
            assert_eq!(ErrorChain(&error).to_string(), text);
        }
    }

    #[test]
    fn an_error_chain_leaves_out_what_json_errors_quote() {
        let number = serde_json::from_str::<u8>;
        let level = serde_json::from_str::<std::net::IpAddr>;
        for (error, text) in [
            (number(r#""hunter2, expected nothing""#).unwrap_err(), "invalid type: string …, expected u8"),
            (level(r#""hunter2""#).unwrap_err(), "invalid IP address syntax"),
            (number("[").unwrap_err(), "invalid type: sequence, expected u8"),
            (
                serde_json::from_str::<Result<u8, u8>>(r#"{"hunter2": 1}"#).unwrap_err(),
                "unknown variant …, expected `Ok` or `Err`",
            ),
        ] {
            let place = format!(" at line {} column {}", error.line(), error.column());
            assert_eq!(ErrorChain(&error).to_string(), format!("{text}{place}"));
            let wrapped = Layer::Plain(Box::new(Layer::Json(error)));
            let expected = format!("read the file: deserializing the answer: {text}{place}");
            assert_eq!(ErrorChain(&wrapped).to_string(), expected);
        }
    }

    #[test]
    fn an_error_chain_is_one_bounded_line() {
        let error = Layer::Plain(Box::new(Layer::Long("ä".repeat(1 << 20))));
        let text = ErrorChain(&error).to_string();
        assert!(text.len() <= LIMIT + 3 && text.ends_with("ä…"), "{}", text.len());
    }
}
