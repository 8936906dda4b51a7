//! Who gets the next connection: in turn, or whom the client had before.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::PROXY_AFFINITIES_MAX;

/// Chooses among the endpoints of one port.
#[derive(Debug)]
pub struct Balancer {
    next: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backends: Arc<[SocketAddr]>,
    affinity: Option<Duration>,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
}

impl Balancer {
    /// Chooses among `backends`.
    pub fn new(backends: Vec<SocketAddr>, affinity: Option<Duration>) -> Self {
        let state = State { backends: backends.into(), affinity, clients: HashMap::new() };
        Self { next: AtomicUsize::new(0), state: Mutex::new(state) }
    }

    /// From now on chooses among `backends`; connections that there are stay.
    pub fn set(&self, backends: Vec<SocketAddr>, affinity: Option<Duration>) {
        let mut state = self.lock();
        state.backends = backends.into();
        state.affinity = affinity;
        let State { backends, clients, .. } = &mut *state;
        clients.retain(|_, (backend, _)| backends.contains(backend));
        if state.affinity.is_none() {
            state.clients = HashMap::new();
        }
    }

    /// Every endpoint once, the one to try first in front.
    pub fn candidates(&self, client: IpAddr) -> impl Iterator<Item = SocketAddr> + use<> {
        let mut state = self.lock();
        let known = state.known(client);
        let backends = state.backends.clone();
        drop(state);
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let all = (0..backends.len()).map(move |at| backends[(first.wrapping_add(at)) % backends.len()]);
        known.into_iter().chain(all.filter(move |backend| Some(*backend) != known))
    }

    /// Notes that `backend` has taken `client`.
    pub fn took(&self, client: IpAddr, backend: SocketAddr) {
        let mut state = self.lock();
        if state.affinity.is_none() {
            return;
        }
        if state.clients.len() >= PROXY_AFFINITIES_MAX && !state.clients.contains_key(&client) {
            let oldest = state.clients.iter().min_by_key(|(_, (_, at))| *at).map(|(client, _)| *client);
            oldest.map(|oldest| state.clients.remove(&oldest));
        }
        state.clients.insert(client, (backend, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self, client: IpAddr) -> Option<SocketAddr> {
        let affinity = self.affinity?;
        let (backend, at) = *self.clients.get(&client)?;
        if at.elapsed() <= affinity {
            return Some(backend);
        }
        self.clients.remove(&client);
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn backends(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 64, 0, 1], *port))).collect()
    }

    #[test]
    fn everybody_has_a_turn_and_a_second_choice() {
        let balancer = Balancer::new(backends(&[1, 2, 3]), None);
        let client = IpAddr::from([127, 0, 0, 1]);
        let firsts: Vec<u16> = (0..6).map(|_| balancer.candidates(client).next().unwrap().port()).collect();
        assert_eq!(firsts, [1, 2, 3, 1, 2, 3]);
        assert_eq!(balancer.candidates(client).map(|backend| backend.port()).collect::<Vec<_>>(), [1, 2, 3]);
        balancer.set(Vec::new(), None);
        assert_eq!(balancer.candidates(client).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_stays_until_its_time_is_over_or_its_endpoint_gone() {
        let balancer = Balancer::new(backends(&[1, 2, 3]), Some(Duration::from_secs(10)));
        let client = IpAddr::from([127, 0, 0, 1]);
        let two = backends(&[2])[0];
        balancer.took(client, two);
        for _ in 0..4 {
            let candidates: Vec<_> = balancer.candidates(client).collect();
            assert_eq!((candidates[0], candidates.len()), (two, 3));
        }
        tokio::time::advance(Duration::from_secs(11)).await;
        let firsts: Vec<_> = (0..3).map(|_| balancer.candidates(client).next().unwrap().port()).collect();
        assert_ne!(firsts, [2, 2, 2]);
        balancer.took(client, two);
        balancer.set(backends(&[1, 3]), Some(Duration::from_secs(10)));
        assert!(balancer.candidates(client).all(|backend| backend != two));
    }
}
