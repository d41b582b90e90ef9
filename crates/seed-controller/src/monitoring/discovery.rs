//! Whether the seed knows the kinds of prometheus-operator that are needed: asked once in a while for all shoots, not once for each.

use std::time::Duration;

use kube::Client;
use observability::ErrorChain;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The youngest of these kinds; where it is, the others are.
const GROUP_VERSION: &str = "monitoring.coreos.com/v1alpha1";
const PLURAL: &str = "scrapeconfigs";
/// How old an answer may be.
const AGE: Duration = Duration::from_secs(10 * 60);
/// How soon an API server that could not be asked is asked again.
const PAUSE: Duration = Duration::from_secs(30);
/// How long the answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The last answer.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<Option<Cached>>);

#[derive(Debug, Clone, Copy)]
struct Cached {
    good_until: Instant,
    is_served: Option<bool>,
}

impl Discovery {
    /// `None`: the API server could not be asked, and has not been before. Who comes while it is asked waits for the same answer.
    pub(super) async fn is_served(&self, client: &Client) -> Option<bool> {
        let mut last = self.0.lock().await;
        if let Some(last) = last.filter(|last| Instant::now() < last.good_until) {
            return last.is_served;
        }
        let (is_served, age) = match discover(client).await {
            Ok(is_served) => (Some(is_served), AGE),
            Err(error) => {
                tracing::warn!(%error, "cannot ask the seed whether it has ScrapeConfigs");
                (last.and_then(|last| last.is_served), PAUSE)
            }
        };
        *last = Some(Cached { good_until: Instant::now() + age, is_served });
        is_served
    }
}

async fn discover(client: &Client) -> Result<bool, String> {
    let answer = tokio::time::timeout(DEADLINE, client.list_api_group_resources(GROUP_VERSION)).await;
    match answer.map_err(|_late| format!("no answer within {} s", DEADLINE.as_secs()))? {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == PLURAL)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(ErrorChain(&error).to_string()),
    }
}
