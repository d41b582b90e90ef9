//! Colours, on a terminal only.

use std::io::IsTerminal as _;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// None.
    Plain,
    /// Those that every terminal has.
    Coloured,
}

/// What a text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing of note.
    Plain,
    /// Headings and the like.
    Faint,
    /// As it should be.
    Good,
    /// Not yet.
    Waiting,
    /// Somebody has to do something.
    Bad,
}

impl Style {
    /// Of standard output: coloured on a terminal, unless `NO_COLOR` says otherwise.
    pub(crate) fn of_standard_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if std::io::stdout().is_terminal() && !unwanted { Self::Coloured } else { Self::Plain }
    }

    /// The text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Coloured, Tone::Faint) => 2,
            (Self::Coloured, Tone::Good) => 32,
            (Self::Coloured, Tone::Waiting) => 33,
            (Self::Coloured, Tone::Bad) => 31,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_coloured_style_paints() {
        assert_eq!(Style::Plain.paint(Tone::Bad, "x"), "x");
        assert_eq!(Style::Coloured.paint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Style::Coloured.paint(Tone::Plain, "x"), "x");
    }
}
