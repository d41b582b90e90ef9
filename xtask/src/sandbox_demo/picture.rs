//! The table's moments as a picture for the README.

use std::fmt::Write as _;

use super::table::{Row, Scene, head};

const WIDTH: usize = 118;
const LETTER: f64 = 7.8;
const LINE: usize = 18;
const MARGIN: usize = 16;

/// An SVG with one table below the other. No comment in it may hold two hyphens: XML forbids it, and browsers show nothing then.
pub(super) fn draw(scenes: &[Scene]) -> String {
    let mut body = String::new();
    let mut line = 1;
    let mut text = |line: usize, class: &str, text: &str| {
        let y = MARGIN + line * LINE;
        // Only a closed string can fail to be written to.
        let _never_fails = writeln!(body, r#"<text x="{MARGIN}" y="{y}" class="{class}">{}</text>"#, escaped(text));
    };
    text(line, "call", "$ cargo xtask demo");
    for scene in scenes {
        line += 2;
        text(line, "title", &format!("{:>5.1} s  {}", scene.at.as_secs_f64(), scene.title));
        line += 1;
        text(line, "head", &head());
        for (name, row, since) in &scene.rows {
            line += 1;
            text(line, class(row), &row.line(name, *since, WIDTH));
        }
    }
    let height = MARGIN * 2 + line * LINE;
    #[expect(clippy::cast_precision_loss, reason = "columns are few")]
    let width = (WIDTH as f64 * LETTER).ceil() + 2.0 * MARGIN as f64;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="The table of cargo xtask demo at several moments">
<!-- Made by the option "record" of `cargo xtask demo`; not to be edited. -->
<style>
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre; fill: #c9d1d9; }}
.call {{ fill: #7ee787; }} .title {{ fill: #ffffff; font-weight: bold; }} .head {{ fill: #8b949e; }}
.good {{ fill: #7ee787; }} .work {{ fill: #e3b341; }} .bad {{ fill: #ff7b72; }}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
{body}</svg>
"##
    )
}

fn class(row: &Row) -> &'static str {
    match row.stage.as_str() {
        "Installed" => "good",
        "Working" => "work",
        "RolledBack" | "Blocked" => "bad",
        _ => "plain",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn scenes_of_the_film_are_drawn_with_escaped_text() {
        let row = Row { stage: "RolledBack".into(), runtime: "containerd", restarts: 0, message: "a < b & c".into() };
        let scene = Scene {
            title: "on".into(),
            at: Duration::from_secs(3),
            rows: vec![("node-1".into(), row, Duration::from_secs(1))],
        };
        let svg = draw(&[scene]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains(r#"class="bad">  node-1   RolledBack"#) && svg.contains("a &lt; b &amp; c"), "{svg}");
        assert!(svg.contains("  3.0 s  on"), "{svg}");
        assert_eq!(roxmltree::Document::parse(&svg).err(), None, "{svg}");
    }
}
