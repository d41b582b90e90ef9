//! An error with its causes, in one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its causes, outermost first, joined by `: `.
///
/// Some foreign errors repeat their source in their own text; what the text so far already ends with is left out.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        formatter.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.contains(&text) {
                write!(formatter, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
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
    }

    #[test]
    fn causes_appear_once() {
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
}
