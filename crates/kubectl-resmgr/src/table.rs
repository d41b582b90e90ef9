//! Columns of text.

use crate::style::{Style, Tone};

/// Between two columns.
const GAP: usize = 3;
/// However narrow a terminal is, so much of the last column is shown.
const LEAST: usize = 20;

/// A cell and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// As any other text.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    /// In a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

/// The rows below their headings; the last column is cut where a terminal of `width` columns ends. The cells are clean already.
pub(crate) fn render<const N: usize>(
    headings: [&str; N],
    rows: &[[Cell; N]],
    style: Style,
    width: Option<usize>,
) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let before: usize = widths.iter().take(N.saturating_sub(1)).map(|width| width + GAP).sum();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(before).max(LEAST));
    let mut text = String::new();
    line(&mut text, &headings.map(|heading| Cell::toned(heading, Tone::Faint)), &widths, style, room);
    for row in rows {
        line(&mut text, row, &widths, style, room);
    }
    text
}

fn line(text: &mut String, row: &[Cell], widths: &[usize], style: Style, room: usize) {
    let last = row.len().saturating_sub(1);
    let empty_from = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |at| at + 1);
    for (number, (cell, width)) in row.iter().zip(widths).enumerate().take(empty_from) {
        if number == last {
            text.push_str(&style.paint(cell.tone, &crate::text::clean(&cell.text, room)));
        } else {
            text.push_str(&style.paint(cell.tone, &cell.text));
            if number + 1 < empty_from {
                let fill = width + GAP - cell.text.chars().count();
                text.extend(std::iter::repeat_n(' ', fill));
            }
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_the_last_one_is_cut() {
        let row = |cells: [&str; 3]| cells.map(Cell::plain);
        let rows = [row(["a", "bb", "a long sentence that goes on"]), row(["aaaa", "", ""]), row(["b", "", "x"])];
        insta::assert_snapshot!(render(["N", "M", "REASON"], &rows, Style::Plain, None), @"
        N      M    REASON
        a      bb   a long sentence that goes on
        aaaa
        b           x
        ");
        let narrow = render(["N", "M", "REASON"], &rows, Style::Plain, Some(10));
        assert!(narrow.contains("a long sentence tha…\n"), "{narrow}");
    }
}
