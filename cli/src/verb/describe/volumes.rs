//! The volumes of a pod, or of the template of one. Source: kubectl, `describeVolumes`.

use serde_json::Value;

use crate::verb::describe::page::{Page, inline, scalar};

/// The list at a depth; `<none>` without any.
pub fn volumes(depth: usize, volumes: &Value, page: &mut Page) {
    let Some(volumes) = volumes.as_array().filter(|it| !it.is_empty()) else {
        return page.field(depth, "Volumes", "<none>");
    };
    page.line(depth, "Volumes:");
    for volume in volumes {
        page.line(depth + 1, format_args!("{}:", scalar(&volume["name"])));
        let sources = volume.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
        sources.for_each(|(kind, source)| describe(depth + 2, kind, source, page));
    }
}

fn describe(depth: usize, kind: &str, source: &Value, page: &mut Page) {
    let mut say = |name: &str, value: String| page.field(depth, name, value);
    match kind {
        "configMap" => {
            say("Type", "ConfigMap (a volume populated by a ConfigMap)".to_owned());
            say("Name", scalar(&source["name"]));
            say("Optional", flag(&source["optional"]));
        }
        "secret" => {
            say("Type", "Secret (a volume populated by a Secret)".to_owned());
            say("SecretName", scalar(&source["secretName"]));
            say("Optional", flag(&source["optional"]));
        }
        "emptyDir" => {
            say("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".to_owned());
            say("Medium", scalar(&source["medium"]));
            say("SizeLimit", source["sizeLimit"].as_str().unwrap_or("<unset>").to_owned());
        }
        "hostPath" => {
            say("Type", "HostPath (bare host directory volume)".to_owned());
            say("Path", scalar(&source["path"]));
            say("HostPathType", scalar(&source["type"]));
        }
        "downwardAPI" => {
            say("Type", "DownwardAPI (a volume populated by information about the pod)".to_owned());
            page.line(depth, "Items:");
            for item in source["items"].as_array().into_iter().flatten() {
                page.line(depth + 1, format_args!("{} -> {}", origin(item), scalar(&item["path"])));
            }
        }
        "projected" => {
            say("Type", "Projected (a volume that contains injected data from multiple sources)".to_owned());
            source["sources"].as_array().into_iter().flatten().for_each(|source| projected(depth, source, page));
        }
        kind => {
            say("Type", kind.to_owned());
            for (field, value) in source.as_object().into_iter().flatten() {
                say(field, if value.is_object() { inline(value) } else { scalar(value) });
            }
        }
    }
}

/// One of the sources that a projected volume is put together from.
fn projected(depth: usize, source: &Value, page: &mut Page) {
    for (kind, source) in source.as_object().into_iter().flatten() {
        match kind.as_str() {
            "secret" => {
                page.field(depth, "SecretName", scalar(&source["name"]));
                page.field(depth, "SecretOptionalName", flag_or_nil(&source["optional"]));
            }
            "configMap" => {
                page.field(depth, "ConfigMapName", scalar(&source["name"]));
                page.field(depth, "ConfigMapOptional", flag_or_nil(&source["optional"]));
            }
            "serviceAccountToken" => {
                page.field(depth, "TokenExpirationSeconds", scalar(&source["expirationSeconds"]));
            }
            "downwardAPI" => page.field(depth, "DownwardAPI", true),
            kind => page.field(depth, kind, inline(source)),
        }
    }
}

fn origin(item: &Value) -> String {
    match item["fieldRef"]["fieldPath"].as_str() {
        Some(path) => path.to_owned(),
        None => scalar(&item["resourceFieldRef"]["resource"]),
    }
}

fn flag(value: &Value) -> String {
    (*value == true).to_string()
}

fn flag_or_nil(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { scalar(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_are_told_in_words() {
        // A projected volume, which every pod has, was shown as one line of JSON.
        let list = json!([
            {"name": "data", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "app", "defaultMode": 420}},
            {"name": "token", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": []}},
                {"downwardAPI": {"items": []}},
            ]}},
        ]);
        let mut page = Page::default();
        volumes(0, &list, &mut page);
        let expected = "\
Volumes:
  data:
    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:
    SizeLimit:  <unset>
  settings:
    Type:      ConfigMap (a volume populated by a ConfigMap)
    Name:      app
    Optional:  false
  token:
    Type:                    Projected (a volume that contains injected data from multiple sources)
    TokenExpirationSeconds:  3607
    ConfigMapName:           kube-root-ca.crt
    ConfigMapOptional:       <nil>
    DownwardAPI:             true
";
        let trimmed: String = page.finish().lines().map(|line| format!("{}\n", line.trim_end())).collect();
        assert_eq!(trimmed, expected);
    }
}
