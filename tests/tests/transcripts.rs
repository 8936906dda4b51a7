//! Everything that the stock kubectl can do: each file of `tests/kubectl/` is a session at a terminal, and what a person
//! sees in it must be what is written there.
//!
//! `CORACLE_TRANSCRIPT=apply` plays one of them; with `CORACLE_TAKE=1` they are written anew from what is printed, which is
//! then to be read with care.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use coracle_tests::{Guests, Process, Terminal, Transcript, World};
use futures::{StreamExt, stream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
/// How many sessions go on at once.
const AT_ONCE: usize = 8;
/// What the node calls the guest that waits.
const NAME: &str = "waits";

#[tokio::test]
async fn kubectl_prints_what_is_written() -> anyhow::Result<()> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("skipped: there is no kubectl on this machine");
        return Ok(());
    }
    let mut world = World::process(PROGRAM).await?;
    let home = tempfile::tempdir()?;
    let image = world.guests.waits();
    let images = [("IMAGE", image.clone()), ("ENDS", world.guests.exits(0)), ("FAILS", world.guests.exits(3))];
    let process = world.running().context("a process")?;
    let kubeconfig = process.kubeconfig();
    load(process, &image)?;
    let sessions = stream::iter(transcripts()?)
        .map(|path| play(path, &kubeconfig, home.path(), &images))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let failed: Vec<String> = sessions.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    world.stop().await
}

/// Gives the node an image under a plain [`NAME`], for commands that take no other.
fn load(process: &Process, image: &str) -> anyhow::Result<()> {
    let mut load = Command::new(process.program());
    load.args(["image", "load", "--tag", NAME, "--data-dir"]).arg(process.data_dir()).arg(Guests::path(image));
    let loaded = load.output()?;
    ensure!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    Ok(())
}

fn transcripts() -> anyhow::Result<Vec<PathBuf>> {
    let wanted = std::env::var("CORACLE_TRANSCRIPT").ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubectl");
    let mut paths = Vec::new();
    for entry in folder.read_dir().context("tests/kubectl")? {
        let path = entry?.path();
        let is_wanted = wanted.as_deref().is_none_or(|wanted| path.file_stem().is_some_and(|stem| stem == wanted));
        if is_wanted && path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    ensure!(!paths.is_empty(), "no transcript is called {}", wanted.unwrap_or_default());
    Ok(paths)
}

/// Plays one session in a namespace of its own, which is called as the file is.
async fn play(path: PathBuf, kubeconfig: &Path, home: &Path, images: &[(&str, String)]) -> anyhow::Result<()> {
    let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("kubeconfig");
    std::fs::copy(kubeconfig, &own)?;
    let mut variables = vec![
        ("KUBECONFIG", own.display().to_string()),
        ("HOME", home.display().to_string()),
        ("NAME", NAME.to_owned()),
        ("LC_ALL", "C".to_owned()),
    ];
    variables.extend_from_slice(images);
    let terminal = Terminal { folder: folder.path(), variables };
    let prepare = format!(
        "$ kubectl create namespace {name}\nnamespace/{name} created\n\n\
         $ kubectl config set-context --current --namespace {name}\nContext \"<any> modified.\n"
    );
    Transcript::parse(&prepare)?.play(&terminal).await.with_context(|| name.clone())?;
    let transcript = Transcript::parse(&std::fs::read_to_string(&path)?)?;
    if std::env::var_os("CORACLE_TAKE").is_some() {
        std::fs::write(&path, transcript.taken_anew(&terminal).await?)?;
        return Ok(());
    }
    transcript.play(&terminal).await.with_context(|| format!("tests/kubectl/{name}.txt"))
}
