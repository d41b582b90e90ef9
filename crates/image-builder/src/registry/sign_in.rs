//! Signing in: the registry's challenge, and the token that answers it
//! (<https://distribution.github.io/distribution/spec/auth/token/>).
//!
//! Credentials are searched for when a registry asks for them, not before: whoever pushes to one that lets everybody in needs no
//! helper that works.

use std::time::{Duration, Instant};

use http_auth::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::credentials::{self, Credentials};
use super::{CONNECT, trust};
use crate::Error;

/// For an answer to begin, and for each next part of it.
const STALL: Duration = Duration::from_secs(30);
/// Largest answer of a token server, in bytes. Tokens are HTTP headers, for which servers allow some KiB.
const TOKEN_ANSWER: usize = 64 * 1024;
/// Who asks, in the exchange of an identity token; the name that Docker's client gives.
const CLIENT: &str = "docker";
/// How many redirects of one request are followed.
const REDIRECTS: usize = 5;
/// What a token is good for when its server does not say so, by the specification.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// What has to go along with each request to the registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Pass {
    Nothing,
    Basic { user: String, password: String },
    Bearer { token: String, until: Instant },
}

/// Who signs in, and where.
pub(super) struct SignIn {
    http: Client,
    registry: String,
    repository: String,
    plain: bool,
    /// What there is, once it has been searched for.
    credentials: OnceCell<Option<Credentials>>,
}

/// A challenge, as far as we can answer it.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl SignIn {
    /// `registry` is the one that is asked (`host[:port]`), `plain` says that it has no TLS.
    pub(super) fn new(registry: &str, repository: &str, plain: bool) -> Result<Self, reqwest::Error> {
        let policy = Policy::custom(|attempt| match attempt.previous() {
            seen if seen.len() <= REDIRECTS && trust::stays(seen.last(), attempt.url()) => attempt.follow(),
            _ => attempt.stop(),
        });
        let http = Client::builder().connect_timeout(CONNECT).read_timeout(STALL).redirect(policy).build()?;
        Ok(Self {
            http,
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            plain,
            credentials: OnceCell::new(),
        })
    }

    /// Asks the registry how to sign in, and does so, for pushing to the repository.
    pub(super) async fn pass(&self) -> Result<Pass, Error> {
        let scheme = if self.plain { "http" } else { "https" };
        let url = format!("{scheme}://{}/v2/", self.registry);
        let asked = self.http.get(url).send().await.map_err(|error| self.failed(error.without_url()))?;
        // Without a challenge nobody asked for credentials.
        match challenge(asked.headers()) {
            None => Ok(Pass::Nothing),
            Some(Challenge::Bearer { realm, service }) => {
                let server =
                    trust::token_server(&realm, &self.registry, self.plain).map_err(|reason| self.failed(reason))?;
                self.token(server, service.as_deref()).await
            }
            Some(Challenge::Basic) => match self.credentials().await? {
                Some(Credentials { password: Some((user, password)), .. }) => Ok(Pass::Basic { user, password }),
                Some(_) => {
                    Err(self.failed("the registry wants a user and a password, and there is an identity token alone"))
                }
                None => Ok(Pass::Nothing),
            },
        }
    }

    async fn credentials(&self) -> Result<Option<Credentials>, Error> {
        let find = || credentials::find(&self.registry, &self.repository);
        Ok(self.credentials.get_or_try_init(find).await?.clone())
    }

    async fn token(&self, mut server: Url, service: Option<&str>) -> Result<Pass, Error> {
        let name = server.origin().ascii_serialization();
        let scope = format!("repository:{}:pull,push", self.repository);
        let asked_for = service.map(|service| ("service", service)).into_iter().chain([("scope", scope.as_str())]);
        let request = match self.credentials().await? {
            // The exchange of OAuth 2.0: all of it in the body, so that the token is in no server's log.
            Some(Credentials { identity_token: Some(token), .. }) => {
                let exchange =
                    [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token.as_str())];
                self.http.post(server).form(&exchange.into_iter().chain(asked_for).collect::<Vec<_>>())
            }
            other => {
                server.query_pairs_mut().extend_pairs(asked_for);
                let request = self.http.get(server);
                match other.and_then(|credentials| credentials.password) {
                    Some((user, password)) => request.basic_auth(user, Some(password)),
                    None => request,
                }
            }
        };
        let asked = Instant::now();
        let answer = request.send().await.map_err(|error| self.failed(error.without_url()))?;
        if !answer.status().is_success() {
            return Err(self.failed(format!("the token server {name} answers {}", answer.status())));
        }
        let body = self.bounded(answer, &name).await?;
        let granted: Option<Granted> = serde_json::from_slice(&body).ok();
        let life = granted.as_ref().and_then(|granted| granted.expires_in).map_or(TOKEN_LIFE, Duration::from_secs);
        granted
            .and_then(|granted| granted.token.or(granted.access_token))
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(|token| Pass::Bearer { token, until: asked + life.clamp(TOKEN_LIFE, TOKEN_LIFE * 60) })
            // The answer may hold a secret all the same.
            .ok_or_else(|| self.failed(format!("the token server {name} gives no token")))
    }

    async fn bounded(&self, mut answer: Response, name: &str) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(error.without_url()))? {
            if body.len() + chunk.len() > TOKEN_ANSWER {
                return Err(self.failed(format!("the token server {name} answers more than {TOKEN_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(super) fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let what = format!("cannot sign in to {} for {}", self.registry, self.repository);
        Error::Transfer { what, source: source.into() }
    }
}

/// A token before user and password: it is good for one repository and a short time.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<_> = values.flat_map(|value| ChallengeParser::new(value).flatten()).collect();
    let bearer = offered.iter().filter(|offer| offer.scheme.eq_ignore_ascii_case("bearer")).find_map(|offer| {
        let parameter = |name: &str| {
            let found = offer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") })
    });
    let basic = || offered.iter().any(|offer| offer.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic);
    bearer.or_else(basic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (values, expected) in [
            (&[][..], None),
            (&["Basic realm=\"r\""], Some(Challenge::Basic)),
            (&["bearer Realm=\"https://a/t\",service=\"s\""], bearer("https://a/t", Some("s"))),
            (&["Bearer realm=\"https://a/t\""], bearer("https://a/t", None)),
            // R08, as two headers and as one.
            (&["Basic realm=\"r\"", "Bearer realm=\"https://a/t\""], bearer("https://a/t", None)),
            (&["Basic realm=\"r\", Bearer realm=\"https://a/t\""], bearer("https://a/t", None)),
            (&["Bearer service=\"s\"", "Basic realm=\"r\""], Some(Challenge::Basic)),
            (&["Negotiate", "Digest realm=\"r\""], None),
            (&["\"", "Bearer"], None),
        ] {
            let values = values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
            assert_eq!(challenge(&values.clone().collect()), expected, "{:?}", values.collect::<Vec<_>>());
        }
    }
}
