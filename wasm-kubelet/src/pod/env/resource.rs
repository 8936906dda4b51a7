//! `resourceFieldRef`: what a container may use, as a number. Source: `pkg/api/v1/resource`.

use coracle_api::quantity::{Quantity, parse_or_zero};
use k8s_openapi::api::core::v1 as core;

use super::Facts;

/// `limits.cpu`, `requests.memory`, …, in units of the divisor, rounded up; a limit that is not set is the node's.
///
/// # Errors
/// When there is no such container or resource.
pub fn container_resource(
    selector: &core::ResourceFieldSelector,
    container: &core::Container,
    facts: Facts<'_>,
) -> Result<String, String> {
    let container = match selector.container_name.as_deref() {
        None | Some("") => container,
        Some(name) => {
            let spec = facts.pod.spec.iter();
            let mut all = spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
            all.find(|container| container.name == name).ok_or_else(|| format!("container {name} not found"))?
        }
    };
    let error = || format!("unsupported container resource : {}", selector.resource);
    let (kind, resource) = selector.resource.split_once('.').ok_or_else(error)?;
    let resources = container.resources.as_ref();
    let (map, default) = match kind {
        "limits" => (resources.and_then(|resources| resources.limits.as_ref()), true),
        "requests" => (resources.and_then(|resources| resources.requests.as_ref()), false),
        _ => return Err(error()),
    };
    let is_known = matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    if !is_known {
        return Err(error());
    }
    let written = map.and_then(|map| map.get(resource)).map(|written| parse_or_zero(Some(written)));
    let amount = written.filter(|written| !written.is_zero()).unwrap_or(match resource {
        "cpu" if default => Quantity::from_milli(i64::try_from(facts.node_cpu_millis).unwrap_or(i64::MAX)),
        "memory" if default => Quantity::from_bytes(facts.node_memory_bytes),
        "ephemeral-storage" if default => Quantity::from_bytes(facts.node_storage_bytes),
        _ => Quantity::ZERO,
    });
    let divisor = Some(parse_or_zero(selector.divisor.as_ref())).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or(Quantity::from_units(1));
    let (amount, divisor) = match resource {
        "cpu" => (amount.milli(), divisor.milli()),
        _ => (amount.units(), divisor.units()),
    };
    let divisor = divisor.max(1);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use coracle_api::Object;

    #[test]
    fn every_resource_in_every_unit() {
        let pod = core::Pod::decode(
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{
            "initContainers":[{"name":"i","resources":{"requests":{"cpu":"2"}}}],
            "containers":[{"name":"c","resources":{"limits":{"memory":"64Mi","hugepages-2Mi":"4Mi"},
              "requests":{"cpu":"1500m","ephemeral-storage":"1Ki"}}}]}}"#,
        )
        .unwrap();
        let facts = Facts {
            pod: &pod,
            pod_ip: Ipv4Addr::LOCALHOST,
            host_ip: Ipv4Addr::LOCALHOST.into(),
            node_cpu_millis: 2000,
            node_memory_bytes: 1 << 30,
            node_storage_bytes: 1 << 40,
        };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let table = [
            ("", "limits.memory", "1Mi", Ok("64")),
            ("", "limits.memory", "", Ok("67108864")),
            ("", "limits.memory", "0", Ok("67108864")),
            ("", "limits.memory", "1Gi", Ok("1")),
            ("", "requests.cpu", "", Ok("2")),
            ("", "requests.cpu", "1m", Ok("1500")),
            ("", "limits.cpu", "1m", Ok("2000")),
            ("", "requests.memory", "1", Ok("0")),
            ("", "requests.ephemeral-storage", "1", Ok("1024")),
            ("", "limits.ephemeral-storage", "1Gi", Ok("1024")),
            ("", "limits.hugepages-2Mi", "1Mi", Ok("4")),
            ("", "requests.hugepages-2Mi", "1Mi", Ok("0")),
            ("i", "requests.cpu", "", Ok("2")),
            ("i", "limits.memory", "1Gi", Ok("1")),
            ("no", "limits.cpu", "", Err("container no not found")),
            ("", "limits.gpu", "", Err("unsupported container resource : limits.gpu")),
            ("", "cpu", "", Err("unsupported container resource : cpu")),
        ];
        for (name, resource, divisor, want) in table {
            let selector = core::ResourceFieldSelector {
                container_name: Some(name.into()),
                resource: resource.into(),
                divisor: Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.into())),
            };
            let want = want.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(container_resource(&selector, container, facts), want, "{resource} {divisor}");
        }
    }
}
