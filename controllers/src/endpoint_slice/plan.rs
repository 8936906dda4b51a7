//! Which slices to write so that they say what the pods are. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::endpoint::{endpoint, ports};
use super::fill::{Filled, fill};
use crate::ownership::controller_reference;
use crate::service::{Family, HEADLESS_LABEL, Selecting, is_reachable};

pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What is known when a service is looked at.
#[derive(Debug)]
pub struct Observed<'a> {
    pub service: Selecting<'a>,
    /// The pods that it selects.
    pub pods: Vec<Arc<Pod>>,
    /// Its slices that are ours, without those on their way out.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The zones of nodes, where known.
    pub zones: BTreeMap<String, String>,
    pub endpoints_per_slice_max: usize,
}

/// What to do, all at once.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// Decides.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let mut plan = Plan::default();
    let families = observed.service.families();
    let served = |slice: &EndpointSlice| families.iter().any(|family| family.as_str() == slice.address_type);
    let (slices, foreign): (Vec<_>, Vec<_>) = observed.slices.iter().cloned().partition(|slice| served(slice));
    plan.delete.extend(foreign);
    for family in families {
        let of_family = slices.iter().filter(|slice| slice.address_type == family.as_str()).cloned().collect();
        plan_family(observed, family, of_family, &mut plan);
    }
    plan
}

/// A set of ports, comparable: pods that have other numbers for the same names are in other slices.
type Ports = Vec<(String, i32, String, Option<String>)>;

fn sorted(ports: &[EndpointPort]) -> Ports {
    let set: BTreeSet<_> = ports
        .iter()
        .map(|port| {
            let name = port.name.clone().unwrap_or_default();
            let protocol = port.protocol.clone().unwrap_or_default();
            (name, port.port.unwrap_or_default(), protocol, port.app_protocol.clone())
        })
        .collect();
    set.into_iter().collect()
}

#[derive(Default)]
struct Group {
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    slices: Vec<Arc<EndpointSlice>>,
}

fn plan_family(observed: &Observed<'_>, family: Family, slices: Vec<Arc<EndpointSlice>>, plan: &mut Plan) {
    let mut groups = desired(observed, family);
    let (mut kept, created) = (0, plan.create.len());
    let mut emptied = Vec::new();
    for slice in slices {
        groups.entry(sorted(slice.ports.as_deref().unwrap_or_default())).or_default().slices.push(slice);
    }
    for group in groups.into_values() {
        let Filled { create, update, keep, delete } =
            fill(group.slices, group.endpoints, observed.endpoints_per_slice_max);
        kept += update.len() + keep.len();
        emptied.extend(delete);
        plan.create
            .extend(create.into_iter().map(|endpoints| slice(&observed.service, family, &group.ports, endpoints)));
        plan.update.extend(update.into_iter().map(|(slice, endpoints)| updated(&observed.service, &slice, endpoints)));
        let relabelled = keep.into_iter().filter(|slice| !is_labelled(&observed.service, slice));
        plan.update.extend(
            relabelled.map(|slice| updated(&observed.service, &slice, slice.endpoints.clone().unwrap_or_default())),
        );
    }
    if kept == 0 && plan.create.len() == created {
        keep_placeholder(&observed.service, family, &mut emptied, plan);
    }
    plan.delete.extend(emptied);
}

/// A service without endpoints has one slice that says so.
fn keep_placeholder(service: &Selecting<'_>, family: Family, emptied: &mut Vec<Arc<EndpointSlice>>, plan: &mut Plan) {
    let Some(placeholder) = emptied.pop() else {
        return plan.create.push(slice(service, family, &[], Vec::new()));
    };
    let is_empty = placeholder.endpoints.iter().flatten().next().is_none();
    if !is_empty || !is_labelled(service, &placeholder) {
        plan.update.push(updated(service, &placeholder, Vec::new()));
    }
}

/// Who should be in slices, by the ports that they have.
fn desired(observed: &Observed<'_>, family: Family) -> BTreeMap<Ports, Group> {
    let mut groups: BTreeMap<Ports, Group> = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| is_reachable(pod)) {
        let zone = crate::pod::node_name(pod).and_then(|node| observed.zones.get(node)).cloned();
        let Some(endpoint) = endpoint(&observed.service, pod, family, zone) else { continue };
        let ports = ports(&observed.service, pod);
        let group = groups.entry(sorted(&ports)).or_default();
        group.ports = ports;
        group.endpoints.push(endpoint);
    }
    groups
}

fn slice(service: &Selecting<'_>, family: Family, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let meta = &service.service.metadata;
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", meta.name.as_deref().unwrap_or_default())),
            namespace: meta.namespace.clone(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_reference(service.service)]),
            ..ObjectMeta::default()
        },
        address_type: family.as_str().to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

fn updated(service: &Selecting<'_>, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.metadata.labels = Some(labels(service));
    slice.endpoints = Some(endpoints);
    slice
}

fn is_labelled(service: &Selecting<'_>, slice: &EndpointSlice) -> bool {
    slice.metadata.labels.as_ref() == Some(&labels(service))
}

/// The service's own labels, and those by which a slice is found.
fn labels(service: &Selecting<'_>) -> BTreeMap<String, String> {
    let meta = &service.service.metadata;
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.to_owned(), meta.name.clone().unwrap_or_default());
    labels.insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
    labels.remove(HEADLESS_LABEL);
    if service.is_headless() {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::*;
    use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
    use proptest::prelude::*;

    fn service() -> Service {
        Service {
            metadata: ObjectMeta {
                name: Some("web".into()),
                namespace: Some("default".into()),
                uid: Some("uid-web".into()),
                ..ObjectMeta::default()
            },
            spec: Some(ServiceSpec {
                selector: Some([("app".to_owned(), "web".to_owned())].into()),
                cluster_ip: Some("127.96.0.2".into()),
                ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    fn addressed_pod(number: usize) -> Pod {
        addressed(on(pod(&format!("p{number}")), "n"), &format!("127.64.{}.{}", number / 250, number % 250 + 1))
    }

    fn look(service: &Service, pods: &[Pod], slices: &[EndpointSlice]) -> Plan {
        plan(&Observed {
            service: Selecting::of(service).expect("a service with a selector"),
            pods: pods.iter().cloned().map(Arc::new).collect(),
            slices: slices.iter().cloned().map(Arc::new).collect(),
            zones: BTreeMap::new(),
            endpoints_per_slice_max: 3,
        })
    }

    /// What the API server would hold after the plan.
    fn apply(plan: Plan, slices: &mut Vec<EndpointSlice>, names: &mut usize) {
        slices.retain(|slice| !plan.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name));
        for update in plan.update {
            let at = slices.iter().position(|slice| slice.metadata.name == update.metadata.name).expect("it exists");
            slices[at] = update;
        }
        for mut create in plan.create {
            *names += 1;
            create.metadata.name = Some(format!("web-{names}"));
            slices.push(create);
        }
    }

    fn states(slices: &[EndpointSlice]) -> BTreeMap<String, (bool, bool, bool)> {
        let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        endpoints
            .map(|endpoint| {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let flags = (conditions.ready, conditions.serving, conditions.terminating);
                (endpoint.addresses[0].clone(), (flags.0 == Some(true), flags.1 == Some(true), flags.2 == Some(true)))
            })
            .collect()
    }

    #[test]
    fn a_pod_is_ready_serving_and_terminating_in_turn() {
        let with_address = |pod| addressed(pod, "127.64.0.1");
        let mut publishing = service();
        publishing.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
        let cases = [
            (service(), pod("a"), Some((false, false, false))),
            (service(), ready(pod("a"), 0), Some((true, true, false))),
            (service(), deleting(ready(pod("a"), 0)), Some((false, true, true))),
            (publishing.clone(), pod("a"), Some((true, false, false))),
            (publishing, deleting(ready(pod("a"), 0)), Some((true, true, true))),
            (service(), in_phase(pod("a"), "Succeeded"), None),
        ];
        for (service, pod, expected) in cases {
            let plan = look(&service, &[with_address(pod)], &[]);
            assert_eq!(states(&plan.create).get("127.64.0.1").copied(), expected);
        }
    }

    #[test]
    fn no_pods_leave_one_empty_slice() {
        let (mut slices, mut names) = (Vec::new(), 0);
        apply(look(&service(), &[], &[]), &mut slices, &mut names);
        assert_eq!(slices.len(), 1);
        assert_eq!(look(&service(), &[], &slices), Plan::default());
        apply(look(&service(), &[ready(addressed_pod(0), 0)], &slices), &mut slices, &mut names);
        assert_eq!(slices.len(), 1);
        assert_eq!(states(&slices).len(), 1);
    }

    proptest! {
        /// Whatever pods come, go and change: one look makes the slices say it, a second one has nothing to do, no
        /// slice is too long, and a pod stays in its slice.
        #[test]
        fn one_look_suffices(looks in prop::collection::vec(prop::collection::vec(0u8..4, 0..14), 1..6)) {
            let (mut slices, mut names): (Vec<EndpointSlice>, usize) = (Vec::new(), 0);
            for states_of_pods in looks {
                let pods: Vec<Pod> = states_of_pods.iter().enumerate().filter_map(|(number, state)| match state {
                    0 => None,
                    1 => Some(addressed_pod(number)),
                    2 => Some(ready(addressed_pod(number), 0)),
                    _ => Some(deleting(ready(addressed_pod(number), 0))),
                }).collect();
                apply(look(&service(), &pods, &slices), &mut slices, &mut names);
                prop_assert_eq!(states(&slices).len(), pods.len());
                prop_assert_eq!(slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).sum::<usize>(), pods.len());
                prop_assert!(slices.iter().all(|slice| slice.endpoints.iter().flatten().count() <= 3));
                prop_assert_eq!(look(&service(), &pods, &slices), Plan::default());
            }
        }
    }
}
