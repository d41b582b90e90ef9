//! The registrations that `cargo xtask controller-registration` writes, before the real gardener-apiserver.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use e2e::Artifacts;
use extension_config::names::{CONTROLLER_NAME, EXTENSION_TYPE};
use image_builder::chart::Chart;
use image_builder::gzip;
use image_builder::tree::Tree;
use serde_json::{Value, json};
use testbed::components::OLD_REGISTRATION;
use testbed::{Bed, Generation, Options, Progress, run};

const BED: &str = "registration";
/// Strict: an unknown field is an error and not dropped.
const QUERY: &str = "fieldValidation=Strict";

/// Each way to register that gardener-apiserver knows, by the arguments that choose it; `--check` finds it again.
const NEW: [&[&str]; 4] = [
    &["--gardener", "new"],
    &["--gardener", "new", "--enable-for-all"],
    &["--gardener", "new", "--deployment", "raw-chart", "--registry", "registry.local.gardener.cloud:5001"],
    &["--gardener", "new", "--deployment", "oci-repository", "--registry", "localhost:5001", "--tag", "1.2.3"],
];

#[test]
fn a_gardener_apiserver_takes_the_registrations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let progress = Progress::default();
        let options = Options {
            name: BED.to_owned(),
            root: crate::root(),
            shoot_namespace: "shoot--local--local".to_owned(),
            workers: 0,
            generation: Generation::from_env()?,
            progress: progress.clone(),
        };
        let bed = Bed::up(options).await?;
        let outcome = check(&bed, &progress).await;
        bed.down().await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}

async fn check(bed: &Bed, progress: &Progress) -> anyhow::Result<()> {
    let api = bed.start_gardener_apiserver().await?;
    let garden = Garden { client: api.admin().await? };
    let new = crate::root().join("examples/enabled-for-all.yaml");
    garden.register(&new).await.context("examples/enabled-for-all.yaml")?;
    let for_all_versions = crate::root().join("examples/ctrldeploy-ctrlreg.yaml");
    let stored = garden.register(&for_all_versions).await.context("examples/ctrldeploy-ctrlreg.yaml")?;
    ensure_chart_inside(&stored[0]).context("the chart inside of examples/ctrldeploy-ctrlreg.yaml")?;
    // What the defaults make of a registration that says nothing: nobody gets the extension who does not ask for it.
    let resource = &stored[1]["spec"]["resources"][0];
    ensure!(resource["autoEnable"].is_null() && resource["clusterCompatibility"] == json!(["shoot"]), "{resource}");
    progress.step("gardener-apiserver has taken examples/ctrldeploy-ctrlreg.yaml");

    let xtask = Artifacts::from_env()?.xtask.display().to_string();
    for arguments in NEW {
        let words = arguments.join(" ");
        let file = bed.dir().join("registration.yaml").display().to_string();
        let write = [&["controller-registration", "--output", &file], arguments].concat();
        run(&xtask, &write).await?;
        run(&xtask, &[&write[..], &["--check"]].concat()).await.with_context(|| format!("--check {words}"))?;
        let stored = garden.register(Path::new(&file)).await.with_context(|| words.clone())?;
        let resource = &stored[1]["spec"]["resources"][0];
        let lifecycle = json!({ "reconcile": "AfterKubeAPIServer", "delete": "BeforeKubeAPIServer", "migrate": "BeforeKubeAPIServer" });
        ensure!(resource["lifecycle"] == lifecycle, "{words}: {resource}");
        let enabled = resource["autoEnable"] == json!(["shoot"]);
        ensure!(enabled == arguments.contains(&"--enable-for-all"), "{words}: {resource}");
        if arguments.contains(&"oci-repository") {
            let chart = &stored[0]["helm"]["ociRepository"]["ref"];
            ensure!(
                chart.as_str().is_some_and(|chart| chart.ends_with(":1.2.3")),
                "the chart is {chart}, the tag 1.2.3"
            );
        }
        progress.step(&format!("gardener-apiserver has taken what {words} writes"));
    }

    upgrade_and_back(&garden, &xtask, bed.dir()).await.context("upgrade and back, as the page tells it")?;
    progress.step("upgraded and gone back with values of the operator's own");

    // gardener-operator's own kind is a CRD in the runtime cluster.
    bed.main_seed().apply_crds(&["example/operator/10-crd-operator.gardener.cloud_extensions.yaml"]).await?;
    let file = bed.dir().join("operator.yaml").display().to_string();
    let options = ["--gardener", "new", "--deployment", "operator-extension", "--registry", "localhost:5001"];
    let secrets = ["--chart-pull-secret", "pull", "--chart-ca-bundle", "ca", "--enable-for-all"];
    run(&xtask, &[&["controller-registration", "--output", &file], &options[..], &secrets[..]].concat()).await?;
    let runtime_cluster = Garden { client: bed.seed().admin().await? };
    let example = crate::root().join("examples/extension.yaml");
    for file in [Path::new(&file), &example] {
        let stored = runtime_cluster.register(file).await.with_context(|| file.display().to_string())?;
        let chart = &stored[0]["spec"]["deployment"]["extension"]["helm"]["ociRepository"]["ref"];
        ensure!(chart.as_str().is_some_and(|chart| chart.contains("/charts/")), "{}", stored[0]["spec"]);
    }
    progress.step("a kube-apiserver with gardener-operator's CRD has taken the Extension");

    // That it is the server that judges: the words of old Gardener are refused by today's.
    let file = bed.dir().join("old.yaml").display().to_string();
    run(&xtask, &["controller-registration", "--enable-for-all", "--output", &file]).await?;
    let error = garden.register(Path::new(&file)).await.err().context("globallyEnabled was taken")?;
    ensure!(format!("{error:#}").contains("globallyEnabled"), "{error:#}");
    check_old(&for_all_versions, Path::new(&file), progress).await
}

/// The steps of `docs/installation.md`: the same values with another tag, applied; then the file of before again.
async fn upgrade_and_back(garden: &Garden, xtask: &str, dir: &Path) -> anyhow::Result<()> {
    let own = json!({ "imagePullSecrets": [{ "name": "ours" }], "configs": { "fallback": { "policy": { "Active": "none" } } } });
    let values = dir.join("our-values.yaml").display().to_string();
    std::fs::write(&values, own.to_string())?;
    let mut files = Vec::new();
    for tag in ["0.1.0", "0.2.0"] {
        let file = dir.join(format!("registration-{tag}.yaml"));
        let name = file.display().to_string();
        let words = ["controller-registration", "--registry", "registry.example.com/team", "--tag", tag];
        run(xtask, &[&words[..], &["--values", &values, "--output", &name]].concat()).await?;
        files.push((tag, file));
    }
    let [former, new] = &files[..] else { bail!("two files") };
    let mut first: Option<Value> = None;
    for (tag, file) in [former, new, former] {
        let stored = garden.apply(file).await.with_context(|| file.display().to_string())?;
        let config = &stored["providerConfig"];
        let values = &config["values"];
        let kept = own.as_object().into_iter().flatten().all(|(key, value)| values[key] == *value);
        ensure!(kept && values["image"]["tag"] == *tag, "{tag}: {values}");
        let vector = values["imageVectorOverwrite"].as_str().unwrap_or_default();
        ensure!(vector.contains(&format!("tag: \"{tag}\"")), "{tag}: {vector}");
        let metadata = String::from_utf8(file_of_chart(&stored, "Chart.yaml")?)?;
        ensure!(metadata.contains(&format!("\nversion: {tag}\n")), "{tag}: {metadata}");
        if *tag == "0.1.0" {
            ensure!(first.get_or_insert_with(|| config.clone()) == config, "going back leads elsewhere");
        }
    }
    garden.forget(&former.1).await
}

/// A file of the chart in a ControllerDeployment.
fn file_of_chart(deployment: &Value, name: &str) -> anyhow::Result<Vec<u8>> {
    let path = format!("{CONTROLLER_NAME}/{name}");
    Ok(chart_inside(deployment)?.file(&path).with_context(|| format!("no {path} in the chart"))?.to_vec())
}

/// The same before the types of an old Gardener: what is for all versions, and what is for old ones alone.
async fn check_old(for_all_versions: &Path, enabled_for_all: &Path, progress: &Progress) -> anyhow::Result<()> {
    let judge = OLD_REGISTRATION.obtain(&crate::root(), progress).await?.display().to_string();
    for (file, enabled) in [(for_all_versions, false), (enabled_for_all, true)] {
        let name = file.display().to_string();
        let stored: Vec<Value> = serde_json::from_str(&run(&judge, &[&name]).await.with_context(|| name.clone())?)?;
        ensure_chart_inside(&stored[0]).context(name)?;
        let resource = &stored[1]["spec"]["resources"][0];
        ensure!(resource["globallyEnabled"] == json!(enabled), "{resource}");
    }
    // That it judges, too: today's words are refused.
    let today = crate::root().join("examples/enabled-for-all.yaml").display().to_string();
    let error = run(&judge, &[&today]).await.err().context("autoEnable was taken by an old Gardener")?;
    ensure!(format!("{error:#}").contains("autoEnable"), "{error:#}");
    progress.step("an old Gardener's types and checks take what is for all versions, and what is for old ones");
    Ok(())
}

struct Garden {
    client: kube::Client,
}

impl Garden {
    /// Creates the objects of a file, reads them back, and deletes them again.
    async fn register(&self, file: &Path) -> anyhow::Result<Vec<Value>> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(file)?)?;
        let mut stored = Vec::new();
        let mut outcome = Ok(());
        for object in &objects {
            match self.create(object).await {
                Ok(object) => stored.push(object),
                Err(error) => outcome = Err(error),
            }
        }
        for object in stored.iter().rev() {
            self.request(http::Method::DELETE, &path(object, Some(EXTENSION_TYPE))?, Vec::new()).await?;
        }
        outcome.map(|()| stored)
    }

    /// As `kubectl apply --server-side`; gives the first object as it is stored.
    async fn apply(&self, file: &Path) -> anyhow::Result<Value> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(file)?)?;
        let mut stored = Vec::new();
        for object in &objects {
            let url = format!("{}?{QUERY}&fieldManager=kubectl", path(object, Some(EXTENSION_TYPE))?);
            let request = http::Request::builder()
                .method(http::Method::PATCH)
                .uri(url)
                .header("Content-Type", "application/apply-patch+yaml");
            stored.push(self.client.request(request.body(object.to_string().into_bytes())?).await?);
        }
        stored.into_iter().next().context("a file without objects")
    }

    /// Deletes the objects of a file, the last first.
    async fn forget(&self, file: &Path) -> anyhow::Result<()> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&std::fs::read_to_string(file)?)?;
        for object in objects.iter().rev() {
            self.request(http::Method::DELETE, &path(object, Some(EXTENSION_TYPE))?, Vec::new()).await?;
        }
        Ok(())
    }

    async fn create(&self, object: &Value) -> anyhow::Result<Value> {
        let kind = &object["kind"];
        let url = format!("{}?{QUERY}", path(object, None)?);
        self.request(http::Method::POST, &url, object.to_string().into_bytes())
            .await
            .with_context(|| format!("{kind}"))?;
        self.request(http::Method::GET, &path(object, Some(EXTENSION_TYPE))?, Vec::new()).await
    }

    async fn request(&self, method: http::Method, url: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = http::Request::builder().method(method).uri(url).header("Content-Type", "application/json");
        Ok(self.client.request(request.body(body)?).await?)
    }
}

fn path(object: &Value, name: Option<&str>) -> anyhow::Result<String> {
    let version = object["apiVersion"].as_str().context("no apiVersion")?;
    let plural = format!("{}s", object["kind"].as_str().context("no kind")?.to_lowercase());
    Ok(format!("/apis/{version}/{plural}{}", name.map(|name| format!("/{name}")).unwrap_or_default()))
}

fn chart_inside(deployment: &Value) -> anyhow::Result<Tree> {
    let chart = deployment["providerConfig"]["chart"].as_str().context("no chart")?;
    let archive = base64::engine::general_purpose::STANDARD.decode(chart)?;
    Ok(Tree::from_tar(&gzip::decompress(&archive, "chart")?, "chart")?)
}

/// The chart in a ControllerDeployment, unpacked, is the chart's folder file by file.
fn ensure_chart_inside(deployment: &Value) -> anyhow::Result<()> {
    let inside = chart_inside(deployment)?;
    let folder = crate::root().join("charts").join(CONTROLLER_NAME);
    let Chart { name, .. } = Chart::pack(&folder)?;
    let mut files = 0;
    for (path, node) in inside.iter() {
        let own = folder.join(path.strip_prefix(&format!("{name}/")).unwrap_or_default());
        if matches!(node, image_builder::tree::Node::File { .. }) {
            ensure!(inside.file(path) == Some(std::fs::read(&own)?.as_slice()), "{path} is not {}", own.display());
            files += 1;
        }
    }
    let templates = std::fs::read_dir(folder.join("templates"))?.count();
    ensure!(
        files == templates + 4,
        "{files} files, expected {templates} templates, Chart.yaml, README.md, values and their schema"
    );
    Ok(())
}
