//! Every API call has a deadline: the client's own retries can hold one for minutes.

use std::future::Future;
use std::time::Duration;

use crate::Error;

/// Longest time for one call. Longer than an API server's own handling timeout for a slow webhook (10 s) plus two retries.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs one API call under [`DEADLINE`] and names it in the error. `object` is kind, namespace and name.
pub async fn call<T>(
    action: &'static str,
    object: impl Into<String> + Send,
    future: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::of(action, object.into(), source)),
        Err(_) => Err(Error::Timeout { action, object: object.into(), after: DEADLINE }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_with_its_name() {
        let outcome = call("get", "Cluster shoot--p--s", std::future::pending::<Result<(), kube::Error>>()).await;
        let text = outcome.map_err(|error| error.to_string());
        assert_eq!(text, Err("get Cluster shoot--p--s: no answer within 30 s".to_owned()));
    }
}
