//! What `cargo xtask images --push` leaves in a real registry, read by programs that are not ours: skopeo, umoci, Helm, Go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use e2e::Artifacts;
use extension_config::names::{CONTROLLER_NAME, INSTALLATION_IMAGE};
use image_builder::Digest;
use image_builder::chart::Chart;
use image_builder::reference::{Pinned, Reference};
use image_builder::registry::chart_digest;
use serde_json::{Value, json};
use testbed::components::HELM;
use testbed::{Progress, Registry, run};

use crate::two_platforms;

/// A user and its password, as the registry (bcrypt) and Docker's configuration (base64) keep them.
const HTPASSWD: &str = "pusher:$2b$05$abcdefghijklmnopqrstuux7DVfxfgfXTmp/9Tsk6HzX2QQGjxePG\n";
const AUTH: &str = "cHVzaGVyOnJlZ2lzdHJ5LXBhc3N3b3Jk";
const TAG: &str = "7.8.9";
const BILL: &str = "application/vnd.cyclonedx+json";
/// Program of each image that tells its version, and who runs it.
const IMAGES: [(&str, &str, &str); 2] =
    [(CONTROLLER_NAME, CONTROLLER_NAME, "65532:65532"), (INSTALLATION_IMAGE, "cri-resmgr-node-agent", "0:0")];

/// A registry with the artefacts, and the folder in which they are looked at.
struct Shelf {
    registry: Registry,
    dir: tempfile::TempDir,
    xtask: PathBuf,
    progress: Progress,
}

/// Below `charts/`.
const CHARTS: [&str; 3] = [
    CONTROLLER_NAME,
    "gardener-extension-cri-resmgr-admission/runtime",
    "gardener-extension-cri-resmgr-admission/application",
];

#[test]
fn published_images_and_charts_are_what_their_readers_expect() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        testbed::ensure_programs(&[("skopeo", "skopeo"), ("umoci", "umoci")]).await?;
        let progress = Progress::default();
        let registry = Registry::up(HTPASSWD, &progress).await?;
        let shelf = Shelf { registry, dir: tempfile::tempdir()?, xtask: Artifacts::from_env()?.xtask, progress };
        shelf.check().await
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

impl Shelf {
    async fn check(&self) -> anyhow::Result<()> {
        let config = json!({ "auths": { self.registry.address(): { "auth": AUTH } } });
        std::fs::create_dir(self.path("docker"))?;
        std::fs::write(self.path("docker/config.json"), config.to_string())?;
        std::fs::create_dir(self.path("empty"))?;

        let refused = self.publish("empty", "refused").await;
        ensure!(refused.is_err(), "the registry took images from somebody whom it does not know");
        let first = self.publish("docker", "first").await?;
        // Another time, another folder: the same artefacts, and nothing new in the registry.
        let second = self.publish("docker", "second").await?;
        ensure!(first == second, "two builds differ:\n{first:#?}\n{second:#?}");
        // Two images with a bill of materials each, and the charts.
        ensure!(first.len() == 4 + CHARTS.len(), "{first:#?}");
        for (name, program, user) in IMAGES {
            let digest = self.ensure_image(name, program, user, &first).await.with_context(|| name.to_owned())?;
            self.ensure_bill(name, &digest).await.with_context(|| format!("the bill of {name}"))?;
        }
        self.ensure_index().await.context("an index of two platforms")?;
        self.ensure_charts().await?;
        self.ensure_pinned(&first).await.context("a registration by digest")?;
        self.ensure_rehearsal(&first).await.context("a release without a push")
    }

    /// A rehearsal makes a whole release, pins in it what a push would have made known, and pushes nothing.
    async fn ensure_rehearsal(&self, pushed: &BTreeSet<String>) -> anyhow::Result<()> {
        let dir = self.path("release");
        let output = tokio::process::Command::new(&self.xtask)
            .args(["release", "--rehearsal", "--registry", &self.repository(), "--dir", &self.text("release")])
            .output()
            .await?;
        ensure!(output.status.success(), "cargo xtask release: {}", String::from_utf8_lossy(&output.stderr));
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).with_context(|| name.to_owned());
        let sums = read("SHA256SUMS")?;
        for line in sums.lines() {
            let (digest, name) = line.split_once("  ").context("no digest and name")?;
            ensure!(Digest::of(&std::fs::read(dir.join(name))?).hex() == digest, "{name} has another digest");
        }
        let provenance: Value = serde_json::from_str(&read("provenance.intoto.json")?)?;
        let subjects = provenance["subject"].as_array().context("no subjects")?.len();
        ensure!(subjects == sums.lines().count() && subjects > 8, "{subjects} subjects:\n{sums}");
        let component: Value = serde_saphyr::from_str(&read("component-descriptor.yaml")?)?;
        let resources = component["component"]["resources"].as_array().context("no resources")?;
        ensure!(resources.len() == IMAGES.len() + CHARTS.len(), "{resources:?}");
        let named = |chart: &Chart| -> anyhow::Result<String> {
            let reference =
                Reference::new(Some(&format!("{}/charts", self.repository())), &chart.name, &chart.version)?;
            Ok(Pinned { reference, digest: chart_digest(chart)? }.to_string())
        };
        for folder in CHARTS {
            let folder = crate::root().join("charts").join(folder);
            // What is told of a chart that nobody pushes is what a push has told, at another version.
            let chart = named(&Chart::pack_for(&folder, TAG)?)?;
            ensure!(pushed.contains(&format!("pushed {chart}")), "{chart} was not pushed: {pushed:#?}");
            let chart = named(&Chart::pack(&folder)?)?;
            let is_it = |resource: &Value| resource["access"]["imageReference"] == *chart;
            ensure!(resources.iter().any(is_it), "{chart} is not among {resources:?}");
        }
        let extension = read("extension.yaml")?;
        let pinned = resources.iter().filter_map(|it| it["access"]["imageReference"].as_str()?.split_once('@'));
        for (name, digest) in pinned {
            ensure!(extension.contains(digest), "extension.yaml does not pin {name}");
        }
        self.progress.step(&format!(
            "a rehearsal made a release of {subjects} files, and pins the charts that a push would make known"
        ));
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn repository(&self) -> String {
        format!("{}/team", self.registry.address())
    }

    /// Builds and pushes everything, and gives the digests that the command tells.
    async fn publish(&self, docker_config: &str, dir: &str) -> anyhow::Result<BTreeSet<String>> {
        let output = tokio::process::Command::new(&self.xtask)
            .args(["images", "--payload", "from-source", "--push", "--output", "oci-archive"])
            .args(["--registry", &self.repository(), "--tag", TAG, "--dir", &self.text(dir)])
            .env("DOCKER_CONFIG", self.path(docker_config))
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo xtask images: {said}");
        Ok(said
            .lines()
            .filter(|line| line.starts_with("pushed ") || line.starts_with("attached "))
            .map(str::to_owned)
            .collect())
    }

    async fn skopeo(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run("skopeo", &[arguments, &["--authfile", &self.text("docker/config.json")]].concat()).await
    }

    async fn inspect(&self, reference: &str) -> anyhow::Result<Value> {
        let raw = self.skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]).await?;
        Ok(serde_json::from_str(&raw)?)
    }

    /// Pulled from the registry and read from the archive it is the same image; unpacked, its program runs.
    async fn ensure_image(
        &self,
        name: &str,
        program: &str,
        user: &str,
        said: &BTreeSet<String>,
    ) -> anyhow::Result<String> {
        let reference = format!("{}/{name}:{TAG}", self.repository());
        let pulled = format!("oci:{}:{TAG}", self.text(name));
        self.skopeo(&["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{reference}"), &pulled]).await?;
        let image: Value = serde_json::from_str(&self.skopeo(&["inspect", &pulled]).await?)?;
        let digest = image["Digest"].as_str().context("skopeo tells no digest")?.to_owned();
        ensure!(said.contains(&format!("pushed {reference}@{digest}")), "{digest} is not among {said:#?}");
        let archive = format!("oci-archive:{}/{name}-{TAG}.oci.tar", self.text("first"));
        let archive: Value = serde_json::from_str(&self.skopeo(&["inspect", &archive]).await?)?;
        ensure!(archive["Digest"] == digest, "the archive holds another image: {}", archive["Digest"]);
        for label in ["source", "revision", "version", "licenses", "title", "description"] {
            let value = &image["Labels"][format!("org.opencontainers.image.{label}")];
            ensure!(value.as_str().is_some_and(|value| !value.is_empty()), "label {label} is {value}");
        }
        ensure!(image["Labels"]["org.opencontainers.image.version"] == TAG, "{}", image["Labels"]);

        let bundle = self.text(&format!("{name}-bundle"));
        run("umoci", &["unpack", "--image", &format!("{}:{TAG}", self.text(name)), &bundle]).await?;
        let config: Value = serde_json::from_str(&std::fs::read_to_string(format!("{bundle}/config.json"))?)?;
        let process = &config["process"];
        ensure!(format!("{}:{}", process["user"]["uid"], process["user"]["gid"]) == user, "user {}", process["user"]);
        ensure!(process["args"][0] == format!("/{program}"), "arguments {}", process["args"]);
        // The root of the image holds nothing else, so that it runs here is no help of ours.
        let version = run("chroot", &[&format!("{bundle}/rootfs"), &format!("/{program}"), "--version"]).await?;
        ensure!(version.contains(env!("CARGO_PKG_VERSION")), "{program} says {version:?}");
        ensure_no_path_of_this_machine(Path::new(&format!("{bundle}/rootfs/{program}")))?;
        let manifest = self.inspect(&reference).await?;
        let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
        let bytes: u64 = layers.iter().filter_map(|layer| layer["size"].as_u64()).sum();
        self.progress.step(&format!("{name}: {digest}, {} KiB in {} layers", bytes / 1024, layers.len()));
        Ok(digest)
    }

    /// Found from the image's digest, as the specification says for registries without the referrers API.
    async fn ensure_bill(&self, name: &str, image: &str) -> anyhow::Result<()> {
        let repository = format!("{}/{name}", self.repository());
        let index = self.inspect(&format!("{repository}:{}", image.replace(':', "-"))).await?;
        let [entry] = &index["manifests"].as_array().context("no index")?[..] else {
            anyhow::bail!("two pushes have left {index}");
        };
        ensure!(entry["artifactType"] == BILL, "{entry}");
        let reference = format!("{repository}@{}", entry["digest"].as_str().unwrap_or_default());
        let manifest = self.inspect(&reference).await?;
        ensure!(manifest["subject"]["digest"] == image && manifest["artifactType"] == BILL, "{manifest}");
        let out = self.text(&format!("{name}-bill"));
        let (from, to) = (format!("docker://{reference}"), format!("dir:{out}"));
        self.skopeo(&["copy", "--quiet", "--src-tls-verify=false", &from, &to]).await?;
        let blob = manifest["layers"][0]["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:");
        let bill = std::fs::read(Path::new(&out).join(blob))?;
        ensure!(
            bill == std::fs::read(self.path(&format!("first/{name}-{TAG}.amd64.cdx.json")))?,
            "not the bill in dist"
        );
        let bill: Value = serde_json::from_slice(&bill)?;
        let parts = bill["components"].as_array().context("no components")?;
        let purls: BTreeSet<&str> = parts.iter().filter_map(|part| part["purl"].as_str()).collect();
        ensure!(purls.iter().any(|purl| purl.starts_with("pkg:cargo/kube-client@")), "{purls:?}");
        let unlicensed: Vec<_> = parts
            .iter()
            .filter(|part| part["licenses"].is_null())
            .filter(|part| !part["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:golang/")))
            .collect();
        ensure!(unlicensed.is_empty(), "crates without a licence: {unlicensed:?}");
        let go = purls.iter().filter(|purl| purl.starts_with("pkg:golang/")).count();
        let expected = if name == INSTALLATION_IMAGE { self.modules_by_go(name).await? } else { 0 };
        ensure!(go == expected, "the bill has {go} Go modules, Go itself says {expected}");
        self.progress.step(&format!("{name}: a bill with {} parts, {go} of them Go modules", parts.len()));
        Ok(())
    }

    /// The modules of the daemon as Go's own tool reads them, the program itself and the standard library included.
    async fn modules_by_go(&self, name: &str) -> anyhow::Result<usize> {
        let daemon = self.text(&format!("{name}-bundle/rootfs/payload/opt/intel/bin/cri-resmgr"));
        let said = run("go", &["version", "-m", &daemon]).await?;
        let lines = said.lines().filter(|line| line.starts_with("\tdep\t") || line.starts_with("\tmod\t"));
        Ok(lines.count() + 1)
    }

    /// skopeo finds each platform's image in an archive of two, and the registry takes them all.
    async fn ensure_index(&self) -> anyhow::Result<()> {
        let reference = Reference::new(Some(&self.repository()), "both", TAG)?;
        let digest = two_platforms::write(&reference, &self.path("both.oci.tar"))?;
        let (archive, remote) = (format!("oci-archive:{}", self.text("both.oci.tar")), format!("docker://{reference}"));
        self.skopeo(&["copy", "--quiet", "--all", "--dest-tls-verify=false", &archive, &remote]).await?;
        let index = self.inspect(&reference.to_string()).await?;
        ensure!(
            index["manifests"].as_array().is_some_and(|all| all.len() == two_platforms::PLATFORMS.len()),
            "{index}"
        );
        for platform in two_platforms::PLATFORMS {
            let architecture = platform.architecture();
            let of = ["inspect", "--tls-verify=false", "--override-arch", architecture];
            let found: Value =
                serde_json::from_str(&self.skopeo(&[&of[..], &["--raw", "--config", &remote]].concat()).await?)?;
            ensure!(found["architecture"] == architecture, "for {architecture} skopeo finds {found}");
        }
        self.progress.step(&format!("both: {digest}, an index of {} platforms", two_platforms::PLATFORMS.len()));
        Ok(())
    }

    /// The registration that the digests lead to names what was pushed, also when somebody has moved a tag since.
    async fn ensure_pinned(&self, said: &BTreeSet<String>) -> anyhow::Result<()> {
        let digests = format!("digests-{TAG}.txt");
        let text = std::fs::read_to_string(self.path(&format!("first/{digests}")))?;
        let second = std::fs::read_to_string(self.path(&format!("second/{digests}")))?;
        ensure!(text == second, "two builds have other digests:\n{text}\n{second}");
        let reported: BTreeSet<String> =
            text.lines().filter_map(|line| Some(format!("pushed {}", line.split_once(' ')?.1))).collect();
        ensure!(
            reported.len() == 2 + CHARTS.len() && reported.is_subset(said),
            "{reported:#?} were not pushed: {said:#?}"
        );

        let [from, to] =
            [CONTROLLER_NAME, INSTALLATION_IMAGE].map(|name| format!("docker://{}/{name}:{TAG}", self.repository()));
        self.skopeo(&["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]).await?;

        let (xtask, file) = (self.xtask.display().to_string(), self.text("registration.yaml"));
        let pins = self.text(&format!("first/{digests}"));
        let words = ["controller-registration", "--digests", &pins, "--output", &file, "--gardener", "new"];
        let write = async |deployment: &str| {
            run(&xtask, &[&words[..], &["--deployment", deployment]].concat()).await?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(&file)?)?;
            anyhow::Ok(documents[0].clone())
        };
        let helm = &write("oci-repository").await?["helm"];
        let vector = helm["values"]["imageVectorOverwrite"].as_str().context("no image vector")?;
        let vector: Value = serde_saphyr::from_str(vector)?;
        let mut named = vec![helm["ociRepository"]["ref"].as_str().context("no chart")?.to_owned()];
        for image in vector["images"].as_array().context("no images")?.iter().chain([&helm["values"]["image"]]) {
            let text = |field: &str| image[field].as_str().map(str::to_owned).with_context(|| format!("no {field}"));
            named.push(format!("{}:{TAG}@{}", text("repository")?, text("tag")?));
        }
        let operator = write("operator-extension").await?;
        for cluster in ["runtimeCluster", "virtualCluster"] {
            let chart = &operator["spec"]["deployment"]["admission"][cluster]["helm"]["ociRepository"]["ref"];
            named.push(chart.as_str().with_context(|| format!("no chart for the {cluster}"))?.to_owned());
        }
        for name in &named {
            ensure!(reported.contains(&format!("pushed {name}")), "{name} is not among {reported:#?}");
            let pinned: Pinned = name.parse()?;
            let by_content = format!("{}@{}", pinned.reference.repository(), pinned.digest);
            let ns = format!("docker://{by_content}");
            let content = self.skopeo(&["inspect", "--raw", "--tls-verify=false", &ns]).await?;
            ensure!(Digest::of(content.as_bytes()) == pinned.digest, "{by_content} is something else");
        }
        self.progress.step(&format!("a registration by {} digests, none of which moves with a tag", named.len()));
        Ok(())
    }

    async fn ensure_charts(&self) -> anyhow::Result<()> {
        let root = crate::root();
        let helm = HELM.obtain(&root, &self.progress).await?.display().to_string();
        let (config, out) = (self.text("docker/config.json"), self.text("chart"));
        std::fs::create_dir(&out)?;
        for folder in CHARTS {
            let chart = Chart::pack_for(&root.join("charts").join(folder), TAG)?;
            let reference = format!("oci://{}/charts/{}", self.repository(), chart.name);
            let options =
                ["--version", &chart.version, "--plain-http", "--registry-config", &config, "--destination", &out];
            run(&helm, &[&["pull", &reference], options.as_slice()].concat()).await?;
            let pulled = std::fs::read(Path::new(&out).join(chart.file_name()))?;
            ensure!(pulled == chart.archive, "Helm pulled another chart");
            self.progress.step(&format!("Helm pulled {} {}", chart.name, chart.version));
        }
        Ok(())
    }
}

/// A path of the machine that built it would make the same source another program elsewhere.
fn ensure_no_path_of_this_machine(program: &Path) -> anyhow::Result<()> {
    let content = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let folders = ["CARGO_TARGET_DIR", "CARGO_HOME", "HOME"].iter().filter_map(std::env::var_os);
    for folder in
        folders.map(|folder| folder.to_string_lossy().into_owned()).chain([crate::root().display().to_string()])
    {
        // `/root` or `/src` is a part of many words; a folder below it is not.
        let long = folder.matches('/').count() > 1;
        let found = content.windows(folder.len()).any(|window| window == folder.as_bytes());
        ensure!(!(long && found), "{} holds the path {folder}", program.display());
    }
    Ok(())
}
