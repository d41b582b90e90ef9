//! What one Extension may cost in calls, whatever the machine: the real controller before an API in memory. No time is looked at.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use extension_config::names;
use fake_kube_api::{ApiServer, Writer};
use serde_json::json;
use testbed::gardenlet::example_shoot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::gardenlet::{Content, Shoots};
use crate::observer::Observer;
use crate::process::{Controller, NAMESPACE};
use crate::resource_manager;

const EXTENSIONS: usize = 20;
/// Calls of a new Extension: Processing; finalizer, and the annotation away; two Secrets; ManagedResource; Succeeded. The condition is a seventh
/// where gardener-resource-manager reports later than that.
const WRITES_NEW: (usize, usize) = (6, 7);
/// Whether the Cluster is the one that is known.
const READS_NEW: usize = 1;
/// Processing, the annotation away, Succeeded.
const WRITES_AGAIN: usize = 3;
/// That, and whether the Secrets are those that were applied.
const READS_AGAIN: usize = 3;

/// Requests and refusals that passed, by method and by code.
#[derive(Debug, Clone, Default)]
struct Passed(Arc<Mutex<BTreeMap<String, usize>>>);

impl Passed {
    fn note(&self, line: &str) {
        let mut words = line.split(' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let what = match first {
            "HTTP/1.1" => second,
            // Lists and watches.
            "GET" if second.contains("limit=") || second.contains("watch=") => "LIST",
            // The heartbeat is about no Extension.
            _ if second.contains("/leases/") => "LEASE",
            method => method,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Passes connections on, and notes the first line of each request and answer.
async fn counting(to: u16, passed: Passed) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(from_near, to_far), (from_far, to_near)] {
                let passed = passed.clone();
                tokio::spawn(async move {
                    let mut part = vec![0; 64 << 10];
                    while let Ok(length @ 1..) = from.read(&mut part).await {
                        let text = String::from_utf8_lossy(&part[..length]);
                        // A request, and an answer, begins a part: nobody sends one before the other has come.
                        let line = text.lines().next().unwrap_or_default();
                        if line.starts_with("HTTP/1.1 ") || line.ends_with(" HTTP/1.1") {
                            passed.note(line);
                        }
                        if to.write_all(&part[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    Ok(port)
}

/// The program, built into the folder that this test stands in.
fn controller(repository: &Path) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3).context("this program stands in no target folder")?;
    let mut command = image_builder::binaries::cargo();
    command.current_dir(repository).args(["build", "--quiet", "--locked", "--bins", "-p", "seed-controller"]);
    command.arg("--target-dir").arg(target);
    ensure!(command.status().context("cannot run cargo")?.success(), "the program cannot be built");
    Ok(target.join("debug").join(names::CONTROLLER_NAME))
}

/// What the phase took, without lists, watches and Leases; no write was refused.
async fn settled(passed: &Passed) -> anyhow::Result<(usize, usize)> {
    // What trails behind: conditions, and an operation that is begun once more.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let counts = passed.take();
    let of = |what: &str| counts.get(what).copied().unwrap_or_default();
    for code in ["400", "403", "404", "409", "422", "500"] {
        ensure!(of(code) == 0, "{} answers of {code}: {counts:?}", of(code));
    }
    Ok((of("PATCH") + of("POST") + of("PUT") + of("DELETE"), of("GET")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_an_extension_stay_within_their_budget_and_none_conflicts() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let program = controller(&repository)?;
    let (api, dir, passed) = (ApiServer::start().await?, tempfile::tempdir()?, Passed::default());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    api.store().create("", "namespaces", "", namespace, &Writer::named("gardenlet"))?;
    let file = dir.path().join("kubeconfig");
    api.write_kubeconfig(&file)?;
    let text = std::fs::read_to_string(&file)?;
    let port = text.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next());
    let port: u16 = port.context("a kubeconfig names its server")?.parse()?;
    let relayed = counting(port, passed.clone()).await?;
    std::fs::write(&file, text.replace(&port.to_string(), &relayed.to_string()))?;

    let client = api.client()?;
    let shoots = Shoots::new(&client, "budget", EXTENSIONS);
    let shoot = example_shoot(&repository, "shoot--p--s")?;
    shoots.prepare(&Content { shoot: &shoot, cluster_kib: 20, foreign: 1, kubeconfig: "" }).await?;
    let (_resource_manager, observer) = (resource_manager::start(&client), Observer::start(&client));
    let workers = NonZeroUsize::new(5).context("a number")?;
    let controller = Controller::start(&program, &file, dir.path().join("log"), workers)?;
    controller.ready().await.with_context(|| controller.tail())?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    passed.take();

    observer.expect(&shoots.namespaces);
    shoots.create().await?;
    observer.ready(&shoots.namespaces).await.with_context(|| controller.tail())?;
    let (writes, reads) = settled(&passed).await.context("new")?;
    let (least, most) = WRITES_NEW;
    ensure!((least * EXTENSIONS..=most * EXTENSIONS).contains(&writes), "{writes} writes for {EXTENSIONS} new");
    ensure!(reads <= READS_NEW * EXTENSIONS, "{reads} reads for {EXTENSIONS} new");
    // The token requestor has written into a Secret since, so that the first time it is applied once more.
    for extra in [1, 0, 0] {
        observer.expect(&shoots.namespaces);
        shoots.ask().await?;
        observer.ready(&shoots.namespaces).await.with_context(|| controller.tail())?;
        let (writes, reads) = settled(&passed).await.context("again")?;
        let most = (WRITES_AGAIN + extra) * EXTENSIONS;
        ensure!((WRITES_AGAIN * EXTENSIONS..=most).contains(&writes), "{writes} writes for {EXTENSIONS} again");
        ensure!(reads <= READS_AGAIN * EXTENSIONS, "{reads} reads for {EXTENSIONS} again");
    }
    ensure!(controller.begun()? == 4 * EXTENSIONS, "{} operations begun", controller.begun()?);
    Ok(())
}
