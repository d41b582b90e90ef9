//! What the changelog says of a version.

/// The text below `## VERSION` or `## VERSION (date)`, up to the next heading of that level; `None` where there is no such heading.
pub(super) fn section(changelog: &str, version: &str) -> Option<String> {
    let is_heading = |line: &str| line.strip_prefix("## ").map(str::trim).map(str::to_owned);
    let names_it = |heading: &str| heading.split([' ', '(']).next() == Some(version);
    let mut lines = changelog.lines().skip_while(|line| !is_heading(line).is_some_and(|heading| names_it(&heading)));
    lines.next()?;
    let text: Vec<&str> = lines.take_while(|line| is_heading(line).is_none()).collect();
    Some(text.join("\n").trim().to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::section;

    const CHANGELOG: &str =
        "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 (2026-11-30)\n\n### Added\n\n- a\n\n## 1.1.0\n\n- b\n";

    #[test]
    fn a_section_ends_at_the_next_version() {
        assert_eq!(section(CHANGELOG, "1.2.0").unwrap(), "### Added\n\n- a\n");
        assert_eq!(section(CHANGELOG, "1.1.0").unwrap(), "- b\n");
        assert_eq!(section(CHANGELOG, "1.2"), None);
        assert_eq!(section("", "1.2.0"), None);
    }
}
