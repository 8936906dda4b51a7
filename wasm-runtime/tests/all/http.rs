//! Guests that serve HTTP, and what clients and failures do to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_runtime::{Capture, Container, ContainerSpec, ExecSpec, Exit, HttpServe, Runtime, StartError, Stdin, Stop};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::guest::{built, captured, runtime, spawn, start};
use crate::samples;

/// A `wasi:http` guest whose handler is `code`, with one page of memory.
fn handler(code: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $outparam))
            (core module $m
                (memory (export "memory") 1)
                (func $handle (export "handle") (param i32 i32) {code}))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
                (canon lift (core func $i "handle")))
            (component $wrap
                (import "request" (type $request (sub resource)))
                (import "outparam" (type $outparam (sub resource)))
                (import "handle" (func $handle
                    (param "request" (own $request)) (param "response-out" (own $outparam))))
                (export "handle" (func $handle)))
            (instance $handler (instantiate $wrap
                (with "request" (type $request))
                (with "outparam" (type $outparam))
                (with "handle" (func $handle))))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    ))
    .unwrap()
}

/// `spec`, served on a free port.
fn served(spec: ContainerSpec) -> ContainerSpec {
    let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    ContainerSpec { http: Some(HttpServe { listen }), ..spec }
}

async fn serve(runtime: &Runtime, wasm: Vec<u8>, spec: ContainerSpec) -> (Container, SocketAddr) {
    let container = spawn(runtime, wasm, served(spec)).await;
    container.ready().await;
    let address = container.http_addresses()[0];
    (container, address)
}

/// Sends `head` and returns all that is answered until the connection closes.
async fn exchange(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await
}

/// Waits until no instance of `container` is left.
async fn idle(container: &Container) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while container.usage().memory_bytes > 0 {
        assert!(Instant::now() < deadline, "an instance is left");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn each_request_is_answered_by_a_fresh_instance() {
    let spec = ContainerSpec { env: vec![("POD_NAME".into(), "web-1".into())], ..Default::default() };
    let (container, address) = serve(&runtime(), samples::read("web"), spec).await;
    for path in ["/", "/a/b?c=d"] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(&format!("hello from web-1, you asked for {path}\n")), "{answer}");
    }
    idle(&container).await;
    assert!(container.usage().cpu_time > Duration::ZERO);
}

#[tokio::test]
async fn nothing_of_an_instance_is_left_for_the_next_one() {
    let (spec, _, errors) = captured();
    let leaves = "(if (i32.load (i32.const 5000)) (then unreachable)) (i32.store (i32.const 5000) (i32.const 1))";
    let (_container, address) = serve(&runtime(), handler(leaves), spec).await;
    for _ in 0..10 {
        assert!(get(address, "/").await.contains("the guest failed to answer"));
    }
    assert_eq!(errors.text(), "");
}

#[tokio::test]
async fn who_takes_every_place_that_there_is_holds_up_nobody_else() {
    const REQUESTS: usize = 300;
    let runtime = runtime();
    let (greedy, address) = serve(&runtime, handler("(loop (br 0))"), ContainerSpec::default()).await;
    let mut clients = Vec::new();
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        clients.push(stream);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while greedy.usage().memory_bytes < (REQUESTS << 16) as u64 {
        assert!(Instant::now() < deadline, "not every request has an instance");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (_modest, address) = serve(&runtime, samples::read("web"), ContainerSpec::default()).await;
    assert!(get(address, "/").await.starts_with("HTTP/1.1 200 "));
    greedy.kill();
    assert_eq!(greedy.wait().await, Exit::Killed);
}

#[tokio::test]
async fn who_is_in_the_same_process_needs_no_socket() {
    let (container, address) = serve(&runtime(), samples::read("web"), ContainerSpec::default()).await;
    assert!(container.connect(address.port().wrapping_add(1)).is_none(), "it is served on one port");
    let mut stream = container.connect(address.port()).unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("you asked for /x"), "{answer}");
    container.stop();
    assert!(container.connect(address.port()).is_none(), "it stops");
    assert_eq!(container.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let (_container, address) = serve(&runtime(), samples::read("web"), ContainerSpec::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for path in ["/one", "/two"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the connection was closed");
        }
        assert!(String::from_utf8_lossy(&answer).contains(&format!("you asked for {path}\n")));
    }
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let (_container, address) = serve(&runtime(), samples::read("web"), ContainerSpec::default()).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}/two")).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("you asked for /two\n"));
}

#[tokio::test]
async fn a_guest_that_fails_is_a_500_and_a_line_and_nothing_more() {
    let (spec, _, stderr) = captured();
    let (container, address) = serve(&runtime(), handler("unreachable"), spec).await;
    for _ in 0..3 {
        assert!(get(address, "/x?secret").await.starts_with("HTTP/1.1 500 "));
    }
    let said = stderr.text();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.starts_with("GET /x: ") && said.contains("unreachable"), "{said}");
    assert_eq!(container.exit(), None);
    let silent = serve(&runtime(), handler(""), ContainerSpec::default()).await;
    assert!(get(silent.1, "/").await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn a_guest_that_runs_out_of_memory_ends_its_container() {
    let spec = ContainerSpec { memory_bytes_max: Some(1 << 20), ..Default::default() };
    let bomb = handler("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable");
    let (container, address) = serve(&runtime(), bomb, spec).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_eq!(container.wait().await, Exit::OutOfMemory);
    assert_eq!(container.usage().memory_bytes, 0);
}

#[tokio::test]
async fn requests_wait_when_memory_does_not_suffice_for_all_at_once() {
    let spec = ContainerSpec { memory_bytes_max: Some(300 << 10), ..Default::default() };
    let (container, address) = serve(&runtime(), samples::read("web"), spec).await;
    let answers = futures::future::join_all((0..32).map(|_| get(address, "/"))).await;
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")));
    let usage = container.usage();
    assert!(usage.memory_bytes_peak <= 300 << 10 && container.exit().is_none(), "{usage:?}");
}

#[tokio::test]
async fn one_that_cannot_be_made_ends_the_container() {
    let spec = ContainerSpec { memory_bytes_max: Some(64 << 10), ..Default::default() };
    let container = spawn(&runtime(), samples::read("web"), served(spec)).await;
    assert_eq!(container.wait().await, Exit::OutOfMemory);
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_ends_with_code_0() {
    let (container, address) = serve(&runtime(), samples::read("web"), ContainerSpec::default()).await;
    let mut kept = TcpStream::connect(address).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(container.stop(), Stop::Draining);
    assert_eq!(container.wait().await, Exit::Code(0));
    kept.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn stopping_waits_for_the_request_that_is_being_answered() {
    let slow = handler(
        "(local $n i64) (loop (local.set $n (i64.add (local.get $n) (i64.const 1)))
            (br_if 0 (i64.lt_u (local.get $n) (i64.const 50000000)))) unreachable",
    );
    let (container, address) = serve(&runtime(), slow, ContainerSpec::default()).await;
    let request = tokio::spawn(async move { get(address, "/").await });
    let deadline = Instant::now() + Duration::from_secs(5);
    while container.usage().memory_bytes == 0 {
        assert!(Instant::now() < deadline, "no instance is made");
        tokio::task::yield_now().await;
    }
    container.stop();
    assert!(request.await.unwrap().starts_with("HTTP/1.1 500 "));
    assert_eq!(container.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn killing_ends_instances_that_never_answer() {
    let (container, address) = serve(&runtime(), handler("(loop (br 0))"), ContainerSpec::default()).await;
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        clients.push(stream);
    }
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
    assert_eq!(container.usage().memory_bytes, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_instance_along() {
    let (container, address) = serve(&runtime(), handler("(loop (br 0))"), ContainerSpec::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while container.usage().memory_bytes == 0 {
        assert!(Instant::now() < deadline, "no instance is made");
        tokio::task::yield_now().await;
    }
    drop(stream);
    idle(&container).await;
    assert_eq!(container.exit(), None);
}

#[tokio::test]
async fn bad_requests_are_refused_before_an_instance_runs() {
    let (container, address) = serve(&runtime(), samples::read("web"), ContainerSpec::default()).await;
    let before = container.usage().cpu_time;
    for (head, status) in [
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("hello\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)), 431),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.contains(&format!(" {status} ")), "{answer}");
    }
    assert_eq!(container.usage().cpu_time, before);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let runtime = runtime();
    let (_container, address) = serve(&runtime, samples::read("web"), ContainerSpec::default()).await;
    let artifact = runtime.load(samples::read("web")).await.unwrap();
    let spec = ContainerSpec { http: Some(HttpServe { listen: vec![address] }), ..Default::default() };
    let error = runtime.start(&artifact, spec).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    let error = runtime.start(&artifact, ContainerSpec::default()).unwrap_err();
    assert!(matches!(error, StartError::NoListenAddress));
}

#[tokio::test]
async fn every_pod_address_has_every_port() {
    let runtime = runtime();
    let artifact = runtime.load(samples::read("web")).await.unwrap();
    let on = |address: IpAddr, port| {
        let listen = vec![SocketAddr::from((address, port))];
        let spec = ContainerSpec { http: Some(HttpServe { listen }), ..Default::default() };
        runtime.start(&artifact, spec).unwrap()
    };
    let first = on(IpAddr::from([127, 64, 250, 1]), 0);
    let port = first.http_addresses()[0].port();
    let second = on(IpAddr::from([127, 64, 250, 2]), port);
    for container in [&first, &second] {
        assert!(get(container.http_addresses()[0], "/").await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_server_has_no_command_to_run_again() {
    let runtime = runtime();
    for wasm in [samples::read("web"), built("service-p3")] {
        let (container, address) = serve(&runtime, wasm, ContainerSpec::default()).await;
        let output = Arc::new(Capture::new(100));
        let spec = ExecSpec {
            args: Vec::new(),
            stdin: Stdin::Empty,
            stdout: output.clone(),
            stderr: output,
            is_terminal: false,
        };
        assert!(matches!(runtime.exec(&container, spec), Err(StartError::NotACommand)));
        assert!(get(address, "/").await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn a_command_ignores_where_to_serve() {
    let exit = spawn(&runtime(), start(""), served(ContainerSpec::default())).await.wait().await;
    assert_eq!(exit, Exit::Code(0));
}

#[tokio::test]
async fn an_instance_of_the_third_preview_is_used_again_until_it_fails() {
    let (spec, _, stderr) = captured();
    let (container, address) = serve(&runtime(), built("service-p3"), spec).await;
    let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap();
    // An instance is free again a moment after its response was read.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(address, "/a?b").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("/a?b is request "), "{answer}");
        if answer.contains("/a?b is request 3\n") {
            break;
        }
        assert!(Instant::now() < deadline, "no instance is used again");
    }
    for (path, said) in [("/fail", ""), ("/trap", "GET /trap: ")] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 500 "), "{path}");
        assert!(stderr.text().contains(said), "{}", stderr.text());
    }
    assert!(get(address, "/c").await.contains("/c is request "));
    let posted = "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(body(&exchange(address, posted).await).contains("hello"));
    container.stop();
    assert_eq!(container.wait().await, Exit::Code(0));
    assert_eq!(container.usage().memory_bytes, 0, "idle instances go with the container");
}

#[tokio::test]
async fn one_of_the_third_preview_that_spins_is_killed_and_leaves_with_its_client() {
    let (container, address) = serve(&runtime(), built("service-p3"), ContainerSpec::default()).await;
    let idle_bytes = container.usage().memory_bytes;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while container.usage().cpu_time < Duration::from_millis(20) {
        assert!(Instant::now() < deadline, "the guest does not spin");
        tokio::task::yield_now().await;
    }
    drop(stream);
    while container.usage().memory_bytes > 0 {
        assert!(Instant::now() < deadline, "the instance is left of {idle_bytes} bytes");
        tokio::task::yield_now().await;
    }
    assert!(get(address, "/a").await.contains("/a is request 1\n"));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
    assert_eq!(container.usage().memory_bytes, 0);
}
