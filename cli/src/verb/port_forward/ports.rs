//! Which ports are meant: here, and in the pod. Source: kubectl's `port-forward`, for services and named ports alike.

use std::net::IpAddr;

use serde_json::Value;

use crate::failure::{Failure, Result};

/// A port here (0: any that is free) that leads to one of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub local: u16,
    pub remote: u16,
}

/// Reads `8080`, `8080:80`, `:80` or `8080:http`. `object` is what was named, a service or something that has the pod.
///
/// # Errors
/// When it is no port, or there is none of that name.
pub fn forwarded(text: &str, object: &Value, pod: &Value) -> Result<Forwarded> {
    let (local, remote) = match *text.split(':').collect::<Vec<_>>().as_slice() {
        [both] => (both, both),
        [local, remote] => (local, remote),
        _ => return Err(Failure::new(format!("invalid port format '{text}'"))),
    };
    if remote.is_empty() {
        return Err(Failure::new("remote port cannot be empty"));
    }
    let number = |text: &str| text.parse::<u16>().ok();
    let (named, remote_port) = match object["kind"] == "Service" {
        true => of_service(object, pod, remote)?,
        false => match number(remote) {
            Some(port) => (port, port),
            None => of_pod(pod, remote).map(|port| (port, port))?,
        },
    };
    let local = match number(local) {
        Some(port) => port,
        None if local.is_empty() => 0,
        None if local == remote => named,
        None => return Err(Failure::new(format!("error parsing local port '{local}'"))),
    };
    if remote_port == 0 {
        return Err(Failure::new("remote port must be > 0"));
    }
    Ok(Forwarded { local, remote: remote_port })
}

/// The port of a service, and that of the pod to which it leads.
fn of_service(service: &Value, pod: &Value, wanted: &str) -> Result<(u16, u16)> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let ports = || service["spec"]["ports"].as_array().into_iter().flatten();
    let (found, missing) = match wanted.parse::<u16>() {
        Ok(number) => {
            let found = tcp_first(ports().filter(|port| port["port"] == number));
            (found, format!("Service {name} does not have a service port {number}"))
        }
        Err(_) => {
            let found = tcp_first(ports().filter(|port| port["name"] == wanted));
            (found, format!("Service '{name}' does not have a named port '{wanted}'"))
        }
    };
    let port = found.ok_or_else(|| Failure::new(missing))?;
    refuse_udp(port, wanted)?;
    let own = number_of(&port["port"]).unwrap_or(0);
    if service["spec"]["clusterIP"] == "None" {
        return Ok((own, own));
    }
    let target = match &port["targetPort"] {
        Value::String(name) => of_pod(pod, name)?,
        number => number_of(number).filter(|port| *port != 0).unwrap_or(own),
    };
    Ok((own, target))
}

fn of_pod(pod: &Value, wanted: &str) -> Result<u16> {
    let containers = ["containers", "initContainers"].into_iter();
    let containers = containers.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let found = tcp_first(ports.filter(|port| port["name"] == wanted)).ok_or_else(|| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        Failure::new(format!("Pod '{name}' does not have a named port '{wanted}'"))
    })?;
    refuse_udp(found, wanted)?;
    Ok(number_of(&found["containerPort"]).unwrap_or(0))
}

fn number_of(port: &Value) -> Option<u16> {
    u16::try_from(port.as_u64()?).ok()
}

/// Of ports that share a number or a name, the one that can be forwarded.
fn tcp_first<'v>(ports: impl Iterator<Item = &'v Value>) -> Option<&'v Value> {
    ports.min_by_key(|port| port["protocol"] == "UDP")
}

fn refuse_udp(port: &Value, wanted: &str) -> Result {
    match port["protocol"] == "UDP" {
        true => Err(Failure::new(format!("UDP protocol is not supported for {wanted}"))),
        false => Ok(()),
    }
}

/// Where is listened: addresses of which at least one, and those of which every one must be free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub any: Vec<IpAddr>,
    pub every: Vec<IpAddr>,
}

/// Reads addresses; `localhost` stands for both of its own.
///
/// # Errors
/// When one is no address.
pub fn addresses(texts: &[String]) -> Result<Addresses> {
    let mut addresses = Addresses::default();
    for text in texts {
        if text == "localhost" {
            addresses.any = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
            continue;
        }
        let address = text.parse().map_err(|_| Failure::new(format!("{text} is not a valid IP")))?;
        addresses.every.push(address);
    }
    addresses.any.retain(|address| !addresses.every.contains(address));
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"ports": [
            {"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        ]}]}})
    }

    #[test]
    fn ports_of_pods_are_read() {
        let read = |text: &str| forwarded(text, &pod(), &pod());
        for (text, local, remote) in [
            ("80", 80, 80),
            ("8080:80", 8080, 80),
            (":80", 0, 80),
            ("0:80", 0, 80),
            ("http", 8080, 8080),
            (":http", 0, 8080),
        ] {
            assert_eq!(read(text).ok(), Some(Forwarded { local, remote }), "{text}");
        }
        for (text, why) in [
            ("1:2:3", "invalid port format '1:2:3'"),
            ("80:", "remote port cannot be empty"),
            ("", "remote port cannot be empty"),
            ("80:0", "remote port must be > 0"),
            ("x:80", "error parsing local port 'x'"),
            ("65536", "Pod 'p' does not have a named port '65536'"),
            ("dns", "UDP protocol is not supported for dns"),
        ] {
            assert_eq!(read(text).expect_err("refused").message(), format!("error: {why}"), "{text}");
        }
    }

    #[test]
    fn ports_of_services_lead_to_those_of_their_pods() {
        let service = |cluster_ip: &str| {
            json!({"kind": "Service", "metadata": {"name": "s"}, "spec": {"clusterIP": cluster_ip, "ports": [
                {"name": "web", "port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 9000}, {"port": 82},
                {"name": "names", "port": 53, "protocol": "UDP"},
            ]}})
        };
        let read = |text: &str, cluster_ip: &str| forwarded(text, &service(cluster_ip), &pod());
        for (text, local, remote) in
            [("80", 80, 8080), ("web", 80, 8080), (":web", 0, 8080), ("1:81", 1, 9000), ("82", 82, 82)]
        {
            assert_eq!(read(text, "10.0.0.1").ok(), Some(Forwarded { local, remote }), "{text}");
        }
        assert_eq!(read("80", "None").ok(), Some(Forwarded { local: 80, remote: 80 }));
        for (text, why) in [
            ("8080", "Service s does not have a service port 8080"),
            ("http", "Service 's' does not have a named port 'http'"),
            ("names", "UDP protocol is not supported for names"),
        ] {
            assert_eq!(read(text, "10.0.0.1").expect_err("refused").message(), format!("error: {why}"), "{text}");
        }
    }

    #[test]
    fn localhost_is_two_addresses() {
        let read = |texts: &[&str]| addresses(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let both = read(&["localhost", "::1"]).expect("addresses");
        assert_eq!((both.any.len(), both.every.len()), (1, 1));
        assert_eq!(read(&["example.com"]).expect_err("refused").message(), "error: example.com is not a valid IP");
    }
}
