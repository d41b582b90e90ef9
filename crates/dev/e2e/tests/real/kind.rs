//! `cargo xtask kind-load` and `scripts/kind-load-images.sh` before the real kind: what `cargo xtask images` wrote gets into a node,
//! under the names that a registration gives. The node is a worker with a real containerd; Docker's command line, which is all that
//! kind knows of Docker, is a stand-in (`deploy/testbed/kind/docker`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::Artifacts;
use extension_config::names::{CONTROLLER_NAME, INSTALLATION_IMAGE};
use image_builder::reference::Reference;
use serde_json::Value;
use testbed::components::{KIND, pins};
use testbed::{Generation, Progress, Worker, run, wait_for};
use tokio::process::Command;

use crate::two_platforms;

const BED: &str = "kind";
/// The commands' own default, so that it is not given.
const CLUSTER: &str = "gardener-local";
const NODE: &str = "gardener-local-control-plane";
const TAG: &str = env!("CARGO_PKG_VERSION");

/// The two ways to load.
#[derive(Debug, Clone, Copy)]
enum Way {
    Xtask,
    Script,
}

/// An image that has to be in the node after a load.
#[derive(Debug)]
struct Expected {
    name: String,
    /// Of what containerd keeps under the name, where the archive tells it.
    digest: Option<String>,
    /// Of the image's configuration, which is its ID, where the archive tells it.
    id: Option<String>,
}

/// The node, and what the commands find on their PATH.
struct KindFixture {
    worker: Worker,
    artifacts: Artifacts,
    dir: tempfile::TempDir,
    path: OsString,
    progress: Progress,
}

#[test]
fn images_get_into_the_node_of_a_kind_cluster() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let outcome = check().await;
        testbed::down(BED).await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

async fn check() -> anyhow::Result<()> {
    let fixture = KindFixture::up().await?;
    for way in [Way::Xtask, Way::Script] {
        fixture.ensure_refused(way).await?;
    }

    // Without a registry, as `cargo xtask images` does by default.
    let oci = fixture.path("oci");
    // Of an earlier build in the other form; were it loaded, kind would fail on it.
    std::fs::create_dir(&oci)?;
    std::fs::write(oci.join(format!("{CONTROLLER_NAME}-{TAG}.docker.tar")), "old")?;
    let mut expected = fixture.build(&oci).await?;
    let named = fixture.names_in_registration(None).await?;
    ensure!(
        named.iter().eq(expected.iter().map(|image| &image.name)),
        "the registration names {named:?}: {expected:?}"
    );
    let both = Reference::new(None, "both", TAG)?;
    let digest = two_platforms::write(&both, &oci.join(format!("{CONTROLLER_NAME}-both-{TAG}.oci.tar")))?;
    expected.push(Expected { name: both.canonical(), digest: Some(digest.to_string()), id: None });
    fixture.load_both_ways(&oci, &expected).await.context("OCI archives")?;

    // With a registry, as the tests on real components do.
    let docker = fixture.artifacts.image_archive.parent().context("an archive lies in a folder")?.to_owned();
    let registry = fixture.artifacts.image_name.split_once('/').context("the image has no registry")?.0;
    let mut expected = Vec::new();
    for name in fixture.names_in_registration(Some(registry)).await? {
        let file = name.rsplit('/').next().unwrap_or_default().replace(':', "-");
        let id = docker_image_id(&docker.join(format!("{file}.docker.tar"))).await?;
        expected.push(Expected { name, digest: None, id: Some(id) });
    }
    fixture.load_both_ways(&docker, &expected).await.context("docker archives")
}

impl KindFixture {
    async fn up() -> anyhow::Result<Self> {
        let (root, progress, artifacts) = (crate::root(), Progress::default(), Artifacts::from_env()?);
        let kind = KIND.obtain(&root, &progress).await?;
        let worker = testbed::standalone_worker(BED, Generation::from_env()?, &root, &progress).await?;
        let dir = tempfile::tempdir()?;
        let programs = dir.path().join("programs");
        std::fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(kind, programs.join("kind"))?;
        std::os::unix::fs::symlink(pins(&root).join("kind/docker"), programs.join("docker"))?;
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&others)))?;
        Ok(Self { worker, artifacts, dir, path, progress })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs one of our commands, and gives what it said if it succeeded.
    async fn run(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", &self.path)
            .env("KIND_CLUSTER", CLUSTER)
            .env("KIND_NODE", NODE)
            .env("KIND_LEADER", self.worker.leader()?.to_string())
            .env_remove("KIND_EXPERIMENTAL_PROVIDER")
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{} {arguments:?}: {said}", program.display());
        Ok(said)
    }

    async fn load(&self, way: Way, dir: &Path, more: &[&str]) -> anyhow::Result<String> {
        let dir = dir.display().to_string();
        let (program, words): (_, &[&str]) = match way {
            Way::Xtask => (self.artifacts.xtask.clone(), &["kind-load", "--dir", &dir]),
            Way::Script => (crate::root().join("scripts/kind-load-images.sh"), &["--dir", &dir]),
        };
        self.run(&program, &[words, more].concat()).await
    }

    /// What kind refuses is not taken for loaded.
    async fn ensure_refused(&self, way: Way) -> anyhow::Result<()> {
        let dir = self.artifacts.image_archive.parent().context("an archive lies in a folder")?;
        let refused = self.load(way, dir, &["--name", "another"]).await;
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("no nodes found for cluster \"another\""), "{way:?} to a cluster without nodes: {said}");
        Ok(())
    }

    /// Both images as OCI archives, by their bare names.
    async fn build(&self, dir: &Path) -> anyhow::Result<Vec<Expected>> {
        let dir = dir.display().to_string();
        let said = self.run(&self.artifacts.xtask, &["images", "--payload", "from-source", "--dir", &dir]).await?;
        let images: Vec<_> = said
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let (name, digest) = (words.next()?, words.next()?);
                let name = name.strip_suffix(TAG)?.strip_suffix(':')?;
                digest.starts_with("sha256:").then(|| (name.to_owned(), digest.to_owned()))
            })
            .collect();
        let expected = images.into_iter().map(|(name, digest)| {
            let name = Reference::new(None, &name, TAG)?.canonical();
            Ok(Expected { name, digest: Some(digest), id: None })
        });
        let expected: Vec<_> = expected.collect::<anyhow::Result<_>>()?;
        ensure!(expected.len() == 2, "cargo xtask images says: {said}");
        Ok(expected)
    }

    /// The controller's and the agent's image as the registration names them, written as kubelet and containerd write them.
    async fn names_in_registration(&self, registry: Option<&str>) -> anyhow::Result<[String; 2]> {
        let file = self.path("registration.yaml");
        let output = file.display().to_string();
        let words = ["controller-registration", "--gardener", "new", "--deployment", "raw-chart"];
        let registry: Vec<&str> = registry.into_iter().flat_map(|registry| ["--registry", registry]).collect();
        let more = ["--tag", TAG, "--output", &output];
        self.run(&self.artifacts.xtask, &[&words[..], &registry, &more].concat()).await?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&file)?)?;
        let values = &documents.first().context("an empty registration")?["helm"]["values"];
        let vector = values["imageVectorOverwrite"].as_str().context("no image vector")?;
        let vector: Value = serde_saphyr::from_str(vector)?;
        let images = vector["images"].as_array().context("no images")?;
        let agent = images.iter().find(|image| image["name"] == INSTALLATION_IMAGE).context("no agent")?;
        Ok([canonical(&values["image"])?, canonical(agent)?])
    }

    async fn load_both_ways(&self, dir: &Path, expected: &[Expected]) -> anyhow::Result<()> {
        for way in [Way::Xtask, Way::Script] {
            self.load(way, dir, &[]).await?;
            for image in expected {
                self.ensure_loaded(image).await.with_context(|| format!("{} by {way:?}", image.name))?;
            }
            // What the next load finds must be its own work.
            self.worker.shell("ctr -n k8s.io images rm --sync $(ctr -n k8s.io images ls -q)").await?;
        }
        Ok(())
    }

    async fn ensure_loaded(&self, image: &Expected) -> anyhow::Result<()> {
        let name = &image.name;
        let (digest, platforms) = self.listed(name).await?.context("it is not in the node")?;
        ensure!(image.digest.as_ref().is_none_or(|built| *built == digest), "loaded {digest}: {image:?}");
        let content: Value = serde_json::from_str(&self.ctr(&["content", "get", &digest]).await?)?;
        if content["manifests"].is_array() {
            let all = two_platforms::PLATFORMS.map(|platform| platform.to_string()).join(",");
            ensure!(platforms == all, "platforms {platforms}");
            self.progress.step(&format!("{name}: {digest}, an index of {platforms}"));
            return Ok(());
        }
        let id = content["config"]["digest"].as_str().context("a manifest has a configuration")?;
        ensure!(image.id.as_ref().is_none_or(|built| built == id), "loaded {id}: {image:?}");
        // By that name containerd's CRI part, which kubelet asks, keeps an image once it has taken notice of it.
        wait_for("kubelet's view of the image", Duration::from_secs(10), || async {
            let (of_id, _) = self.listed(id).await?.context("it is not there")?;
            ensure!(of_id == digest, "{id} is {of_id}");
            Ok(Some(()))
        })
        .await?;
        // ctr puts a command in the place of the entry point, not behind it.
        let config: Value = serde_json::from_str(&self.ctr(&["content", "get", id]).await?)?;
        let program = config["config"]["Entrypoint"][0].as_str().context("the image has no entry point")?;
        let version = self.ctr(&["run", "--rm", name, "trial", program, "--version"]).await?;
        ensure!(version.contains(TAG), "its program says {version:?}");
        self.progress.step(&format!("{name}: {digest}, ID {id}, runs: {}", version.trim()));
        Ok(())
    }

    async fn ctr(&self, words: &[&str]) -> anyhow::Result<String> {
        self.worker.run(&[&["ctr", "--namespace", "k8s.io"], words].concat()).await
    }

    /// Digest and platforms of what containerd keeps under `name`.
    async fn listed(&self, name: &str) -> anyhow::Result<Option<(String, String)>> {
        let table = self.ctr(&["images", "ls", &format!("name=={name}")]).await?;
        // REF TYPE DIGEST SIZE PLATFORMS LABELS; a size is two words.
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[0] == name);
        Ok(match row.as_deref() {
            Some([_, _, digest, _, _, platforms, ..]) => Some(((*digest).to_owned(), (*platforms).to_owned())),
            _ => None,
        })
    }
}

fn canonical(image: &Value) -> anyhow::Result<String> {
    let text = |key: &str| image[key].as_str().with_context(|| format!("no {key} in {image}"));
    let (repository, tag) = (text("repository")?, text("tag")?);
    let (registry, name) =
        repository.rsplit_once('/').map_or((None, repository), |(registry, name)| (Some(registry), name));
    Ok(Reference::new(registry, name, tag)?.canonical())
}

/// A docker archive names the configuration by its digest.
async fn docker_image_id(archive: &Path) -> anyhow::Result<String> {
    let archive = archive.display().to_string();
    let manifest = run("tar", &["--extract", "--to-stdout", "--file", &archive, "manifest.json"]).await?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let config = manifest[0]["Config"].as_str().and_then(|name| name.strip_suffix(".json"));
    Ok(format!("sha256:{}", config.context("the archive names no configuration")?))
}
