//! `fieldRef`: a field of the pod as text. Source: kubelet, `podFieldSelectorRuntimeValue`, and `pkg/fieldpath`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Facts;

/// A field of the pod, for an environment variable or a downward-API file.
///
/// # Errors
/// When there is no such field to refer to.
pub fn pod_field(path: &str, facts: Facts<'_>) -> Result<String, String> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    let of = |text: Option<&String>| Ok(text.cloned().unwrap_or_default());
    if let Some((field, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match field {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return of(map.and_then(|map| map.get(key)));
    }
    match path {
        "metadata.name" => of(meta.name.as_ref()),
        "metadata.namespace" => of(meta.namespace.as_ref()),
        "metadata.uid" => of(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => of(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => of(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => Ok(facts.pod_ip.to_string()),
        "status.hostIP" | "status.hostIPs" => Ok(facts.host_ip.to_string()),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

/// Source: `FormatMap`: `key="escaped value"`, a line each, in order.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// A text as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for each in text.chars() {
        let simple = match each {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\x07' => "\\a",
            '\x08' => "\\b",
            '\x0c' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\x0b' => "\\v",
            _ => "",
        };
        // A string takes every text.
        let _ = match (simple, each) {
            ("", each) if !is_hidden(each) => write!(out, "{each}"),
            ("", each) if u32::from(each) < 0x80 => write!(out, "\\x{:02x}", u32::from(each)),
            ("", each) if u32::from(each) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(each)),
            ("", each) => write!(out, "\\U{:08x}", u32::from(each)),
            (simple, _) => write!(out, "{simple}"),
        };
    }
    out.push('"');
    out
}

/// What Go does not print as it is: control characters, and spaces other than the plain one.
fn is_hidden(each: char) -> bool {
    let is_formatting = matches!(u32::from(each), 0xAD | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF);
    each.is_control() || each.is_whitespace() && each != ' ' || is_formatting
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use coracle_api::Object;
    use k8s_openapi::api::core::v1 as core;

    #[test]
    fn every_field_that_may_be_referred_to() {
        let pod = core::Pod::decode(
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u",
            "labels":{"app":"web","b":"2"},"annotations":{"x.io/k":"say \"hi\"\n\t\u0001\u00a0\u00fc\u2028"}},
            "spec":{"nodeName":"node","serviceAccountName":"sa","containers":[]}}"#,
        )
        .unwrap();
        let facts = Facts {
            pod: &pod,
            pod_ip: Ipv4Addr::new(127, 64, 0, 1),
            host_ip: Ipv4Addr::LOCALHOST.into(),
            node_cpu_millis: 0,
            node_memory_bytes: 0,
            node_storage_bytes: 0,
        };
        let table = [
            ("metadata.name", Ok("p")),
            ("metadata.namespace", Ok("n")),
            ("metadata.uid", Ok("u")),
            ("metadata.labels", Ok("app=\"web\"\nb=\"2\"")),
            ("metadata.annotations", Ok("x.io/k=\"say \\\"hi\\\"\\n\\t\\x01\\u00a0ü\\u2028\"")),
            ("metadata.labels['app']", Ok("web")),
            ("metadata.labels['no']", Ok("")),
            ("metadata.annotations['x.io/k']", Ok("say \"hi\"\n\t\u{1}\u{a0}ü\u{2028}")),
            ("spec.nodeName", Ok("node")),
            ("spec.serviceAccountName", Ok("sa")),
            ("status.podIP", Ok("127.64.0.1")),
            ("status.podIPs", Ok("127.64.0.1")),
            ("status.hostIP", Ok("127.0.0.1")),
            ("status.hostIPs", Ok("127.0.0.1")),
            ("spec.restartPolicy", Err("unsupported fieldPath: spec.restartPolicy")),
            ("metadata.name['x']", Err("fieldPath \"metadata.name['x']\" does not support subscript")),
        ];
        for (path, want) in table {
            assert_eq!(pod_field(path, facts), want.map(str::to_owned).map_err(str::to_owned), "{path}");
        }
    }
}
