//! `/etc/containerd/config.toml` of a worker.

use anyhow::Context as _;
use toml::{Table, Value};

use crate::BUSYBOX_IMAGE;

/// Where the network plugins are.
const CNI_PLUGINS: &str = "/opt/cni/bin";
/// Of registries' certificates and hosts, as gardener-node-agent names it.
const REGISTRIES: &str = "/etc/containerd/certs.d";
/// Drop-ins, as gardener-node-agent names them.
const IMPORTS: &str = "/etc/containerd/conf.d/*.toml";
const IMAGES: &str = "io.containerd.cri.v1.images";
const RUNTIME: &str = "io.containerd.cri.v1.runtime";
/// The versions of the file that have these two plugins.
const VERSIONS: [i64; 2] = [3, 4];

/// For Debian's containerd 1.6.
pub(crate) fn of_debian() -> String {
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE, as in many containers and on build machines, runc cannot give a
    // pause container the score -998 and refuses to start it.
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{BUSYBOX_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
"#
    )
}

/// What `containerd config default` of 2.2 or later printed, with what gardener-node-agent changes in it (gardener v1.149.3
/// `pkg/nodeagent/controller/operatingsystemconfig/containerd_config.go`), and `restrict_oom_score_adj` as in [`of_debian`].
///
/// # Errors
/// When it is no such text.
pub(crate) fn patched(default: &str) -> anyhow::Result<String> {
    let mut config: Table = default.parse().context("`containerd config default` printed no TOML")?;
    let version = config.get("version").and_then(Value::as_integer);
    anyhow::ensure!(
        version.is_some_and(|version| VERSIONS.contains(&version)),
        "`containerd config default` printed version {version:?}, and not one of {VERSIONS:?}"
    );
    let imports = config.entry("imports").or_insert_with(|| Value::Array(Vec::new()));
    let imports = imports.as_array_mut().context("imports is no list")?;
    if !imports.iter().any(|path| path.as_str() == Some(IMPORTS)) {
        imports.push(IMPORTS.into());
    }
    let plugins = table(&mut config, &["plugins"])?;
    table(plugins, &[IMAGES, "registry"])?.insert("config_path".to_owned(), REGISTRIES.into());
    table(plugins, &[IMAGES, "pinned_images"])?.insert("sandbox".to_owned(), BUSYBOX_IMAGE.into());
    let cni = table(plugins, &[RUNTIME, "cni"])?;
    cni.insert("bin_dirs".to_owned(), Value::Array(vec![CNI_PLUGINS.into()]));
    cni.remove("bin_dir");
    table(plugins, &[RUNTIME])?.insert("restrict_oom_score_adj".to_owned(), true.into());
    let options = ["containerd", "runtimes", "runc", "options"];
    table(plugins, &[&[RUNTIME], &options[..]].concat())?.insert("SystemdCgroup".to_owned(), true.into());
    Ok(toml::to_string(&config)?)
}

/// The table at that path, made where it is missing.
fn table<'t>(mut table: &'t mut Table, path: &[&str]) -> anyhow::Result<&'t mut Table> {
    for name in path {
        table = table
            .entry(*name)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .with_context(|| format!("{name} in containerd's configuration is no table"))?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = r#"version = 4
root = "/var/lib/containerd"
imports = ["/etc/containerd/mine.toml"]
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dir = ""
  bin_dirs = ["/usr/lib/cni"]
[plugins."io.containerd.nri.v1.nri"]
  disable = false
"#;

    #[test]
    fn gardeners_changes_are_made_and_all_else_stays() {
        let config: Table = patched(DEFAULT).unwrap().parse().unwrap();
        assert_eq!(config["imports"].to_string(), format!("[\"/etc/containerd/mine.toml\", \"{IMPORTS}\"]"));
        let (images, runtime) = (&config["plugins"][IMAGES], &config["plugins"][RUNTIME]);
        assert_eq!(images["pinned_images"]["sandbox"].as_str(), Some(BUSYBOX_IMAGE));
        assert_eq!(images["registry"]["config_path"].as_str(), Some(REGISTRIES));
        assert_eq!(runtime["cni"].to_string(), format!("{{ bin_dirs = [\"{CNI_PLUGINS}\"] }}"));
        assert_eq!(runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"].as_bool(), Some(true));
        assert_eq!(config["root"].as_str(), Some("/var/lib/containerd"));
        assert_eq!(config["plugins"]["io.containerd.nri.v1.nri"]["disable"].as_bool(), Some(false));
        assert_eq!(patched(&config.to_string()).unwrap().parse::<Table>().unwrap(), config);
    }

    #[test]
    fn another_version_of_the_file_is_refused() {
        for (text, part) in [("version = 2\n", "Some(2)"), ("root = \"/\"\n", "None"), ("\"", "no TOML")] {
            assert!(format!("{:#}", patched(text).unwrap_err()).contains(part), "{text}");
        }
    }
}
