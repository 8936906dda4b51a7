//! From a file to a pod through a registry: `coracle push` puts the module there, and a node runs it from there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use coracle_tests::World;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Debian's `docker-registry`; it ends with the test.
struct Registry {
    child: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// `None`, said, where there is none.
    fn start() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:0\n  secret: x\n",
            data.display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new("docker-registry");
        let Ok(mut child) = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        else {
            eprintln!("skipped: there is no docker-registry on this machine");
            return Ok(None);
        };
        let mut lines = BufReader::new(child.stderr.take().context("a stderr")?).lines().map_while(Result::ok);
        let listens = |line: String| {
            line.split("listening on ").nth(1).map(|rest| rest[..rest.find('"').unwrap_or(0)].to_owned())
        };
        let host = lines.by_ref().find_map(listens).context("it ended before it said where it listens")?;
        // Somebody has to read what it says further.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(Self { child, host, _folder: folder }))
    }
}

fn coracle(arguments: &[&str]) -> anyhow::Result<(bool, String, String)> {
    let nowhere = tempfile::tempdir()?;
    let output = Command::new(PROGRAM).args(arguments).env("DOCKER_CONFIG", nowhere.path()).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("UTF-8");
    Ok((output.status.success(), text(output.stdout)?, text(output.stderr)?))
}

#[tokio::test]
async fn what_is_pushed_runs() -> anyhow::Result<()> {
    let Some(registry) = Registry::start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("exits.wasm");
    std::fs::write(
        &file,
        wat::parse_str(
            r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $e (i32.const 3))))"#,
        )?,
    )?;
    let file = file.to_str().context("a path in UTF-8")?;
    let name = format!("{}/team/exits:v1", registry.host);
    let (is_pushed, said, complaint) = coracle(&["push", file, &name])?;
    ensure!(is_pushed, "{complaint}");
    let digest = said.strip_prefix(&format!("{name} pushed (")).and_then(|rest| rest.trim_end().strip_suffix(')'));
    let digest = digest.with_context(|| said.clone())?;
    ensure!(digest.starts_with("sha256:"), "{digest}");

    let (is_pushed, _, complaint) = coracle(&["push", file, "exits"])?;
    ensure!(!is_pushed && complaint.contains("names no tag of a registry\nhint: such as"), "{complaint}");

    let world = World::in_process().await?;
    world.pod("exits", &name, json!({"restartPolicy": "Never"})).await?;
    let ended = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3;
    let pod = world.pod_until("exits", "ended with 3", ended).await?;
    let id = format!("{}/team/exits@{digest}", registry.host);
    ensure!(pod["status"]["containerStatuses"][0]["imageID"] == id.as_str(), "{pod:#}");
    world.stop().await
}
