use coracle_api::*;
use serde_json::Value;
use coracle_api::codec::{Format, FieldValidation};

fn strip(v: &Value) -> Value { v.clone() }

fn diff(want: &Value, got: &Value, at: String, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(a), Value::Object(b)) => {
            for k in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                match (a.get(k), b.get(k)) {
                    (Some(x), Some(y)) => diff(x, y, format!("{at}.{k}"), out),
                    (Some(x), None) => out.push(format!("{at}.{k} missing, wanted {x}")),
                    (None, Some(y)) => out.push(format!("{at}.{k} extra {y}")),
                    _ => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() { out.push(format!("{at} len {} wanted {}", b.len(), a.len())); }
            for (i, (x, y)) in a.iter().zip(b).enumerate() { diff(x, y, format!("{at}[{i}]"), out); }
        }
        (a, b) if a != b => {
            let s = a.as_str().unwrap_or("");
            if !s.starts_with('<') { out.push(format!("{at}: {b}, wanted {a}")); }
        }
        _ => {}
    }
}

#[test]
fn golden() {
    let mut n = 0;
    let mut bad = 0;
    let mut files: Vec<_> = std::fs::read_dir("/work/shared/golden/cases").unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files {
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut state: std::collections::HashMap<String, (Value, &'static Kind)> = Default::default();
        for step in case["steps"].as_array().unwrap() {
            {
                let q = &step["request"]; let resp = &step["response"];
                let url = q["path"].as_str().unwrap().split('?').next().unwrap().to_owned();
                if q["method"] == "POST" && resp["status"] == 201 {
                    let parts: Vec<&str> = url.trim_matches('/').split('/').collect();
                    let (g, v, rest) = if parts[0] == "api" { ("", parts[1], &parts[2..]) } else { (parts[1], parts[2], &parts[3..]) };
                    if let Some(k) = kinds::find(g, v, rest.last().unwrap()) {
                        if let Some(n) = resp["body"]["metadata"]["name"].as_str() { state.insert(format!("{url}/{n}"), (resp["body"].clone(), k)); }
                    }
                }
                if q["method"] == "PATCH" {
                    if let Some((doc, k)) = state.get(&url).cloned() {
                        let ct = q["headers"]["Content-Type"].as_str().unwrap_or("");
                        let pb = if q["body"].is_string() { q["body"].as_str().unwrap().to_owned() } else { q["body"].to_string() };
                        let res: Result<Value, String> = if ct.contains("json-patch") { patch::json::parse(pb.as_bytes()).and_then(|p| patch::json::apply(doc, &p)).map_err(|e| ApiError::from(e).code().to_string()) }
                            else if ct.contains("strategic") { serde_json::from_str(&pb).map_err(|_| "400".to_string()).and_then(|p| patch::strategic::apply(doc, p, (k.model.schema)()).map_err(|e| ApiError::from(e).code().to_string())) }
                            else if ct.contains("merge-patch") { let mut d = doc; match serde_json::from_str(&pb) { Ok(p) => { patch::merge::apply(&mut d, p); Ok(d) } Err(_) => Err("400".into()) } } else { continue };
                        match res {
                            Err(c) => if c != resp["status"].to_string() { println!("PATCH {name} {c} wanted {}", resp["status"]); },
                            Ok(v) => {
                                let text = v.to_string().replace("\"<time>\"", "\"2026-01-01T00:00:00Z\"");
                                match codec::decode(k, text.as_bytes(), Format::Json, FieldValidation::Strict) {
                                    Err(e) => println!("PATCH {name} decode {e}"),
                                    Ok(d) => { let mut o = d.object; defaults::apply(&mut o);
                                        if resp["status"] == 200 { let mut got: Value = serde_json::from_slice(&o.encode()).unwrap(); let mut want = resp["body"].clone(); for v in [&mut want, &mut got] { v.as_object_mut().unwrap().remove("status"); } let mut out = vec![]; diff(&want, &got, String::new(), &mut out); out.retain(|d| !d.contains(".generation")); if !out.is_empty() { println!("PATCH {name}: {}", out.join("\n   ")); } if !q["path"].as_str().unwrap().contains("dryRun") { state.insert(url.clone(), (resp["body"].clone(), k)); } }
                                    }
                                }
                            }
                        }
                    }
                }
                if resp["body"]["kind"] == "Table" {
                    let parts: Vec<&str> = url.trim_matches('/').split('/').collect();
                    let (g, v, rest) = if parts[0] == "api" { ("", parts[1], &parts[2..]) } else { (parts[1], parts[2], &parts[3..]) };
                    let pl = match rest { ["namespaces", _, p, ..] => p, [p, ..] => p, _ => continue };
                    if let Some(k) = kinds::find(g, v, pl) {
                        let cols: Vec<Value> = table::columns(k).iter().map(|c| serde_json::json!([c.name, c.type_, c.format, c.priority])).collect();
                        if Value::Array(cols.clone()) != resp["body"]["columns"] { println!("TABLE {name} columns {cols:?}"); }
                        for row in resp["body"]["rows"].as_array().unwrap() {
                            for (_, (doc, k2)) in &state { if k2.plural == k.plural && (doc["metadata"]["name"] == row["cells"][0]) {
                                let text = doc.to_string().replace("\"<time>\"", "\"2026-01-01T00:00:00Z\"");
                                let Ok(o) = (k.model.decode)(text.as_bytes()) else { continue };
                                let cells = table::row(&o, "2026-01-01T00:00:05Z".parse().unwrap());
                                println!("TABLE {name} {}\n      got {}", row["cells"], Value::Array(cells));
                            } }
                        }
                    }
                }
            }
            let q = &step["request"];
            if q["method"] != "POST" { continue }
            let url = q["path"].as_str().unwrap().split('?').next().unwrap();
            let parts: Vec<&str> = url.trim_matches('/').split('/').collect();
            let (group, version, rest) = if parts[0] == "api" { ("", parts[1], &parts[2..]) } else if parts.len() > 3 { (parts[1], parts[2], &parts[3..]) } else { continue };
            let plural = match rest { ["namespaces", _, p] => p, ["namespaces", _, _, ..] => continue, [p] => p, _ => continue };
            let Some(kind) = kinds::find(group, version, plural) else { continue };
            let body = if q["body"].is_string() { q["body"].as_str().unwrap().to_owned() } else { q["body"].to_string() };
            let body = body.replace("{ns}", "ns");
            let fmt = if q["headers"]["Content-Type"].as_str().unwrap_or("").contains("yaml") { Format::Yaml } else { Format::Json };
            let fv = if q["path"].as_str().unwrap().contains("fieldValidation=Strict") { FieldValidation::Strict } else { FieldValidation::Warn };
            n += 1;
            let resp = &step["response"];
            let code = resp["status"].as_u64().unwrap();
            let mut out = vec![];
            match codec::decode(kind, body.as_bytes(), fmt, fv) {
                Err(e) => { if u64::from(e.code()) != code { out.push(format!("decode error {} {e}, wanted {code}", e.code())); } }
                Ok(d) => {
                    let mut o = d.object;
                    if kind.namespaced() { o.meta_mut().namespace = Some("ns".into()); }
                    if let (None, Some(g)) = (o.meta().name.clone(), o.meta().generate_name.clone()) { o.meta_mut().name = Some(names::generate(&g, 7)); }
                    defaults::apply(&mut o);
                    let e = validation::create(&o);
                    if code == 422 {
                        let mut got: Vec<(String, String)> = e.iter().map(|e| (e.field.clone(), e.reason.as_str().to_owned())).collect();
                        got.sort(); got.dedup();
                        let want: Vec<(String, String)> = resp["body"]["details"]["causes"].as_array().unwrap().iter().map(|c| (c[0].as_str().unwrap().to_owned(), c[1].as_str().unwrap().to_owned())).collect();
                        if got != want { out.push(format!("causes {got:?}, wanted {want:?}")); }
                    } else if !e.is_empty() && code < 300 { out.push(format!("refused {e}, wanted {code}")); }
                    else if code == 201 && resp["body"]["kind"] == q["body"]["kind"] {
                        let got: Value = serde_json::from_slice(&o.encode()).unwrap();
                        let mut want = resp["body"].clone();
                        let mut got = got;
                        for v in [&mut want, &mut got] { for k in ["metadata"] { v.as_object_mut().unwrap().remove(k); } if matches!(&*kind.plural, "deployments"|"replicasets"|"replicationcontrollers") { v.as_object_mut().unwrap().remove("status"); } }
                        diff(&strip(&want), &got, String::new(), &mut out);
                        if &*kind.plural == "pods" { out.retain(|d| ![".spec.tolerations", ".spec.priority", ".spec.preemptionPolicy", ".spec.serviceAccount", "volumeMounts", ".spec.volumes", ".status"].iter().any(|x| d.contains(x))); }
                        if &*kind.plural == "services" { out.retain(|d| ![".spec.clusterIP", ".spec.ipFamil", "nodePort"].iter().any(|x| d.contains(x))); }
                    }
                }
            }
            if !out.is_empty() { bad += 1; println!("{name} {plural}: {}", out.join("\n      ")); }
        }
    }
    println!("{n} steps, {bad} bad");
}
