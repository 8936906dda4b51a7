//! One leader among equals, by a lease that it renews.
//!
//! Nobody compares clocks with another machine: a lease has run out when it has not changed for its duration on the own
//! clock. Source: client-go's `leaderelection`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{Client, Clock, Error};

/// Which lease, and as whom. The durations hold `retry_period` < `renew_deadline` < `lease_duration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderConfig {
    pub namespace: String,
    pub name: String,
    /// Unique to this process.
    pub identity: String,
    /// How long others wait for a leader that is silent.
    pub lease_duration: Duration,
    /// How long a leader tries to renew before it gives up.
    pub renew_deadline: Duration,
    /// How long between two tries.
    pub retry_period: Duration,
}

impl LeaderConfig {
    /// The durations of upstream's components.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// A candidate for one lease.
pub struct LeaderElector {
    client: Client,
    config: LeaderConfig,
    clock: Clock,
    observed: Option<Observed>,
}

/// The lease as it was last read, and when it was first read so.
struct Observed {
    lease: Lease,
    at: Instant,
}

/// How a time of leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership<T> {
    /// The work ended by itself.
    Finished(T),
    /// The lease could not be renewed in time; the work was told to stop, and has.
    Lost,
    /// Shutdown came; the work has stopped, and the lease is given back.
    Stopped,
}

impl LeaderElector {
    pub fn new(client: Client, config: LeaderConfig) -> Self {
        Self::with_clock(client, config, Clock::system())
    }

    pub fn with_clock(client: Client, config: LeaderConfig, clock: Clock) -> Self {
        Self { client, config, clock, observed: None }
    }

    /// Waits to become the leader, then runs `work` for as long as it leads. The token that `work` is given is cancelled
    /// when it must stop: it is another's turn then, so it must stop soon.
    pub async fn lead<F, R, T>(&mut self, work: F, shutdown: CancellationToken) -> Leadership<T>
    where
        F: FnOnce(CancellationToken) -> R,
        R: Future<Output = T>,
    {
        if shutdown.run_until_cancelled(self.acquire()).await.is_none() {
            return Leadership::Stopped;
        }
        let leading = CancellationToken::new();
        let mut work = std::pin::pin!(work(leading.clone()));
        let ended = tokio::select! {
            finished = &mut work => Some(Leadership::Finished(finished)),
            () = self.renew() => None,
            () = shutdown.cancelled() => Some(Leadership::Stopped),
        };
        leading.cancel();
        match ended {
            Some(Leadership::Finished(value)) => {
                self.release().await;
                Leadership::Finished(value)
            }
            Some(_) => {
                work.await;
                self.release().await;
                Leadership::Stopped
            }
            None => {
                work.await;
                Leadership::Lost
            }
        }
    }

    /// Returns as the leader.
    async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.report(&error),
            }
            sleep(self.config.retry_period).await;
        }
    }

    /// Returns when the lease is lost.
    async fn renew(&mut self) {
        let mut deadline = Instant::now() + self.config.renew_deadline;
        while Instant::now() < deadline {
            sleep(self.config.retry_period).await;
            match timeout_at(deadline, self.attempt()).await {
                Ok(Ok(true)) => deadline = Instant::now() + self.config.renew_deadline,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => self.report(&error),
                Err(_elapsed) => return,
            }
        }
    }

    /// Takes or renews the lease, if it may be.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let leases = self.client.namespaced::<Lease>(&self.config.namespace);
        let Some(lease) = leases.find(&self.config.name).await? else {
            let created = leases.create(&self.new_lease()).await?;
            self.observe(created);
            return Ok(true);
        };
        self.observe(lease);
        let Some(claimed) = self.observed.as_ref().and_then(|observed| self.claim(observed)) else {
            return Ok(false);
        };
        match leases.update(&claimed).await {
            Ok(updated) => {
                self.observe(updated);
                Ok(true)
            }
            // Another was faster; what it wrote is read at the next try.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, lease: Lease) {
        let unchanged = self.observed.as_ref().is_some_and(|observed| observed.lease.spec == lease.spec);
        let at = self.observed.as_ref().filter(|_| unchanged).map_or_else(Instant::now, |observed| observed.at);
        self.observed = Some(Observed { lease, at });
    }

    /// The lease as it would be ours, if it is or may be taken.
    fn claim(&self, observed: &Observed) -> Option<Lease> {
        let mut lease = observed.lease.clone();
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let ours = holder == self.config.identity;
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        if !ours && !holder.is_empty() && observed.at.elapsed() < Duration::from_secs(seconds) {
            return None;
        }
        let now = self.clock.micro_time();
        if !ours {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(self.config.identity.clone());
        spec.lease_duration_seconds = Some(self.lease_seconds());
        spec.renew_time = Some(now);
        Some(lease)
    }

    fn new_lease(&self) -> Lease {
        let now = self.clock.micro_time();
        Lease {
            metadata: ObjectMeta {
                namespace: Some(self.config.namespace.clone()),
                name: Some(self.config.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.config.identity.clone()),
                lease_duration_seconds: Some(self.lease_seconds()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the lease back, so that another need not wait until it runs out.
    async fn release(&mut self) {
        let Some(Observed { mut lease, .. }) = self.observed.take() else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(self.config.identity.as_str()) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(self.clock.micro_time());
        let leases = self.client.namespaced::<Lease>(&self.config.namespace);
        if let Ok(Err(error)) = timeout(self.config.retry_period, leases.update(&lease)).await {
            self.report(&error);
        }
    }

    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.config.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }

    fn report(&self, error: &Error) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(lease = self.config.name, error, "cannot take or renew the lease");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeServer, Faults};

    fn elector(server: &FakeServer, identity: &str) -> LeaderElector {
        LeaderElector::new(server.client(), LeaderConfig::new("kube-system", "scheduler", identity))
    }

    fn holder(server: &FakeServer) -> Option<String> {
        server.one::<Lease>("kube-system", "scheduler")?.spec?.holder_identity
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_back_is_taken_at_once() {
        let (server, start) = (FakeServer::new(), Instant::now());
        let mut first = elector(&server, "first");
        let mut second = elector(&server, "second");
        let forever = |token: CancellationToken| async move { token.cancelled().await };
        let (stop, late) = (CancellationToken::new(), CancellationToken::new());
        let leading = tokio::spawn({
            let stop = stop.clone();
            async move { first.lead(forever, stop).await }
        });
        sleep(Duration::from_secs(60)).await;
        assert_eq!(holder(&server).as_deref(), Some("first"));
        let waiting = tokio::spawn(async move { second.lead(|_| async { Instant::now() }, late).await });
        sleep(Duration::from_secs(60)).await;
        stop.cancel();
        assert_eq!(leading.await.ok(), Some(Leadership::Stopped));
        let Ok(Leadership::Finished(at)) = waiting.await else { panic!("the second never led") };
        assert!(at - start < Duration::from_secs(120 + 3), "{:?}", at - start);
        let spec = server.one::<Lease>("kube-system", "scheduler").and_then(|lease| lease.spec).unwrap_or_default();
        assert_eq!((spec.lease_transitions, spec.holder_identity.as_deref()), (Some(1), Some("")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_without_a_server_stops_before_another_may_begin() {
        let server = FakeServer::new();
        let mut leader = elector(&server, "leader");
        let work = {
            let server = server.clone();
            |token: CancellationToken| async move {
                server.set_faults(Faults { lost: 1.0, ..Faults::default() });
                token.cancelled().await;
            }
        };
        let start = Instant::now();
        assert_eq!(leader.lead(work, CancellationToken::new()).await, Leadership::Lost);
        assert!(start.elapsed() < leader.config.lease_duration, "{:?}", start.elapsed());
        server.set_faults(Faults::default());
        let mut other = elector(&server, "other");
        other.lead(|_| async {}, CancellationToken::new()).await;
        assert!(start.elapsed() >= leader.config.lease_duration, "{:?}", start.elapsed());
    }
}
