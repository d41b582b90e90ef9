//! The programs of the bed: those of the machine where they will do, else built from Go modules that `deploy/testbed/` pins, and
//! cached by what they were built from.

mod built;
mod installed;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::Digest as _;

use crate::cache::making;
use crate::{Progress, cache_dir, command, prerequisites};

/// A program that is built from a pinned Go module.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// File name of the program.
    pub name: &'static str,
    /// Folder below `deploy/testbed/` with its go.mod and go.sum.
    pub family: &'static str,
    /// Go package that is built.
    package: &'static str,
    /// Go package whose module's version is the program's.
    versioned_by: &'static str,
    recipe: Recipe,
}

/// How a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recipe {
    /// As `go build` does it.
    Plain,
    /// With the version where Kubernetes' programs look for it.
    Kubernetes,
    /// With seccomp, which needs cgo and libseccomp's headers.
    Runc,
    /// With the one way to find targets that Gardener uses.
    Prometheus,
    /// As it ships to nodes: static, without symbols, and with the version where nri-plugins' programs look for it
    /// (their Makefile, v0.14.0, does the same).
    NriPlugin,
}

/// etcd of both API servers.
pub const ETCD: Component = component("etcd", "etcd", "go.etcd.io/etcd/server/v3");
/// The API server of seed and shoot.
pub const KUBE_APISERVER: Component = kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// The shoot's controller manager.
pub const KUBE_CONTROLLER_MANAGER: Component =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// The shoot's scheduler.
pub const KUBE_SCHEDULER: Component = kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler");
/// The workers' kubelet.
pub const KUBELET: Component = kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet");
/// Gardener's resource manager.
pub const RESOURCE_MANAGER: Component =
    component("gardener-resource-manager", "gardener", "github.com/gardener/gardener/cmd/gardener-resource-manager");
/// The API server of a garden, which judges registrations.
pub const GARDENER_APISERVER: Component =
    component("gardener-apiserver", "gardener", "github.com/gardener/gardener/cmd/gardener-apiserver");
/// Judges registrations for a Gardener from before v1.123, by its own types and checks: a few lines of ours around its
/// module, because its whole API server would take minutes to build.
pub const OLD_REGISTRATION: Component = Component {
    name: "old-registration",
    family: "gardener-old",
    package: ".",
    versioned_by: "github.com/gardener/gardener",
    recipe: Recipe::Plain,
};
/// A shoot's Prometheus. Debian's finds no targets through Kubernetes: it is built without.
pub const PROMETHEUS: Component = Component {
    name: "prometheus",
    family: PROMETHEUS_FAMILY,
    package: "github.com/prometheus/prometheus/cmd/prometheus",
    versioned_by: "github.com/prometheus/prometheus",
    recipe: Recipe::Prometheus,
};
/// What prometheus-operator makes of ScrapeConfigs and PrometheusRules: a few lines of ours around its module's selection, checks and generator.
pub const PROMETHEUS_CONFIGURATION: Component = Component {
    name: "prometheus-configuration",
    family: PROMETHEUS_FAMILY,
    package: ".",
    versioned_by: "github.com/prometheus-operator/prometheus-operator",
    recipe: Recipe::Plain,
};
/// kubectl, whose words pages show: a few lines of ours around its module, because its main program's module is all of Kubernetes.
pub const KUBECTL: Component = Component {
    name: "kubectl",
    family: "kubectl",
    package: ".",
    versioned_by: "k8s.io/kubectl",
    recipe: Recipe::Plain,
};
/// Helm itself, which renders the extension's chart as gardenlet does.
pub const HELM: Component = component("helm", "helm", "helm.sh/helm/v3/cmd/helm");
/// kind itself, which loads image archives into the nodes of its clusters.
pub const KIND: Component = component("kind", "kind", "sigs.k8s.io/kind");
/// nri-plugins' policy `balloons`.
pub const NRI_BALLOONS: Component =
    nri_plugin("nri-resource-policy-balloons", "github.com/containers/nri-plugins/cmd/plugins/balloons");
/// nri-plugins' policy `topology-aware`.
pub const NRI_TOPOLOGY_AWARE: Component =
    nri_plugin("nri-resource-policy-topology-aware", "github.com/containers/nri-plugins/cmd/plugins/topology-aware");
/// The API server for the new generation's kubelet, which must not be newer than it.
pub const NEW_KUBE_APISERVER: Component = new_kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver");
/// Its controller manager.
pub const NEW_KUBE_CONTROLLER_MANAGER: Component =
    new_kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager");
/// Its scheduler.
pub const NEW_KUBE_SCHEDULER: Component = new_kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler");
/// kubelet of the new generation of workers.
pub const NEW_KUBELET: Component = new_kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet");
/// containerd of the new generation of workers.
pub const CONTAINERD: Component =
    component("containerd", CONTAINERD_FAMILY, "github.com/containerd/containerd/v2/cmd/containerd");
/// Its shim.
pub const CONTAINERD_SHIM: Component = component(
    "containerd-shim-runc-v2",
    CONTAINERD_FAMILY,
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
);
/// Its command line.
pub const CTR: Component = component("ctr", CONTAINERD_FAMILY, "github.com/containerd/containerd/v2/cmd/ctr");
/// The runc that it pins.
pub const RUNC: Component = Component {
    name: "runc",
    family: "runc",
    package: "github.com/opencontainers/runc",
    versioned_by: "github.com/opencontainers/runc",
    recipe: Recipe::Runc,
};

const CONTAINERD_FAMILY: &str = "containerd";
const PROMETHEUS_FAMILY: &str = "prometheus";
const NEW_KUBERNETES_FAMILY: &str = "kubernetes-1.37";

const fn component(name: &'static str, family: &'static str, package: &'static str) -> Component {
    Component { name, family, package, versioned_by: package, recipe: Recipe::Plain }
}

const fn kubernetes(name: &'static str, package: &'static str) -> Component {
    Component { name, family: "kubernetes", package, versioned_by: package, recipe: Recipe::Kubernetes }
}

const fn nri_plugin(name: &'static str, package: &'static str) -> Component {
    Component { name, family: "nri-plugins", package, versioned_by: package, recipe: Recipe::NriPlugin }
}

const fn new_kubernetes(name: &'static str, package: &'static str) -> Component {
    Component { name, family: NEW_KUBERNETES_FAMILY, package, versioned_by: package, recipe: Recipe::Kubernetes }
}

/// The folder of pinned modules.
#[must_use]
pub fn pins(root: &Path) -> PathBuf {
    root.join("deploy/testbed")
}

/// What boots a worker.
pub(crate) fn boot_script(root: &Path) -> PathBuf {
    pins(root).join("node/boot.sh")
}

impl Component {
    /// The program: from `$KUBEBUILDER_ASSETS`, whose user has chosen its version; else from the PATH, if it is as good as the
    /// pinned one; else from the cache; else built.
    ///
    /// # Errors
    /// When it has to be built and the build fails.
    pub async fn obtain(self, root: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
        // Not for the new generation: what is there may be too old for its kubelet.
        if self.family != NEW_KUBERNETES_FAMILY
            && let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS")
        {
            let file = PathBuf::from(assets).join(self.name);
            if file.is_file() {
                progress.step(&format!("taking {} from KUBEBUILDER_ASSETS", self.name));
                return Ok(file);
            }
        }
        let module = pins(root).join(self.family);
        let version = self.version(&module)?;
        if let Some(program) = installed::on_the_path(self.name, &version, progress).await {
            return Ok(program);
        }
        let target =
            cache_dir()?.join("bin").join(format!("{}-{version}-{}", self.name, fingerprint(&module)?)).join(self.name);
        if target.is_file() {
            return Ok(target);
        }
        let _making = making(&target).await?;
        if target.is_file() {
            return Ok(target);
        }
        progress.step(&format!("building {} {version} (once; minutes on a cold Go cache)", self.name));
        let unfinished = target.with_file_name(format!(".{}.unfinished", self.name));
        if self.recipe == Recipe::Runc {
            prerequisites::ensure_seccomp_headers().await?;
        }
        let place = ["-C".to_owned(), module.display().to_string(), "-o".into(), unfinished.display().to_string()];
        let (environment, flags) = self.recipe.of(&version);
        let go = environment.iter().copied().chain(["go", "build"]).map(str::to_owned);
        let args: Vec<_> = go.chain(place).chain(flags).chain([self.package.to_owned()]).collect();
        command::run("env", &args).await.with_context(|| format!("building {} {version}", self.name))?;
        std::fs::rename(&unfinished, &target)?;
        Ok(target)
    }

    /// The version that is pinned.
    ///
    /// # Errors
    /// When go.mod cannot be read or does not pin it.
    pub fn pinned_version(self, root: &Path) -> anyhow::Result<String> {
        self.version(&pins(root).join(self.family))
    }

    /// The version that go.mod requires of the module that holds the package.
    fn version(self, module: &Path) -> anyhow::Result<String> {
        let path = module.join("go.mod");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        required_version(&text, self.versioned_by)
            .with_context(|| format!("{} requires no module of {}", path.display(), self.versioned_by))
    }
}

impl Recipe {
    /// Variables of the environment, and flags of `go build`.
    fn of(self, version: &str) -> (&'static [&'static str], Vec<String>) {
        match self {
            Self::Plain => (&[], Vec::new()),
            Self::Kubernetes => (&[], vec!["-ldflags".to_owned(), kubernetes_version_flags(version)]),
            // As its Makefile builds it, without its libpathrs.
            Self::Runc => (&[], vec!["-tags".to_owned(), "seccomp".to_owned()]),
            Self::Prometheus => (&[], vec!["-tags".to_owned(), "remove_all_sd,enable_kubernetes_sd".to_owned()]),
            Self::NriPlugin => {
                let stamp = "github.com/containers/nri-plugins/pkg/version";
                let linker = format!("-s -w -X={stamp}.Version={version} -X={stamp}.Build=testbed");
                let flags = ["-trimpath", "-buildvcs=false", "-ldflags", &linker];
                (&["CGO_ENABLED=0"], flags.map(str::to_owned).to_vec())
            }
        }
    }
}

/// The longest required module path that the package lies in decides.
fn required_version(go_mod: &str, package: &str) -> Option<String> {
    go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require ").trim())
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (path, version) = (words.next()?, words.next()?);
            let inside = package == path || package.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            (inside && version.starts_with('v')).then(|| (path.len(), version.to_owned()))
        })
        .max()
        .map(|(_, version)| version)
}

/// Of all that it is built from. Where there is source of ours, it comes after the two files that are always there:
/// `main.go`, and the module `topology/` in place of one that no proxy serves.
fn fingerprint(module: &Path) -> anyhow::Result<String> {
    let mut files = vec![module.join("go.mod"), module.join("go.sum")];
    let own = ["main.go", "topology/go.mod", "topology/topology.go", "topology/sysfs.go"];
    files.extend(own.iter().map(|name| module.join(name)).filter(|path| path.exists()));
    let mut hash = sha2::Sha256::new();
    for path in files {
        hash.update(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hex::encode(hash.finalize())[..12].to_owned())
}

fn kubernetes_version_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .iter()
        .map(|package| {
            format!("-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The folder of the pinned gardener module in the module cache, which holds the CRDs.
///
/// # Errors
/// When the module cannot be downloaded.
pub async fn gardener_module(root: &Path) -> anyhow::Result<PathBuf> {
    let module = pins(root).join("gardener");
    let dir = module.display().to_string();
    command::run("go", &["-C", &dir, "mod", "download", "github.com/gardener/gardener"]).await?;
    let path =
        command::run("go", &["-C", &dir, "list", "-m", "-f", "{{.Dir}}", "github.com/gardener/gardener"]).await?;
    Ok(PathBuf::from(path.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
    }

    #[test]
    fn nri_plugins_are_pinned_and_ours_is_part_of_the_fingerprint() {
        let module = pins(&root()).join("nri-plugins");
        for program in [NRI_BALLOONS, NRI_TOPOLOGY_AWARE] {
            assert_eq!(program.version(&module).unwrap(), "v0.14.0");
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("topology")).unwrap();
        let ours: Vec<_> = std::fs::read_dir(module.join("topology"))
            .unwrap()
            .map(|entry| format!("topology/{}", entry.unwrap().file_name().display()))
            .filter(|name| !name.ends_with("_test.go"))
            .collect();
        for name in ours.iter().map(String::as_str).chain(["go.mod", "go.sum"]) {
            std::fs::copy(module.join(name), copy.path().join(name)).unwrap();
        }
        let before = fingerprint(copy.path()).unwrap();
        assert_eq!(before, fingerprint(&module).unwrap());
        for name in ours {
            let text = std::fs::read_to_string(module.join(&name)).unwrap();
            std::fs::write(copy.path().join(&name), format!("{text}\n")).unwrap();
            assert_ne!(before, fingerprint(copy.path()).unwrap(), "{name} is not part of it");
            std::fs::write(copy.path().join(&name), text).unwrap();
        }
    }

    #[test]
    fn nri_plugins_are_built_static_and_stamped() {
        let (environment, flags) = Recipe::NriPlugin.of("v1.2.3");
        assert_eq!(environment, ["CGO_ENABLED=0"]);
        assert!(flags.iter().any(|flag| flag.contains("pkg/version.Version=v1.2.3")), "{flags:?}");
    }

    #[test]
    fn the_longest_module_path_decides() {
        let go_mod = "module x\n\nrequire a.b/c v1.2.3\n\nrequire (\n\ta.b/c/d v4.5.6 // indirect\n)\n";
        assert_eq!(required_version(go_mod, "a.b/c/cmd/x").as_deref(), Some("v1.2.3"));
        assert_eq!(required_version(go_mod, "a.b/c/d/x").as_deref(), Some("v4.5.6"));
        assert_eq!(required_version(go_mod, "a.b/cc").as_deref(), None);
    }
}
