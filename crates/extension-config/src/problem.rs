//! What is wrong with a configuration, where, and whose it is.

use std::fmt;

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

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `None` when nothing is wrong.
    pub(crate) fn new(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// Exactly one.
    pub(crate) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Where something is wrong, without what stands there: for logs and Events, which more people read than the status.
    #[must_use]
    pub fn places(&self) -> String {
        let mut places: Vec<String> = self.0.iter().map(Problem::place).collect();
        places.dedup();
        format!("invalid: {}", places.join("; "))
    }

    /// Whether the shoot's owner has something to mend.
    #[must_use]
    pub fn blames_the_shoot(&self) -> bool {
        self.0.iter().any(|problem| problem.origin == Origin::Shoot)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
