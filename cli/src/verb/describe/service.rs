//! A service, with the addresses behind it.

use serde_json::Value;

use crate::failure::Result;
use crate::server::query;
use crate::verb::describe::Subject;
use crate::verb::describe::page::{Page, inline, scalar};

pub(super) async fn describe(subject: &Subject<'_>, page: &mut Page) -> Result {
    let spec = &subject.object["spec"];
    page.metadata(&subject.object);
    page.field(0, "Selector", inline(&spec["selector"]));
    page.field_of(0, "Type", &spec["type"]);
    page.field_of(0, "IP Family Policy", &spec["ipFamilyPolicy"]);
    let all = |field: &str| spec[field].as_array().into_iter().flatten().map(scalar).collect::<Vec<_>>().join(",");
    page.field(0, "IP Families", all("ipFamilies"));
    page.field(0, "IP", scalar(&spec["clusterIP"]));
    page.field(0, "IPs", all("clusterIPs"));
    let slices = slices(subject).await?;
    for port in spec["ports"].as_array().into_iter().flatten() {
        let name = port["name"].as_str().unwrap_or("<unset>");
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        page.field(0, "Port", format_args!("{name}  {}/{protocol}", scalar(&port["port"])));
        page.field(0, "TargetPort", format_args!("{}/{protocol}", scalar(&port["targetPort"])));
        if !port["nodePort"].is_null() {
            page.field(0, "NodePort", format_args!("{name}  {}/{protocol}", scalar(&port["nodePort"])));
        }
        page.field(0, "Endpoints", endpoints(&slices, port["name"].as_str().unwrap_or_default()));
    }
    page.field_of(0, "Session Affinity", &spec["sessionAffinity"]);
    page.field_of(0, "External Traffic Policy", &spec["externalTrafficPolicy"]);
    page.field_of(0, "Internal Traffic Policy", &spec["internalTrafficPolicy"]);
    Ok(())
}

async fn slices(subject: &Subject<'_>) -> Result<Vec<Value>> {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", subject.namespace());
    let selector = format!("kubernetes.io/service-name={}", scalar(&subject.object["metadata"]["name"]));
    let mut list = subject.server.get(&query(&path, &[("labelSelector", Some(&selector))])).await?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// The ready addresses of a port: three, and how many more.
fn endpoints(slices: &[Value], port: &str) -> String {
    const SHOWN_MAX: usize = 3;
    let mut addresses = Vec::new();
    for slice in slices {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let Some(number) =
            ports.filter(|it| it["name"].as_str().unwrap_or_default() == port).map(|it| &it["port"]).next()
        else {
            continue;
        };
        let ready = |it: &&Value| it["conditions"]["ready"] != false;
        for endpoint in slice["endpoints"].as_array().into_iter().flatten().filter(ready) {
            let all = endpoint["addresses"].as_array().into_iter().flatten();
            addresses.extend(all.map(|address| format!("{}:{}", scalar(address), scalar(number))));
        }
    }
    let more = addresses.len().saturating_sub(SHOWN_MAX);
    addresses.truncate(SHOWN_MAX);
    match (addresses.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => addresses.join(","),
        (false, more) => format!("{} + {more} more...", addresses.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_ready_addresses_of_the_port_are_shown() {
        let endpoint =
            |last: u8, ready: bool| json!({"addresses": [format!("127.64.0.{last}")], "conditions": {"ready": ready}});
        let slice = json!({"ports": [{"name": "http", "port": 8080}], "endpoints": [endpoint(1, true), endpoint(2, false), endpoint(3, true)]});
        assert_eq!(endpoints(std::slice::from_ref(&slice), "http"), "127.64.0.1:8080,127.64.0.3:8080");
        assert_eq!(endpoints(std::slice::from_ref(&slice), "other"), "");
        let many =
            json!({"ports": [{"port": 80}], "endpoints": (1..=5).map(|it| endpoint(it, true)).collect::<Vec<_>>()});
        assert_eq!(endpoints(&[many], ""), "127.64.0.1:80,127.64.0.2:80,127.64.0.3:80 + 2 more...");
    }
}
