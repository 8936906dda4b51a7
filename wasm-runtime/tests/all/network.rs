//! Guests that talk: on their own address, to names that their resolver knows, and not to the host's own loopback.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use coracle_runtime::{Capture, Container, ContainerSpec, Egress, Exit, ResolveError, Resolver, Runtime};

use crate::guest::{built, captured, runtime};

/// Knows one name.
#[derive(Debug)]
struct Only(&'static str, IpAddr);

#[async_trait]
impl Resolver for Only {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if name == self.0 { Ok(vec![self.1]) } else { Err(ResolveError::NotFound) }
    }
}

/// A guest at `address` that knows the name `peer` for `127.64.251.1`.
async fn at(runtime: &Runtime, address: [u8; 4], args: &[&str]) -> (Container, Arc<Capture>, Arc<Capture>) {
    let (spec, stdout, stderr) = captured();
    let spec = ContainerSpec {
        args: ["probe"].iter().chain(args).map(ToString::to_string).collect(),
        address: Some(address.into()),
        resolver: Arc::new(Only("peer.test", [127, 64, 251, 1].into())),
        ..spec
    };
    let artifact = runtime.load(built("probe-p2")).await.unwrap();
    (runtime.start(&artifact, spec).unwrap(), stdout, stderr)
}

/// Runs a guest at `address` to its end: its exit and what it said.
async fn run_at(runtime: &Runtime, address: [u8; 4], args: &[&str]) -> (Exit, String) {
    let (container, stdout, stderr) = at(runtime, address, args).await;
    (container.wait().await, stdout.text() + &stderr.text())
}

/// The address that a guest says it listens at.
async fn listening(stdout: &Capture) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(address) = stdout.text().lines().find_map(|line| line.strip_prefix("at ")) {
            return address.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "the guest does not listen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn guests_meet_on_their_own_addresses() {
    let runtime = runtime();
    let (one, other) = ([127, 64, 251, 1], [127, 64, 251, 2]);
    for bound in ["0.0.0.0:0", "127.64.251.1:0", "127.0.0.1:0", "localhost:0"] {
        let (server, stdout, stderr) = at(&runtime, one, &["tcp-listen", bound]).await;
        let address = listening(&stdout).await;
        assert_eq!(address.ip(), IpAddr::from(one), "{bound}");
        let to = format!("peer.test:{}", address.port());
        let (exit, said) = run_at(&runtime, other, &["tcp-dial", &to, "hello"]).await;
        assert_eq!((exit, said.as_str()), (Exit::Code(0), "as 127.64.251.2\nhello\n"), "{bound}");
        assert_eq!(server.wait().await, Exit::Code(0), "{}", stderr.text());
        assert!(stdout.text().ends_with("from 127.64.251.2\n"), "{}", stdout.text());
    }
}

#[tokio::test]
async fn datagrams_too() {
    let runtime = runtime();
    let one = [127, 64, 251, 1];
    let (server, stdout, _) = at(&runtime, one, &["udp-listen", "localhost:0"]).await;
    let address = listening(&stdout).await;
    let to = format!("peer.test:{}", address.port());
    let (exit, said) = run_at(&runtime, [127, 64, 251, 2], &["udp-send", &to, "hello"]).await;
    assert_eq!((exit, said), (Exit::Code(0), format!("hello from {address}\n")));
    assert_eq!(server.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn the_loopback_is_the_guests_own_and_not_the_hosts() {
    let runtime = runtime();
    let one = [127, 64, 251, 3];
    for name in ["localhost", "127.0.0.1"] {
        let (server, stdout, _) = at(&runtime, one, &["tcp-listen", "0.0.0.0:0"]).await;
        let to = format!("{name}:{}", listening(&stdout).await.port());
        assert_eq!(run_at(&runtime, one, &["tcp-dial", &to, "x"]).await.0, Exit::Code(0), "{name}");
        assert_eq!(server.wait().await, Exit::Code(0));
        let of_the_host = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("{name}:{}", of_the_host.local_addr().unwrap().port());
        let (exit, said) = run_at(&runtime, one, &["tcp-dial", &to, "x"]).await;
        assert!(exit == Exit::Code(1) && said.contains("ConnectionRefused"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_guest_listens_on_no_address_but_its_own() {
    let (exit, said) = run_at(&runtime(), [127, 64, 251, 4], &["tcp-listen", "127.64.251.5:0"]).await;
    assert_eq!(exit, Exit::Code(1), "{said}");
    assert!(said.starts_with("PermissionDenied"), "{said}");
}

#[tokio::test]
async fn names_mean_what_the_resolver_says() {
    let runtime = runtime();
    for (name, exit, expected) in [
        ("peer.test", 0, "127.64.251.1\n"),
        ("localhost", 0, "127.64.251.6\n"),
        ("10.1.2.3", 0, "10.1.2.3\n"),
        ("nobody.test", 1, ""),
    ] {
        let (ended, said) = run_at(&runtime, [127, 64, 251, 6], &["resolve", name]).await;
        assert_eq!(ended, Exit::Code(exit), "{name}: {said}");
        assert!(exit == 1 || said == expected, "{name}: {said}");
    }
}

#[tokio::test]
async fn who_is_denied_all_egress_connects_nowhere() {
    let listener = TcpListener::bind("127.64.251.7:0").unwrap();
    let runtime = runtime();
    let artifact = runtime.load(built("probe-p2")).await.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    for (address, egress) in [(Some([127, 64, 251, 8].into()), Egress::Denied), (None, Egress::Allowed)] {
        let (spec, _, stderr) = captured();
        let args = ["probe", "tcp-dial", &to, "x"].map(str::to_owned).into();
        let spec = ContainerSpec { args, address, egress, ..spec };
        assert_eq!(runtime.start(&artifact, spec).unwrap().wait().await, Exit::Code(1));
        assert!(stderr.text().starts_with("PermissionDenied"), "{}", stderr.text());
    }
}
