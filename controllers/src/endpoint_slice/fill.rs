//! Puts endpoints into slices so that as few slices as possible are written. Pure.
//!
//! What a slice holds and still should stays there; newcomers go into slices that are written anyway, then into the
//! fullest other one that has room for all of them, then into new ones. Slices are never rebalanced: that would be
//! writes without news.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::endpoint::same;

/// The endpoints that each slice shall hold.
#[derive(Debug, Default, PartialEq)]
pub struct Filled {
    pub create: Vec<Vec<Endpoint>>,
    pub update: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)>,
    pub keep: Vec<Arc<EndpointSlice>>,
    /// Nothing is left in these.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// Distributes `desired` over the `existing` slices (all of one family and one set of ports) and new ones.
pub fn fill(existing: Vec<Arc<EndpointSlice>>, desired: Vec<Endpoint>, per_slice_max: usize) -> Filled {
    let per_slice_max = per_slice_max.max(1);
    let mut left = Desired::new(desired);
    let mut filled = Filled::default();
    for slice in existing {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let after: Vec<Endpoint> = before.iter().filter_map(|endpoint| left.take(endpoint)).collect();
        if after.is_empty() {
            filled.delete.push(slice);
        } else if after == before {
            filled.keep.push(slice);
        } else {
            filled.update.push((slice, after));
        }
    }
    filled.place(left.rest(), per_slice_max);
    filled
}

impl Filled {
    fn place(&mut self, mut newcomers: Vec<Endpoint>, per_slice_max: usize) {
        self.update.sort_by_key(|(_, endpoints)| std::cmp::Reverse(endpoints.len()));
        for (_, endpoints) in &mut self.update {
            let room = per_slice_max.saturating_sub(endpoints.len()).min(newcomers.len());
            endpoints.extend(newcomers.drain(..room));
        }
        self.revive(&mut newcomers, per_slice_max);
        while newcomers.len() >= per_slice_max {
            self.create.push(newcomers.drain(..per_slice_max).collect());
        }
        if newcomers.is_empty() {
            return;
        }
        match self.fullest_with_room(newcomers.len(), per_slice_max) {
            Some(at) => {
                let slice = self.keep.swap_remove(at);
                let mut endpoints = slice.endpoints.clone().unwrap_or_default();
                endpoints.append(&mut newcomers);
                self.update.push((slice, endpoints));
            }
            None => self.create.push(newcomers),
        }
    }

    /// A slice that would be deleted takes newcomers instead: one write for two, and the placeholder of a service
    /// without pods becomes its first slice.
    fn revive(&mut self, newcomers: &mut Vec<Endpoint>, per_slice_max: usize) {
        while !newcomers.is_empty() {
            let Some(slice) = self.delete.pop() else { return };
            let room = per_slice_max.min(newcomers.len());
            self.update.push((slice, newcomers.drain(..room).collect()));
        }
    }

    fn fullest_with_room(&self, count: usize, per_slice_max: usize) -> Option<usize> {
        let len = |slice: &EndpointSlice| slice.endpoints.as_ref().map_or(0, Vec::len);
        let roomy = self.keep.iter().enumerate().filter(|(_, slice)| len(slice) + count <= per_slice_max);
        roomy.max_by_key(|(_, slice)| len(slice)).map(|(at, _)| at)
    }
}

/// What still has to find a place, found by its first address.
struct Desired {
    endpoints: Vec<Option<Endpoint>>,
    by_address: HashMap<String, Vec<usize>>,
}

impl Desired {
    fn new(endpoints: Vec<Endpoint>) -> Self {
        let mut by_address: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            by_address.entry(first_address(endpoint)).or_default().push(at);
        }
        Self { endpoints: endpoints.into_iter().map(Some).collect(), by_address }
    }

    /// Takes out the endpoint that `held` is, as it shall be.
    fn take(&mut self, held: &Endpoint) -> Option<Endpoint> {
        let candidates = self.by_address.get(&first_address(held))?;
        let at = candidates.iter().find(|at| self.endpoints[**at].as_ref().is_some_and(|one| same(one, held)))?;
        self.endpoints[*at].take()
    }

    fn rest(self) -> Vec<Endpoint> {
        self.endpoints.into_iter().flatten().collect()
    }
}

fn first_address(endpoint: &Endpoint) -> String {
    endpoint.addresses.first().cloned().unwrap_or_default()
}
