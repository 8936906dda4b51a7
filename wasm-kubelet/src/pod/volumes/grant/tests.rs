//! Links and names that would lead out of a volume, and what is granted instead.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;
use crate::pod::volumes::PodDirs;
use crate::pod::volumes::atomic;
use crate::pod::volumes::files::{File, Files};
use coracle_api::Object;
use jiff::Timestamp;

/// A pod with a volume of each kind, whose folders are there.
struct Bench {
    root: tempfile::TempDir,
    dir: PodDir,
    claims: BTreeMap<String, Claim>,
    granted: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = root.path().join("host");
        fs::create_dir_all(host.join("data")).unwrap();
        fs::write(host.join("data/file"), "of the host").unwrap();
        let claim = |read_only| Claim { path: host.join("data"), type_: "Directory".into(), read_only };
        let claims = BTreeMap::from([("claim".to_owned(), claim(false)), ("ro-claim".to_owned(), claim(true))]);
        let bench = Self { dir: PodDirs::new(root.path()).of("u1"), claims, granted: vec![host], root };
        bench.write(&[("nginx.conf", "one"), ("d/deep", "two")]);
        make_dir(&bench.volume("empty")).unwrap();
        bench
    }

    fn write(&self, files: &[(&str, &str)]) {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), mode: 0o644 };
        let files: Files = files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect();
        atomic::write(&self.volume("map"), &files, Timestamp::UNIX_EPOCH).unwrap();
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.dir.volume(&core::Volume { name: name.into(), ..core::Volume::default() })
    }

    fn grants(&self, container: &str) -> Result<Vec<Mount>, String> {
        self.instance(container, 0)
    }

    fn instance(&self, container: &str, instance: u32) -> Result<Vec<Mount>, String> {
        let host = self.granted[0].display();
        let pod = format!(
            r#"{{"metadata":{{"name":"p"}},"spec":{{"containers":[{{"name":"c",{container}}}],"volumes":[
            {{"name":"empty","emptyDir":{{}}}},{{"name":"map","configMap":{{"name":"m"}}}},
            {{"name":"host","hostPath":{{"path":"{host}/data"}}}},
            {{"name":"file","hostPath":{{"path":"{host}/data/file","type":"File"}}}},
            {{"name":"claim","persistentVolumeClaim":{{"claimName":"c"}}}},
            {{"name":"ro-claim","persistentVolumeClaim":{{"claimName":"c","readOnly":true}}}}]}}}}"#
        );
        let pod = core::Pod::decode(pod.as_bytes()).unwrap();
        let env = [("POD".to_owned(), "web-0".to_owned())];
        let (dir, claims, granted) = (&self.dir, &self.claims, &self.granted[..]);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        Grantor { dir, pod: &pod, claims, granted, container, instance, env: &env }.grants()
    }

    fn mounted(&self, mounts: &str) -> Result<Vec<Mount>, String> {
        self.grants(&format!(r#""volumeMounts":[{mounts}]"#))
    }
}

/// `guest ro|rw: what a guest finds there`, a line each.
fn shown(mounts: &[Mount]) -> Vec<String> {
    let line = |mount: &Mount| {
        let mut names: Vec<String> =
            fs::read_dir(&mount.host).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with(".."));
        names.sort();
        format!("{} {}: {}", mount.guest, if mount.read_only { "ro" } else { "rw" }, names.join(" "))
    };
    mounts.iter().map(line).collect()
}

fn text(mount: &Mount, name: &str) -> String {
    fs::read_to_string(mount.host.join(name)).unwrap()
}

#[test]
fn each_kind_of_volume_is_granted_as_it_may_be_used() {
    let bench = Bench::new();
    let table = [
        (r#"{"name":"empty","mountPath":"/e"}"#, "/e rw: "),
        (r#"{"name":"empty","mountPath":"/e/","readOnly":true,"recursiveReadOnly":"Enabled"}"#, "/e ro: "),
        (r#"{"name":"empty","mountPath":"e","mountPropagation":"Bidirectional"}"#, "/e rw: "),
        (r#"{"name":"map","mountPath":"/m"}"#, "/m ro: d nginx.conf"),
        (r#"{"name":"map","mountPath":"/m","readOnly":false}"#, "/m ro: d nginx.conf"),
        (r#"{"name":"host","mountPath":"/h"}"#, "/h rw: file"),
        (r#"{"name":"host","mountPath":"/h","readOnly":true}"#, "/h ro: file"),
        (r#"{"name":"claim","mountPath":"/c"}"#, "/c rw: file"),
        (r#"{"name":"ro-claim","mountPath":"/c"}"#, "/c ro: file"),
        (r#"{"name":"empty","mountPath":"/e","subPath":"new/folder"}"#, "/e rw: "),
        (r#"{"name":"empty","mountPath":"/e","subPathExpr":"logs/$(POD)"}"#, "/e rw: "),
        (r#"{"name":"claim","mountPath":"/c","subPath":"./"}"#, "/c rw: file"),
        (r#"{"name":"map","mountPath":"/m","subPath":"d"}"#, "/m ro: deep"),
        (r#"{"name":"map","mountPath":"/etc/nginx/nginx.conf","subPath":"nginx.conf"}"#, "/etc/nginx ro: nginx.conf"),
        (r#"{"name":"map","mountPath":"/top.conf","subPath":"nginx.conf"}"#, "/ ro: top.conf"),
        (r#"{"name":"file","mountPath":"/etc/one"}"#, "/etc rw: one"),
        (r#"{"name":"file","mountPath":"/etc/one","readOnly":true}"#, "/etc ro: one"),
        (r#"{"name":"claim","mountPath":"/x/y","subPath":"file"}"#, "/x rw: y"),
    ];
    for (at, (mount, want)) in table.into_iter().enumerate() {
        let mounts = bench.instance(&format!(r#""volumeMounts":[{mount}]"#), u32::try_from(at).unwrap()).unwrap();
        assert_eq!(shown(&mounts), [want], "{mount}");
    }
    assert!(bench.volume("empty").join("logs/web-0").is_dir() && bench.volume("empty").join("new/folder").is_dir());
}

#[test]
fn files_below_one_folder_share_it() {
    let bench = Bench::new();
    let mounts = bench.mounted(
        r#"{"name":"map","mountPath":"/etc/app/a.conf","subPath":"nginx.conf"},
        {"name":"empty","mountPath":"/data"},{"name":"map","mountPath":"/etc/app/b.conf","subPath":"d/deep"},
        {"name":"file","mountPath":"/etc/app/c.conf"},{"name":"map","mountPath":"/etc/other","subPath":"nginx.conf"}"#,
    );
    let mounts = mounts.unwrap();
    assert_eq!(shown(&mounts), ["/data rw: ", "/etc ro: other", "/etc/app rw: a.conf b.conf c.conf"]);
    assert_eq!((text(&mounts[2], "a.conf"), text(&mounts[2], "b.conf")), ("one".into(), "two".into()));
    fs::write(mounts[2].host.join("c.conf"), "written").unwrap();
    assert_eq!(fs::read_to_string(bench.granted[0].join("data/file")).unwrap(), "written", "it is the host's file");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(mounts[2].host.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("a.conf"), 0o400, "a copy that cannot be written");
}

#[test]
fn a_file_in_a_folder_that_is_mounted_too() {
    let bench = Bench::new();
    let file = r#"{"name":"file","mountPath":"/m/extra","readOnly":true}"#;
    let mounts = bench.mounted(&format!(r#"{file},{{"name":"map","mountPath":"/m"}}"#)).unwrap();
    assert_eq!(shown(&mounts), ["/m ro: d extra nginx.conf"]);
    assert_eq!((text(&mounts[0], "extra"), text(&mounts[0], "d/deep")), ("of the host".into(), "two".into()));
    let refused = bench.mounted(&format!(r#"{file},{{"name":"empty","mountPath":"/m"}}"#)).unwrap_err();
    assert!(refused.contains("cannot mount /m/extra: WASI grants whole folders"), "{refused}");
    assert_eq!(fs::read_dir(bench.volume("empty")).unwrap().count(), 0, "nothing is put into the pod's data");
}

#[test]
fn an_instance_keeps_its_copies_and_the_next_has_new_ones() {
    let bench = Bench::new();
    let mount = r#""volumeMounts":[{"name":"map","mountPath":"/a/f","subPath":"nginx.conf"},
        {"name":"map","mountPath":"/d","subPath":"d"}]"#;
    let first = bench.instance(mount, 0).unwrap();
    bench.write(&[("nginx.conf", "three"), ("d/deep", "four")]);
    assert_eq!((text(&first[1], "f"), text(&first[0], "deep")), ("one".into(), "two".into()));
    let again = bench.instance(mount, 0).unwrap();
    assert_eq!(text(&again[1], "f"), "one", "a second program of the instance sees what the first sees");
    let next = bench.instance(mount, 1).unwrap();
    assert_eq!((text(&next[1], "f"), text(&next[0], "deep")), ("three".into(), "four".into()));
    assert!(!bench.dir.instance("c", 0).exists());
}

#[test]
fn nothing_leads_out_of_a_volume() {
    let bench = Bench::new();
    fs::write(bench.root.path().join("secret"), "s").unwrap();
    let empty = bench.volume("empty");
    symlink("/etc", empty.join("absolute")).unwrap();
    symlink("../../../../secret", empty.join("up")).unwrap();
    symlink("..", empty.join("parent")).unwrap();
    symlink("/proc/self/root", empty.join("magic")).unwrap();
    let failed = "for volumeMount \"empty\" of container \"c\"";
    let table = [
        (r#""subPath":"absolute""#, failed),
        (r#""subPath":"absolute/passwd""#, failed),
        (r#""subPath":"up""#, failed),
        (r#""subPath":"parent""#, failed),
        (r#""subPath":"parent/map""#, failed),
        (r#""subPath":"magic/etc""#, failed),
        (r#""subPath":"parent/new""#, failed),
        (r#""subPath":"..""#, "unable to provision SubPath `..`: must not contain '..'"),
        (r#""subPath":"a/../../x""#, "must not contain '..'"),
        (r#""subPath":"/etc""#, "error SubPath `/etc` must not be an absolute path"),
        (r#""subPathExpr":"$(POD)/../..""#, "must not contain '..'"),
        (r#""subPathExpr":"$(GONE)""#, "missing value for GONE"),
    ];
    for (sub, want) in table {
        let refused = bench.mounted(&format!(r#"{{"name":"empty","mountPath":"/e",{sub}}}"#)).unwrap_err();
        assert!(refused.contains(want), "{sub}: {refused}");
        assert!(
            !refused.contains(&*bench.root.path().to_string_lossy()),
            "the host is not the pod's to know: {refused}"
        );
    }
    let refused = bench.mounted(r#"{"name":"none","mountPath":"/e"}"#).unwrap_err();
    assert_eq!(refused, "cannot find volume \"none\" to mount into container \"c\"");
}

#[test]
fn a_working_directory_is_there() {
    let bench = Bench::new();
    let table = [
        (r#""workingDir":"/app""#, vec!["/app rw: "]),
        (r#""workingDir":"/""#, vec![]),
        (r#""workingDir":"""#, vec![]),
        (r#""workingDir":"/app","securityContext":{"readOnlyRootFilesystem":true}"#, vec!["/app ro: "]),
        (
            r#""workingDir":"/data/deep/er","volumeMounts":[{"name":"empty","mountPath":"/data"}]"#,
            vec!["/data rw: deep"],
        ),
        (r#""workingDir":"/m/d","volumeMounts":[{"name":"map","mountPath":"/m"}]"#, vec!["/m ro: d nginx.conf"]),
        (
            r#""workingDir":"/datum","volumeMounts":[{"name":"empty","mountPath":"/data"}]"#,
            vec!["/data rw: deep", "/datum rw: "],
        ),
    ];
    for (at, (container, want)) in table.into_iter().enumerate() {
        let mounts = bench.instance(container, u32::try_from(at).unwrap()).unwrap();
        assert_eq!(shown(&mounts), want, "{container}");
    }
    assert!(bench.volume("empty").join("deep/er").is_dir());
    let refused = bench.grants(r#""workingDir":"/m/none","volumeMounts":[{"name":"map","mountPath":"/m"}]"#);
    assert!(refused.unwrap_err().contains("cannot use workingDir /m/none"));
}
