//! The fence: what writes asks it first. It closes before anybody else can take the lease, even if this process was paused and
//! never noticed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Service};

/// Whether this process may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet.
    Candidate,
    /// Up to this time of our own clock.
    Held(Instant),
    /// Never again.
    Lost,
    /// Always: there is no election.
    Free,
}

/// Says whether this process may write now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence(watch::Receiver<State>);

/// A write was refused because the lease is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader: the write is refused")]
pub struct NotLeader;

impl Fence {
    pub(crate) fn new() -> (watch::Sender<State>, Self) {
        let (sender, receiver) = watch::channel(State::Candidate);
        (sender, Self(receiver))
    }

    /// A fence that is always open: leader election is switched off.
    #[must_use]
    pub fn open() -> Self {
        Self(watch::channel(State::Free).1)
    }

    /// Whether this process may write at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match *self.0.borrow() {
            State::Free => true,
            State::Held(until) => Instant::now() < until,
            State::Candidate | State::Lost => false,
        }
    }

    /// Waits until this process may write; `false` when it never will.
    pub async fn acquired(&mut self) -> bool {
        let state = self.0.wait_for(|state| *state != State::Candidate).await.map(|state| *state);
        matches!(state, Ok(State::Held(_) | State::Free))
    }
}

/// A client that refuses everything but reads while the fence is closed, and gives up writes under way when it closes.
///
/// A request that the kernel already sent cannot be called back; the distance between renew deadline and lease duration is for those.
#[must_use]
pub fn fenced_client(client: Client, fence: Fence) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(FencedService { inner: Inner(client), fence }, namespace)
}

/// The client as a service. Its readiness is part of its own `send`.
#[derive(Clone)]
struct Inner(Client);

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { client.send(request).await.map_err(Into::into) })
    }
}

#[derive(Clone)]
struct FencedService<S> {
    inner: S,
    fence: Fence,
}

impl<S, B> Service<Request<Body>> for FencedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Fenced<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Fenced<S::Future> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads && !self.fence.is_held() {
            return Fenced { inner: None, fence: None };
        }
        let fence = (!reads).then(|| self.fence.clone());
        Fenced { inner: Some(Box::pin(self.inner.call(request))), fence }
    }
}

/// Looks at the fence before each step, so that a process that wakes up from a pause goes no further.
struct Fenced<F> {
    /// `None`: refused.
    inner: Option<Pin<Box<F>>>,
    /// `None`: a read.
    fence: Option<Fence>,
}

impl<F, B, E> Future for Fenced<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.fence.as_ref().is_some_and(|fence| !fence.is_held()) {
            self.inner = None;
        }
        match self.inner.as_mut() {
            Some(inner) => inner.as_mut().poll(context).map_err(Into::into),
            None => Poll::Ready(Err(Box::new(NotLeader))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Answer = Result<Response<Body>, BoxError>;

    /// Answers after a second.
    #[derive(Clone)]
    struct Slow;

    impl Service<Request<Body>> for Slow {
        type Response = Response<Body>;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Response::new(Body::empty()))
            })
        }
    }

    fn send(fence: &Fence, method: Method) -> impl Future<Output = Answer> + use<> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        FencedService { inner: Slow, fence: fence.clone() }.call(request)
    }

    fn is_refused(answer: &Answer) -> bool {
        answer.as_ref().is_err_and(|error| error.is::<NotLeader>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_passes_writes_of_the_holder_only() {
        let (state, fence) = Fence::new();
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            state.send_replace(State::Candidate);
            assert!(is_refused(&send(&fence, method.clone()).await), "{method}");
            state.send_replace(State::Held(Instant::now() + Duration::from_secs(10)));
            assert!(send(&fence, method.clone()).await.is_ok(), "{method}");
            state.send_replace(State::Lost);
            assert!(is_refused(&send(&fence, method.clone()).await), "{method}");
        }
        assert!(send(&fence, Method::GET).await.is_ok(), "everybody reads");
        assert!(send(&Fence::open(), Method::POST).await.is_ok(), "no election");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_is_cut_off_when_the_lease_ends() {
        let (state, fence) = Fence::new();
        state.send_replace(State::Held(Instant::now() + Duration::from_millis(500)));
        let writing = send(&fence, Method::PATCH);
        let reading = send(&fence, Method::GET);
        let (written, read) = tokio::join!(writing, reading);
        assert!(is_refused(&written) && read.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_closes_by_time_alone() {
        let (state, mut fence) = Fence::new();
        state.send_replace(State::Held(Instant::now() + Duration::from_secs(10)));
        assert!(fence.acquired().await && fence.is_held());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!fence.is_held());
    }

    #[tokio::test]
    async fn acquired_ends_for_an_open_fence_and_after_the_election_has_ended() {
        assert!(Fence::open().acquired().await);
        let (state, mut fence) = Fence::new();
        drop(state);
        assert!(!fence.acquired().await);
    }
}
