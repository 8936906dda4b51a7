//! `coracle cp`: files and folders into and out of containers, through a `tar` that runs there. In containers of this
//! program's nodes the kubelet itself is that `tar`.

mod pack;
mod spec;
mod unpack;

use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, duplex, sink, stderr};
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use self::spec::{Spec, split};
use crate::failure::{Failure, Result};
use crate::remote::{Ask, Streams, Target, attachable, container, ended, run as ask};
use crate::server::{Access, Server};

/// Bytes of an archive on their way between the connection and the disk.
const AHEAD_BYTES: usize = 256 << 10;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What is copied: `file`, or `pod:file`, or `namespace/pod:file`
    from: String,

    /// Where it is put
    to: String,

    /// The container
    #[arg(long, short, value_name = "NAME")]
    container: Option<String>,

    /// Leave owners and permissions as they are in the container
    #[arg(long)]
    no_preserve: bool,

    /// How often a copy from a container that breaks off is begun again; less than 0: for ever
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    retries: i64,
}

/// A container at one end.
struct There {
    server: Server,
    target: Target,
    container: String,
    path: String,
}

/// Runs the verb.
///
/// # Errors
/// When there is nothing to be copied, or not all of it could be.
pub async fn run(options: Options, access: &Access) -> Result {
    let server = Server::connect(access).await?;
    let container = options.container.as_deref();
    match (Spec::parse(&options.from)?, Spec::parse(&options.to)?) {
        (Spec::Local(from), Spec::Remote { namespace, pod, path }) => {
            let from = PathBuf::from(from);
            if std::fs::metadata(&from).is_err() {
                return Err(Failure::new(format!("{} doesn't exist in local filesystem", from.display())));
            }
            There::find(&server, namespace, &pod, container, path).await?.put(&from, options.no_preserve).await
        }
        (Spec::Remote { namespace, pod, path }, Spec::Local(to)) => {
            let there = There::find(&server, namespace, &pod, container, path).await?;
            let mut tries = 0;
            loop {
                match there.get(Path::new(&to)).await {
                    Err(failure) if options.retries < 0 || tries < options.retries => {
                        tries += 1;
                        eprintln!("{}; retry {tries}/{}", failure.message(), options.retries);
                    }
                    result => return result,
                }
            }
        }
        (Spec::Remote { .. }, Spec::Remote { .. }) => {
            Err(Failure::new("one of src or dest must be a local file specification"))
        }
        (Spec::Local(_), Spec::Local(_)) => Err(Failure::new("one of src or dest must be a remote file specification")),
    }
}

impl There {
    async fn find(
        server: &Server,
        namespace: Option<String>,
        pod: &str,
        named: Option<&str>,
        path: String,
    ) -> Result<Self> {
        let server = namespace.map_or_else(|| server.clone(), |namespace| server.within(&namespace));
        let target = attachable(&server, pod, Duration::ZERO).await?;
        target.still_runs("exec into")?;
        let (found, said) = container(&target.pod, named)?;
        if let Some(said) = said {
            eprintln!("{said}");
        }
        let container = found["name"].as_str().unwrap_or_default().to_owned();
        Ok(Self { server, target, container, path })
    }

    /// Runs a command there; what is said of its end.
    async fn run<I, O, E>(&self, command: &[&str], streams: Streams<I, O, E>) -> Result<serde_json::Value>
    where
        I: AsyncRead + Unpin,
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let wanted = Ask { what: "exec", container: &self.container, command: &command, stderr: true, tty: false };
        ask(&self.server, &self.target, &wanted, streams).await
    }

    async fn is_folder(&self) -> Result<bool> {
        let nowhere = Streams { stdin: None::<tokio::io::Empty>, stdout: sink(), stderr: sink() };
        Ok(self.run(&["test", "-d", &self.path], nowhere).await?["status"] == "Success")
    }

    /// Puts what is here there: into the folder of that name, if there is one, or else under that name.
    async fn put(&self, from: &Path, no_preserve: bool) -> Result {
        let mut to = self.path.clone();
        if self.is_folder().await? {
            let own = from.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            to = format!("{to}/{own}");
        }
        let (from, (folder, name)) = (from.to_owned(), split(&to));
        let (near, far) = duplex(AHEAD_BYTES);
        let near = SyncIoBridge::new(near);
        let packing = spawn_blocking(move || {
            let mut to = BufWriter::with_capacity(AHEAD_BYTES, near);
            pack::pack(&from, &name, &mut to).and_then(|()| Ok(to.flush()?))
        });
        let mut command = vec!["tar"];
        if no_preserve {
            command.extend(["--no-same-permissions", "--no-same-owner"]);
        }
        command.extend(["-xmf", "-", "-C", &folder]);
        let streams = Streams { stdin: Some(far), stdout: tokio::io::stdout(), stderr: stderr() };
        let status = self.run(&command, streams).await?;
        let packed = packing.await?;
        ended(&status)?;
        Ok(packed?)
    }

    /// Puts what is there here, under that name.
    async fn get(&self, to: &Path) -> Result {
        let (near, far) = duplex(AHEAD_BYTES);
        let near = SyncIoBridge::new(near);
        let (from, to) = (self.path.clone(), to.to_owned());
        let unpacking = spawn_blocking(move || {
            unpack::unpack(&from, &to, BufReader::with_capacity(AHEAD_BYTES, near), |line| eprintln!("{line}"))
        });
        let streams = Streams { stdin: None::<tokio::io::Empty>, stdout: far, stderr: stderr() };
        let status = self.run(&["tar", "cf", "-", &self.path], streams).await;
        // What could not be written is why what was sent was not read.
        unpacking.await??;
        ended(&status?)
    }
}
