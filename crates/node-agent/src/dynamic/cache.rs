//! The configuration in the daemon's cache. The cache names every container with its environment, so tenants make it long; of all that, only the
//! configuration is held.

use std::io::{BufReader, Read};

use dynamic_config::Data;
use serde::Deserialize;

/// Longest cache of the daemon that is read, bytes.
pub(super) const LIMIT: u64 = 64 << 20;

#[derive(Deserialize)]
struct Cache {
    #[serde(rename = "Cfg", default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Data", default)]
    data: Option<Data>,
}

/// Reads piece by piece; what is skipped is not kept, however deep or long it is.
pub(super) fn configuration(file: impl Read) -> Option<Data> {
    serde_json::from_reader::<_, Cache>(BufReader::new(file))
        .map_err(|error| tracing::debug!(%error, "failed to parse the cache of cri-resmgr"))
        .ok()?
        .config?
        .data
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::configuration;

    /// The caches that a daemon writes, of any length, without holding them.
    fn cache(containers: usize) -> impl Read {
        let variable = format!("\"{}\"", "x".repeat(1 << 20));
        let nested = format!("{}0{}", "[".repeat(10_000), "]".repeat(10_000));
        let begin = std::io::Cursor::new(format!("{{\"Version\":\"1\",\"Pods\":{nested},\"Containers\":["));
        let end = "0],\"NextID\":7,\"Cfg\":{\"NodeName\":\"n\",\"Data\":{\"policy\":\"Active: none\\n\"}},\"PolicyName\":\"none\"}";
        let mut all: Box<dyn Read> = Box::new(begin);
        for _ in 0..containers {
            all = Box::new(all.chain(std::io::Cursor::new(variable.clone())).chain(&b","[..]));
        }
        all.chain(end.as_bytes())
    }

    #[test]
    fn the_configuration_is_found_in_a_daemon_cache_of_any_size() {
        let found = configuration(cache(3)).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("policy".to_owned(), "Active: none\n".to_owned())]);
        assert_eq!(configuration(cache(3).take(1 << 20)), None, "cut off");
        assert_eq!(configuration(&b"{\"Cfg\":{\"Data\":null}}"[..]), None);
        assert_eq!(configuration(&b"nonsense"[..]), None);
    }
}
