//! What runs: a metric that is always 1 and says so in its labels.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Name and version of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Name of the program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Commit that it was built from; empty if not known.
    pub revision: &'static str,
}

impl BuildInfo {
    /// Registers the metric `build_info`.
    pub fn register(self, registry: &mut Registry) {
        registry.register(
            "build",
            "What runs",
            Info::new(vec![
                ("name".to_owned(), self.name.to_owned()),
                ("version".to_owned(), self.version.to_owned()),
                ("revision".to_owned(), self.revision.to_owned()),
            ]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_info_is_exported_as_a_metric() -> Result<(), std::fmt::Error> {
        let mut registry = Registry::default();
        BuildInfo { name: "p", version: "1.2.3", revision: "abc" }.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        assert!(text.contains(r#"build_info{name="p",version="1.2.3",revision="abc"} 1"#), "{text}");
        Ok(())
    }
}
