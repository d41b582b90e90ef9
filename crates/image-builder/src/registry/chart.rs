//! A chart as a registry holds it: what `helm push` makes of it.

use crate::chart::Chart;
use crate::image::{Annotations, Blob, Descriptor, MANIFEST, Manifest};
use crate::{Digest, Error};

/// Helm's media types: <https://helm.sh/docs/topics/registries/>.
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// What a registry will know the chart by: that of its manifest.
///
/// # Errors
/// When the chart's metadata cannot be read.
pub fn chart_digest(chart: &Chart) -> Result<Digest, Error> {
    Ok(ChartManifest::of(chart)?.manifest.digest)
}

pub(super) struct ChartManifest {
    pub(super) config: Blob,
    pub(super) content: Blob,
    pub(super) manifest: Blob,
}

impl ChartManifest {
    pub(super) fn of(chart: &Chart) -> Result<Self, Error> {
        let metadata: serde_json::Value = serde_saphyr::from_str(&chart.metadata)
            .map_err(|error| Error::Chart { path: chart.file_name().into(), reason: error.to_string() })?;
        let config = Blob::json(CHART_CONFIG, "the chart's metadata", &metadata)?;
        let content = Blob::new(CHART_CONTENT, chart.archive.clone());
        let annotations = Annotations::from([
            ("org.opencontainers.image.title".to_owned(), chart.name.clone()),
            ("org.opencontainers.image.version".to_owned(), chart.version.clone()),
        ]);
        let manifest = Manifest::new(&config, vec![Descriptor::of(&content)], annotations);
        let manifest = Blob::json(MANIFEST, "the chart's manifest", &manifest)?;
        Ok(Self { config, content, manifest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_what_helm_expects() {
        let chart = Chart {
            name: "some".to_owned(),
            version: "1.2.3".to_owned(),
            metadata: "apiVersion: v2\nname: some\nversion: 1.2.3\n".to_owned(),
            archive: b"archive".to_vec(),
        };
        let ChartManifest { config, content, manifest } = ChartManifest::of(&chart).unwrap();
        assert_eq!(config.content, br#"{"apiVersion":"v2","name":"some","version":"1.2.3"}"#);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.content).unwrap();
        assert_eq!(manifest["config"]["mediaType"], CHART_CONFIG);
        assert_eq!(manifest["layers"][0]["mediaType"], CHART_CONTENT);
        assert_eq!(manifest["layers"][0]["digest"], content.digest.to_string());
    }
}
