//! Addresses and ports of services: none is ever given to two.
//!
//! What is taken is read from the services in the watch cache when the first one is asked for, and from then on kept
//! here: taken before a service is written, given back when the write fails or the service goes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard};

use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{kinds, validation};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{families, has_cluster_ip, has_health_check_port, has_node_ports, is_headless, type_of};
use crate::api::Api;
use crate::strategy::typed;

/// What can be given to services, and what has been.
pub(crate) struct Allocators {
    addresses: RangeInclusive<u32>,
    ports: RangeInclusive<u16>,
    taken: Mutex<Option<Taken>>,
}

/// Who has what, by `namespace/name`.
#[derive(Default)]
struct Taken {
    addresses: HashMap<u32, String>,
    ports: HashMap<(u16, Protocol), String>,
    next_address: u32,
    next_port: u16,
}

/// The ports of a protocol are apart from those of others.
type Protocol = String;

/// What one service took anew, to be given back if it is refused.
#[derive(Default)]
struct Fresh {
    addresses: Vec<u32>,
    ports: Vec<(u16, Protocol)>,
}

impl Allocators {
    /// Gives addresses from `cidr` (as `127.96.0.0/16`; neither the first nor the last of it), and ports of nodes.
    ///
    /// `None` when `cidr` is no range of IPv4 addresses with room in it.
    pub(crate) fn new(cidr: &str, ports: RangeInclusive<u16>) -> Option<Self> {
        let (base, bits) = cidr.split_once('/')?;
        let (base, bits): (Ipv4Addr, u32) = (base.parse().ok()?, bits.parse().ok()?);
        let size = 1_u32.checked_shl(32_u32.checked_sub(bits)?)?;
        let first = u32::from(base) & !(size - 1);
        (size >= 4).then(|| Self { addresses: first + 1..=first + size - 2, ports, taken: Mutex::default() })
    }

    /// The address of the API server's own service: the first.
    pub(crate) fn first_address(&self) -> Ipv4Addr {
        (*self.addresses.start()).into()
    }

    /// Gives `service` what it lacks, and takes what it asks for. With `dry_run` nothing is taken. A service that `old`
    /// gave an address keeps it: whether it says another is for validation to tell.
    ///
    /// # Errors
    /// When what it asks for is another's or outside of what there is, or nothing is left.
    pub(crate) fn admit(
        &self,
        api: &Api,
        service: &mut Service,
        old: Option<&ServiceSpec>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let owner = owner(service);
        let name = service.metadata.name.clone().unwrap_or_default();
        let mut errors = validation::service_addresses(service);
        let Some(spec) = &mut service.spec else { return Ok(()) };
        if errors.is_empty() {
            families::check(spec, &mut errors);
        }
        if !errors.is_empty() {
            return Err(ApiError::Invalid { kind: GroupKind::of(kinds::of::<Service>()), name, errors });
        }
        let mut taken = self.taken(api);
        let mut fresh = Fresh::default();
        if !old.is_some_and(has_cluster_ip) {
            self.give_address(&mut taken, &owner, spec, &mut fresh, &mut errors);
        }
        if errors.is_empty() {
            self.give_ports(&mut taken, &owner, spec, &mut fresh, &mut errors);
        }
        if dry_run || !errors.is_empty() {
            taken.give_back(&fresh);
        }
        if !errors.is_empty() {
            return Err(ApiError::Invalid { kind: GroupKind::of(kinds::of::<Service>()), name, errors });
        }
        Ok(())
    }

    /// Gives back everything that `service` has.
    pub(crate) fn release(&self, service: &Service) {
        let mut taken = self.lock();
        if let (Some(taken), Some(spec)) = (taken.as_mut(), &service.spec) {
            taken.give_back_owned(&owner(service), &addresses_of(spec), &ports_of(spec));
        }
    }

    /// Gives back what `gone` has and `stays`, another state of the same service, has not.
    pub(crate) fn release_difference(&self, gone: &Service, stays: &Service) {
        let mut taken = self.lock();
        if let (Some(taken), Some(spec)) = (taken.as_mut(), &stays.spec) {
            taken.give_back_unused(&owner(gone), gone, spec);
        }
    }

    fn give_address(
        &self,
        taken: &mut Taken,
        owner: &str,
        spec: &mut ServiceSpec,
        fresh: &mut Fresh,
        errors: &mut Errors,
    ) {
        if !has_cluster_ip(spec) || is_headless(spec) {
            return;
        }
        let path = Path::new("spec");
        let path = path.child("clusterIPs");
        if owner.ends_with('/') {
            let why = "failed to allocate IP: the service has no name to be remembered by";
            return errors.invalid(&path, &spec.cluster_ips, why);
        }
        match spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()).map(str::parse::<Ipv4Addr>) {
            // What is no address is told by validation.
            Some(Err(_)) => {}
            Some(Ok(ip)) => match self.take_address(taken, owner, u32::from(ip)) {
                Ok(is_fresh) => fresh.addresses.extend(is_fresh.then_some(u32::from(ip))),
                Err(why) => errors.invalid(&path, &spec.cluster_ips, &why),
            },
            None => match self.next_address(taken) {
                Some(address) => {
                    taken.addresses.insert(address, owner.to_owned());
                    fresh.addresses.push(address);
                    let text = Ipv4Addr::from(address).to_string();
                    spec.cluster_ips = Some(vec![text.clone()]);
                    spec.cluster_ip = Some(text);
                }
                None => errors.internal(&path, "failed to allocate a serviceIP: range is full"),
            },
        }
    }

    fn take_address(&self, taken: &mut Taken, owner: &str, address: u32) -> Result<bool, String> {
        if !self.addresses.contains(&address) {
            let (first, last) = (Ipv4Addr::from(*self.addresses.start()), Ipv4Addr::from(*self.addresses.end()));
            return Err(format!(
                "failed to allocate IP: the provided IP is not in the valid range. The range of valid IPs is {first}-{last}"
            ));
        }
        match taken.addresses.get(&address) {
            Some(other) if other == owner => Ok(false),
            Some(_) => Err("failed to allocate IP: provided IP is already allocated".to_owned()),
            None => {
                taken.addresses.insert(address, owner.to_owned());
                Ok(true)
            }
        }
    }

    /// The next free one after the last that was given, so that one is not given again at once. The first address of
    /// the range is the API server's.
    fn next_address(&self, taken: &mut Taken) -> Option<u32> {
        let (first, last) = (*self.addresses.start() + 1, *self.addresses.end());
        let from = taken.next_address.clamp(first, last);
        let free = (from..=last).chain(first..from).find(|address| !taken.addresses.contains_key(address))?;
        taken.next_address = free + 1;
        Some(free)
    }

    fn give_ports(
        &self,
        taken: &mut Taken,
        owner: &str,
        spec: &mut ServiceSpec,
        fresh: &mut Fresh,
        errors: &mut Errors,
    ) {
        let path = Path::new("spec");
        let (gives, has) = (has_node_ports(spec), matches!(type_of(spec), "NodePort" | "LoadBalancer"));
        let ports = path.child("ports");
        // A port of two protocols is one on the nodes too, where it can be.
        let mut same: HashMap<i32, i32> = HashMap::new();
        for port in spec.ports.iter().flatten().filter(|port| port.node_port.is_some_and(|port| port != 0)) {
            same.entry(port.port).or_insert(port.node_port.unwrap_or_default());
        }
        for (index, port) in spec.ports.iter_mut().flatten().enumerate().filter(|_| has) {
            let at = ports.index(index);
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let wanted = port.node_port.filter(|port| *port != 0);
            if wanted.is_some() || gives {
                let like = same.get(&port.port).copied().filter(|like| taken.is_free(*like, &protocol));
                let wanted = wanted.or(like);
                port.node_port = self.give_port(taken, owner, &protocol, wanted, fresh, &at.child("nodePort"), errors);
                same.extend(port.node_port.map(|given| (port.port, given)));
            }
        }
        if has_health_check_port(spec) {
            let wanted = spec.health_check_node_port.filter(|port| *port != 0);
            let at = path.child("healthCheckNodePort");
            spec.health_check_node_port = self.give_port(taken, owner, "TCP", wanted, fresh, &at, errors);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of a walk that carries its state along")]
    fn give_port(
        &self,
        taken: &mut Taken,
        owner: &str,
        protocol: &str,
        wanted: Option<i32>,
        fresh: &mut Fresh,
        at: &Path<'_>,
        errors: &mut Errors,
    ) -> Option<i32> {
        let Some(wanted) = wanted else {
            let Some(free) = self.next_port(taken, protocol) else {
                errors.internal(at, "failed to allocate a nodePort: range is full");
                return None;
            };
            taken.ports.insert((free, protocol.to_owned()), owner.to_owned());
            fresh.ports.push((free, protocol.to_owned()));
            return Some(i32::from(free));
        };
        match u16::try_from(wanted).ok().filter(|port| self.ports.contains(port)) {
            None => {
                let (first, last) = (self.ports.start(), self.ports.end());
                errors.invalid(
                    at,
                    &wanted,
                    &format!("provided port is not in the valid range. The range of valid ports is {first}-{last}"),
                );
            }
            Some(port) => match taken.ports.get(&(port, protocol.to_owned())) {
                Some(other) if other == owner => {}
                Some(_) => errors.invalid(at, &wanted, "provided port is already allocated"),
                None => {
                    taken.ports.insert((port, protocol.to_owned()), owner.to_owned());
                    fresh.ports.push((port, protocol.to_owned()));
                }
            },
        }
        Some(wanted)
    }

    fn next_port(&self, taken: &mut Taken, protocol: &str) -> Option<u16> {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let from = taken.next_port.clamp(first, last);
        let is_free = |port: &u16| !taken.ports.contains_key(&(*port, protocol.to_owned()));
        let free = (from..=last).chain(first..from).find(is_free)?;
        taken.next_port = free.saturating_add(1);
        Some(free)
    }

    /// What is taken, read from the cache the first time.
    fn taken(&self, api: &Api) -> TakenGuard<'_> {
        let mut guard = self.lock();
        guard.get_or_insert_with(|| Taken::of_cluster(api));
        TakenGuard(guard)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Taken>> {
        self.taken.lock().expect("nothing panics while it holds the allocations")
    }
}

/// What is taken, once it has been read.
struct TakenGuard<'a>(MutexGuard<'a, Option<Taken>>);

impl std::ops::Deref for TakenGuard<'_> {
    type Target = Taken;

    fn deref(&self) -> &Taken {
        self.0.as_ref().expect("it has been read")
    }
}

impl std::ops::DerefMut for TakenGuard<'_> {
    fn deref_mut(&mut self) -> &mut Taken {
        self.0.as_mut().expect("it has been read")
    }
}

impl Taken {
    fn of_cluster(api: &Api) -> Self {
        let mut taken = Self::default();
        let services = api.resources.core("services");
        for object in api.list_all(services).iter().filter_map(|cached| services.load(cached).ok()) {
            let service = typed::<Service>(&object);
            let owner = owner(service);
            if let Some(spec) = &service.spec {
                taken.addresses.extend(addresses_of(spec).into_iter().map(|address| (address, owner.clone())));
                taken.ports.extend(ports_of(spec).into_iter().map(|port| (port, owner.clone())));
            }
        }
        taken
    }

    fn is_free(&self, port: i32, protocol: &str) -> bool {
        u16::try_from(port).is_ok_and(|port| !self.ports.contains_key(&(port, protocol.to_owned())))
    }

    fn give_back(&mut self, fresh: &Fresh) {
        for address in &fresh.addresses {
            self.addresses.remove(address);
        }
        for port in &fresh.ports {
            self.ports.remove(port);
        }
    }

    /// Gives back what `old` had and `new` has not.
    fn give_back_unused(&mut self, owner: &str, old: &Service, new: &ServiceSpec) {
        let Some(old) = &old.spec else { return };
        let (addresses, ports) = (addresses_of(new), ports_of(new));
        let unused: Vec<u32> = addresses_of(old).into_iter().filter(|address| !addresses.contains(address)).collect();
        let unused_ports: Vec<_> = ports_of(old).into_iter().filter(|port| !ports.contains(port)).collect();
        self.give_back_owned(owner, &unused, &unused_ports);
    }

    fn give_back_owned(&mut self, owner: &str, addresses: &[u32], ports: &[(u16, Protocol)]) {
        for address in addresses {
            if self.addresses.get(address).is_some_and(|other| other == owner) {
                self.addresses.remove(address);
            }
        }
        for port in ports {
            if self.ports.get(port).is_some_and(|other| other == owner) {
                self.ports.remove(port);
            }
        }
    }
}

fn owner(service: &Service) -> String {
    let meta = &service.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn addresses_of(spec: &ServiceSpec) -> Vec<u32> {
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    all.filter_map(|ip| ip.parse::<Ipv4Addr>().ok()).map(u32::from).collect()
}

fn ports_of(spec: &ServiceSpec) -> Vec<(u16, Protocol)> {
    let port =
        |port: i32, protocol: &str| Some((u16::try_from(port).ok().filter(|port| *port != 0)?, protocol.to_owned()));
    let ports = spec.ports.iter().flatten();
    let own = ports.filter_map(|own| port(own.node_port?, own.protocol.as_deref().unwrap_or("TCP")));
    own.chain(spec.health_check_node_port.and_then(|own| port(own, "TCP"))).collect()
}
