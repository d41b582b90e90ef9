//! What is wrong with a configuration, where, and whose it is.

use std::fmt;

use crate::limits;

/// Who wrote a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody: what we take when there is none.
    BuiltIn,
    /// The operator, through the ControllerDeployment's values.
    Base,
    /// The shoot's owner, through the providerConfig. Only these mistakes may carry `ERR_CONFIGURATION_PROBLEM`.
    Shoot,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whose text it is.
    pub origin: Origin,
    /// Which configuration, as its author wrote it: `configs.fallback`; for the providerConfig itself the path within.
    pub config: String,
    /// Where in that configuration; empty when it is the whole.
    pub path: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(origin: Origin, config: impl AsRef<str>, path: &str, message: &str) -> Self {
        Self {
            origin,
            config: limits::cut(config.as_ref(), limits::PATH_CHARACTERS),
            path: limits::cut(path, limits::PATH_CHARACTERS),
            message: limits::cut(message, limits::MESSAGE_CHARACTERS),
        }
    }

    /// The field, for whoever has the configuration at `root`: `spec.extensions[0].providerConfig.configs.fallback`.
    #[must_use]
    pub fn field(&self, root: &str) -> String {
        if self.config.is_empty() { root.to_owned() } else { format!("{root}.{}", self.config) }
    }

    /// What stands at that field is text itself: where in it, if not the whole, and what is wrong.
    #[must_use]
    pub fn detail(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("{}: {}", self.path, self.message) }
    }

    fn place(&self) -> String {
        let author = match self.origin {
            Origin::BuiltIn => "built-in configuration",
            Origin::Base => "base configuration",
            Origin::Shoot => "providerConfig",
        };
        let parts = [author, &self.config, &self.path];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// What is wrong: the first [`limits::FINDINGS`] of it, and how much more there is. As an error never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    first: Vec<Problem>,
    more: usize,
    of_the_shoot: bool,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        self.of_the_shoot |= problem.origin == Origin::Shoot;
        if self.first.len() < limits::FINDINGS {
            self.first.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// There are so many more, of a configuration of which some are listed.
    pub(crate) fn omit(&mut self, count: usize) {
        self.more += count;
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    /// The value, when nothing is wrong.
    pub(crate) fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.first.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Each of those that are listed.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.first.iter()
    }

    /// All of it as text, for whoever has the configuration at `root`.
    #[must_use]
    pub fn below(&self, root: &str) -> String {
        let texts = self.first.iter().map(|problem| format!("{}: {}", problem.field(root), problem.detail()));
        self.summarize("", &texts.collect::<Vec<_>>())
    }

    /// How many more there are than are listed.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// Where something is wrong, without what stands there: for logs and Events, which more people read than the status.
    #[must_use]
    pub fn places(&self) -> String {
        let mut places: Vec<String> = self.first.iter().map(Problem::place).collect();
        places.dedup();
        self.summarize("invalid: ", &places)
    }

    /// Whether the shoot's owner has something to mend.
    #[must_use]
    pub fn blames_the_shoot(&self) -> bool {
        self.of_the_shoot
    }

    /// As many as fit, and how many do not.
    fn summarize(&self, start: &str, all: &[String]) -> String {
        let mut text = start.to_owned();
        for (index, one) in all.iter().enumerate() {
            let comma = if index > 0 { "; " } else { "" };
            if text.len() + comma.len() + one.len() + MORE_BYTES > limits::ERROR_BYTES {
                return format!("{text}; and {} more", all.len() - index + self.more);
            }
            text = text + comma + one;
        }
        if self.more > 0 { format!("{text}; and {} more", self.more) } else { text }
    }
}

/// Room for "; and N more".
const MORE_BYTES: usize = 40;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summarize("", &self.first.iter().map(ToString::to_string).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Problem, Problems};

    #[test]
    fn problems_are_bounded_and_keep_the_blame() {
        let mut problems = Problems::default();
        for index in 0..1000 {
            problems.push(Problem::new(
                Origin::Base,
                format!("{index}{}", "é".repeat(1000)),
                &"p".repeat(1000),
                &format!("{index}{}", "m".repeat(9999)),
            ));
        }
        assert!(!problems.blames_the_shoot());
        problems.push(Problem::new(Origin::Shoot, "x", "", "y"));
        assert!(problems.blames_the_shoot());
        for text in [problems.to_string(), problems.places()] {
            assert!(text.len() <= 4096 && text.len() > 2000, "{}", text.len());
            assert!(text.ends_with(" more"), "{text}");
        }
        assert!(
            problems.to_string().contains("and 998 more") || problems.to_string().contains("and 997 more"),
            "{problems}"
        );
    }

    #[test]
    fn a_single_long_problem_is_shown() {
        let mut problems = Problems::default();
        problems.push(Problem::new(Origin::Shoot, "𝒳".repeat(1000), &"𝒳".repeat(1000), &"𝒳".repeat(1000)));
        assert!(problems.to_string().starts_with("providerConfig: 𝒳") && problems.to_string().len() <= 4096 + 100);
    }
}
