//! What a guest sees of the host's files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use coracle_runtime::{Artifact, ContainerSpec, Exit, Mount, Runtime};

use crate::guest::{built, captured, load, runtime};

fn mount(host: &Path, guest: &str) -> Mount {
    Mount { host: host.into(), guest: guest.into(), read_only: false }
}

/// The probe in both previews, compiled once.
struct Probes(Runtime, [Arc<Artifact>; 2]);

impl Probes {
    async fn load() -> Self {
        let runtime = runtime();
        let artifacts = [load(&runtime, built("probe-p1")).await, load(&runtime, built("probe-p2")).await];
        Self(runtime, artifacts)
    }

    /// What each says, with its exit.
    async fn run(&self, mounts: &[Mount], cwd: Option<&str>, args: &[&str]) -> Vec<(Exit, String)> {
        let mut said = Vec::new();
        for artifact in &self.1 {
            let (spec, stdout, stderr) = captured();
            let spec = ContainerSpec {
                args: ["probe"].iter().chain(args).map(ToString::to_string).collect(),
                mounts: mounts.to_vec(),
                cwd: cwd.map(str::to_owned),
                ..spec
            };
            let exit = self.0.start(artifact, spec).unwrap().wait().await;
            said.push((exit, stdout.text() + &stderr.text()));
        }
        said
    }

    async fn read(&self, mounts: &[Mount], cwd: Option<&str>, path: &str, text: &str) {
        for said in self.run(mounts, cwd, &["cat", path]).await {
            assert_eq!(said, (Exit::Code(0), text.to_owned()), "{path}");
        }
    }
}

#[tokio::test]
async fn a_mount_within_another_hides_what_is_there() {
    let probes = Probes::load().await;
    let dir = tempfile::tempdir().unwrap();
    let [etc, app, one] = ["etc", "app", "one"].map(|name| dir.path().join(name));
    fs::create_dir_all(etc.join("app")).unwrap();
    fs::create_dir_all(app.join("deep")).unwrap();
    fs::create_dir(&one).unwrap();
    for (file, text) in [
        (etc.join("hosts"), "hosts"),
        (etc.join("app/x"), "hidden"),
        (app.join("x"), "seen"),
        (app.join("deep/y"), "deep"),
        (one.join("config.yaml"), "a single file"),
    ] {
        fs::write(file, text).unwrap();
    }
    let mut mounts = [mount(&etc, "/etc"), mount(&app, "/etc/app"), mount(&one, "/etc/app/deep/single")];
    for _ in 0..2 {
        probes.read(&mounts, None, "/etc/hosts", "hosts").await;
        probes.read(&mounts, None, "/etc/app/x", "seen").await;
        probes.read(&mounts, None, "/etc/app/deep/y", "deep").await;
        probes.read(&mounts, None, "/etc/app/deep/single/config.yaml", "a single file").await;
        mounts.reverse();
    }
}

#[tokio::test]
async fn relative_paths_begin_in_the_working_directory() {
    let probes = Probes::load().await;
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("x"), "here").unwrap();
    symlink("/", dir.path().join("out")).unwrap();
    let mounts = [mount(dir.path(), "/data")];
    probes.read(&mounts, Some("/data/work"), "x", "here").await;
    probes.read(&mounts, Some("/data/work"), "./x", "here").await;
    probes.read(&mounts, Some("/data/work"), "/data/work/x", "here").await;
    for cwd in [None, Some("/data/out"), Some("/data/../.."), Some("/elsewhere")] {
        for (exit, said) in probes.run(&mounts, cwd, &["cat", "etc/hostname"]).await {
            assert_eq!(exit, Exit::Code(1), "{cwd:?}: {said}");
        }
    }
}

#[tokio::test]
async fn neither_links_nor_dots_lead_out_of_a_mount() {
    let probes = Probes::load().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir_all(inside.join("a")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    symlink("../secret", inside.join("relative")).unwrap();
    symlink(dir.path().join("secret"), inside.join("absolute")).unwrap();
    symlink("..", inside.join("a/up")).unwrap();
    symlink("root/etc", inside.join("twice")).unwrap();
    let mounts = [mount(&inside, "/data")];
    for path in [
        "/data/../secret",
        "/data/a/../../secret",
        "/data/a/up/../secret",
        "/data/root/etc/passwd",
        "/data/relative",
        "/data/absolute",
        "/data/twice/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        "../secret",
    ] {
        for args in [&["cat", path][..], &["write", path, "x"], &["ls", path]] {
            for (exit, said) in probes.run(&mounts, None, args).await {
                assert_eq!(exit, Exit::Code(1), "{args:?}: {said}");
            }
        }
    }
    assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "secret");
}

#[tokio::test]
async fn what_leaks_descriptors_is_stopped_by_its_own_bound() {
    let probes = Probes::load().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x"), "x").unwrap();
    for (exit, said) in probes.run(&[mount(dir.path(), "/data")], None, &["leak", "/data/x"]).await {
        assert!(!exit.is_success(), "{said}");
    }
}
