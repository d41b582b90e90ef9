//! Metrics of the webhook.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verdict: &'static str,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    reviews: Family<Labels, Counter>,
    duration: Histogram,
}

impl Metrics {
    /// Registers everything under the prefix `admission`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            duration: Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        };
        let registry = registry.sub_registry_with_prefix("admission");
        registry.register(
            "reviews",
            "Requests by verdict: allowed, denied, or invalid for what is no review",
            metrics.reviews.clone(),
        );
        registry.register_with_unit(
            "review_duration",
            "Time from a request's head to its verdict",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    pub(crate) fn judged(&self, is_allowed: bool, time: Duration) {
        self.count(if is_allowed { "allowed" } else { "denied" });
        self.duration.observe(time.as_secs_f64());
    }

    pub(crate) fn refused(&self) {
        self.count("invalid");
    }

    fn count(&self, verdict: &'static str) {
        self.reviews.get_or_create(&Labels { verdict }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People's queries have these names in them, and the page about metrics is made of the golden file.
    #[test]
    fn metrics() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.judged(true, Duration::from_millis(2));
        metrics.judged(false, Duration::ZERO);
        metrics.refused();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        // Labels come in the order of a hash map.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn names_of_the_metrics_are_as_documented() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.judged(true, Duration::from_millis(2));
        metrics.judged(false, Duration::ZERO);
        metrics.refused();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"admission_reviews_total{verdict="allowed"} 1"#,
            r#"admission_reviews_total{verdict="denied"} 1"#,
            r#"admission_reviews_total{verdict="invalid"} 1"#,
            "admission_review_duration_seconds_count 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
