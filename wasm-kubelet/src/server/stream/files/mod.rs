//! The few commands that the kubelet itself answers, over a container's mounts, so that `kubectl cp` works where no module
//! holds a `tar`: `tar c`, `tar x` and `test -d`.
//!
//! Nothing leads out of a mount: paths are resolved by the kernel with the mount as their root, and what is written goes
//! to a name in a folder that was found so, never through a link. [`archive`] is the format, pure and bounded.

pub mod archive;
mod pack;
mod place;
mod unpack;

use std::io::{self, Read, Write};
use std::thread;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::io::SyncIoBridge;

use super::outbox::Outlet;
use crate::limits::{STREAM_CHUNK_BYTES, TARS_MAX};
use crate::runtime::{Input, Mount};

/// A command that is answered here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Pack { paths: Vec<String> },
    Unpack { folder: String },
    IsFolder { path: String },
}

impl Command {
    /// Reads a command line, if it is one of these; the error is what to say about one that is, and makes no sense here.
    pub fn parse(args: &[String]) -> Option<Result<Self, String>> {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["test", "-d", path] => Some(Ok(Self::IsFolder { path: (*path).to_owned() })),
            ["tar" | "/bin/tar" | "/usr/bin/tar", rest @ ..] => Some(tar(rest)),
            _ => None,
        }
    }
}

fn tar(words: &[&str]) -> Result<Command, String> {
    let (mut packs, mut unpacks, mut folder, mut paths) = (false, false, "/".to_owned(), Vec::new());
    let mut words = words.iter();
    let mut is_first = true;
    while let Some(word) = words.next() {
        let letters = match word.strip_prefix('-') {
            Some("no-same-permissions" | "-no-same-permissions" | "-no-same-owner" | "-") => continue,
            Some(letters) if !letters.is_empty() => letters,
            None if is_first => word,
            _ => {
                paths.push((*word).to_owned());
                is_first = false;
                continue;
            }
        };
        is_first = false;
        for letter in letters.chars() {
            match letter {
                'c' => packs = true,
                'x' => unpacks = true,
                'm' | 'p' | 'o' | 'h' => {}
                'f' if words.next() == Some(&"-") => {}
                'C' => folder = words.next().ok_or("tar: option requires an argument -- 'C'")?.to_string(),
                'f' => return Err("tar: only standard input and output can be archives here".to_owned()),
                _ => return Err(format!("tar: option '{letter}' is not known here")),
            }
        }
    }
    match (packs, unpacks) {
        (true, false) if paths.is_empty() => Err("tar: Cowardly refusing to create an empty archive".to_owned()),
        (true, false) => Ok(Command::Pack { paths: paths.iter().map(|path| place::join(&folder, path)).collect() }),
        (false, true) => Ok(Command::Unpack { folder }),
        _ => Err("tar: You must specify one of the '-cx' options".to_owned()),
    }
}

/// Answers a command; its exit code.
///
/// # Cancel safety
/// Dropped, what was begun ends as soon as it reads or writes.
pub async fn run(
    command: Command,
    mounts: Vec<Mount>,
    stdin: Option<Input>,
    stdout: Option<Outlet>,
    stderr: Option<Outlet>,
) -> i32 {
    let handle = Handle::current();
    let mut complaints = Pipe { to: stderr, handle: handle.clone() };
    let Ok(place) = ROOM.try_acquire() else {
        let Some(stderr) = &complaints.to else { return 2 };
        stderr.send(Bytes::from_static(b"tar: too much is copied on this node at once\n")).await;
        return 2;
    };
    let (tell, told) = oneshot::channel();
    // A thread of its own: it waits for the client for as long as that takes, and others wait for the runtime's.
    let worked = move || {
        let _place = place;
        let result = match command {
            Command::IsFolder { path } => {
                let _ = tell.send(if place::is_folder(&mounts, &path) { 0 } else { 1 });
                return;
            }
            Command::Pack { paths } => {
                let out = io::BufWriter::with_capacity(STREAM_CHUNK_BYTES, Pipe { to: stdout, handle });
                pack::pack(&mounts, &paths, out, &mut complaints)
            }
            Command::Unpack { folder } => {
                let stdin: Box<dyn Read> = match stdin {
                    Some(stdin) => Box::new(SyncIoBridge::new_with_handle(stdin, handle)),
                    None => Box::new(io::empty()),
                };
                unpack::unpack(&mounts, &folder, stdin, &mut complaints)
            }
        };
        let last = match result {
            Ok(0) => String::new(),
            Ok(_) => "tar: Exiting with failure status due to previous errors\n".to_owned(),
            Err(error) => format!("tar: {error}\n"),
        };
        // Nobody hears it when this fails.
        let _ = complaints.write_all(last.as_bytes());
        let _ = tell.send(if last.is_empty() { 0 } else { 2 });
    };
    match thread::Builder::new().name("tar".to_owned()).spawn(worked) {
        Ok(_) => told.await.unwrap_or(2),
        Err(_) => 2,
    }
}

/// Who may copy now.
static ROOM: Semaphore = Semaphore::const_new(TARS_MAX);

/// An outlet for code that blocks.
struct Pipe {
    to: Option<Outlet>,
    handle: Handle,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(to) = &self.to else { return Ok(bytes.len()) };
        if to.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.handle.block_on(to.send(Bytes::copy_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn kubectls_lines_are_understood() {
        let parse = |line: &str| Command::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let pack = |path: &str| Some(Ok(Command::Pack { paths: vec![path.to_owned()] }));
        let unpack = |folder: &str| Some(Ok(Command::Unpack { folder: folder.to_owned() }));
        assert_eq!(parse("tar cf - /data/a"), pack("/data/a"));
        assert_eq!(parse("tar -cf - -C /data a"), pack("/data/a"));
        assert_eq!(parse("tar -xmf - -C /data"), unpack("/data"));
        assert_eq!(parse("tar --no-same-permissions --no-same-owner -xmf - -C /data"), unpack("/data"));
        assert_eq!(parse("tar xf -"), unpack("/"));
        assert_eq!(parse("test -d /x"), Some(Ok(Command::IsFolder { path: "/x".into() })));
        for wrong in ["tar cf -", "tar czf - /a", "tar cf a.tar /a", "tar -C", "tar cxf - a", "tar"] {
            assert!(matches!(parse(wrong), Some(Err(_))), "{wrong}");
        }
        for other in ["ls", "test -f /x", "test -d", "mytar cf - /a"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    fn mount(host: &std::path::Path, guest: &str, read_only: bool) -> Mount {
        Mount { host: host.to_owned(), guest: guest.to_owned(), read_only, hold: None }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(90));
        fs::create_dir_all(from.path().join("sub").join("d".repeat(90))).unwrap();
        fs::create_dir(from.path().join("sub/empty")).unwrap();
        for (name, bytes) in [("a", &b"hello"[..]), ("none", b""), (&long, &[7; 1000]), ("block", &[1; 512])] {
            fs::write(from.path().join("sub").join(name), bytes).unwrap();
        }
        symlink("a", from.path().join("sub/link")).unwrap();
        symlink("/etc/passwd", from.path().join("sub/out")).unwrap();
        let (mut archive, mut said) = (Vec::new(), Vec::new());
        let mounts = [mount(from.path(), "/data", false)];
        assert_eq!(pack::pack(&mounts, &["/data/sub".into()], &mut archive, &mut said).unwrap(), 0);
        assert_eq!(archive.len() % 512, 0);
        let mounts = [mount(to.path(), "/data", false)];
        assert_eq!(unpack::unpack(&mounts, "/", &archive[..], &mut said).unwrap(), 1, "one link leads out");
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("data/sub/out"), "{said}");
        let read = |name: &str| fs::read(to.path().join("sub").join(name)).unwrap();
        assert_eq!(
            (read("a"), read("none"), read(&long), read("block")),
            (b"hello".to_vec(), vec![], vec![7; 1000], vec![1; 512])
        );
        assert_eq!(read("link"), b"hello");
        assert!(to.path().join("sub/empty").is_dir() && !to.path().join("sub/out").exists());
        let (mut archive, mut said) = (Vec::new(), Vec::new());
        assert_eq!(pack::pack(&mounts, &["/".into(), "/nowhere".into()], &mut archive, &mut said).unwrap(), 1);
        assert!(archive.len() > 5 * 512, "what is above a mount holds it");
        assert_eq!(said, b"tar: /nowhere: Cannot stat: No such file or directory\n");
    }

    #[test]
    fn nothing_leads_out_of_a_mount() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), inside.path().join("out")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        symlink("../../../../../..", inside.path().join("up")).unwrap();
        let mounts = [mount(inside.path(), "/data", false), mount(outside.path(), "/fixed", true)];
        let host = outside.path().to_str().unwrap();
        for path in ["/data/out/secret", "/data/../secret", &format!("/data/up{host}/secret")] {
            let (mut archive, mut said) = (Vec::new(), Vec::new());
            let failures = pack::pack(&mounts, &[path.to_owned()], &mut archive, &mut said).unwrap();
            assert_eq!(failures, 1, "{path}: {}", String::from_utf8_lossy(&archive));
        }
        assert!(!place::is_folder(&mounts, "/data/out") && place::is_folder(&mounts, "/fixed"));
        let names =
            ["data/out/new", "data/file", "data/../../new", "../new", "/fixed/new", "elsewhere/new", "data/up/tmp/new"];
        for name in names {
            let mut archive = Vec::new();
            let head = archive::Member { name: name.to_owned(), size: 3, mode: 0o644, kind: archive::Kind::File };
            head.write(&mut archive).unwrap();
            archive.extend_from_slice(b"new");
            archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
            let _ = unpack::unpack(&mounts, "/", &archive[..], &mut Vec::new()).unwrap();
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read(inside.path().join("file")).unwrap(), b"new", "the link is replaced, not followed");
    }
}
