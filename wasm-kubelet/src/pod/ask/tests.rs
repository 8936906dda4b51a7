//! Guests that answer, or do not, over real sockets of this machine.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::runtime::{Exec, Exit, Limits, Mount, StartError, Usage};

/// A container that answers at port 1 without a connection, and runs `exit CODE`, `say WORD` and `hang`.
struct Guest;

/// A run that ends so.
struct Run(Option<Exit>);

#[async_trait]
impl Container for Guest {
    async fn ready(&self) {}

    async fn wait(&self) -> Exit {
        std::future::pending().await
    }

    fn stop(&self) {}

    fn kill(&self) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn resize(&self, _limits: Limits) -> Result<(), StartError> {
        Ok(())
    }

    fn mounts(&self) -> &[Mount] {
        &[]
    }

    fn connect(&self, port: u16) -> Option<tokio::io::DuplexStream> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let mut request = vec![0; 2048];
            let read = theirs.read(&mut request).await.unwrap();
            let is_good = request[..read].starts_with(b"GET /ok ");
            let answer = answer(if is_good { "200 OK" } else { "503 Oh" }, "");
            theirs.write_all(answer.as_bytes()).await.unwrap();
        });
        (port == 1).then_some(ours)
    }

    async fn exec(&self, exec: Exec) -> Result<Arc<dyn Container>, StartError> {
        let words: Vec<&str> = exec.args.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["exit", code] => Ok(Arc::new(Run(Some(Exit::Code(code.parse().unwrap()))))),
            ["say", word] => {
                exec.stdout.write(word.as_bytes());
                exec.stderr.write(b"!");
                Ok(Arc::new(Run(Some(Exit::Code(2)))))
            }
            ["hang", ..] => Ok(Arc::new(Run(None))),
            _ => Err(StartError { message: "nothing to run".into() }),
        }
    }
}

#[async_trait]
impl Container for Run {
    async fn ready(&self) {}

    async fn wait(&self) -> Exit {
        match &self.0 {
            Some(exit) => exit.clone(),
            None => std::future::pending().await,
        }
    }

    fn stop(&self) {}

    fn kill(&self) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn resize(&self, _limits: Limits) -> Result<(), StartError> {
        Ok(())
    }

    fn mounts(&self) -> &[Mount] {
        &[]
    }

    async fn exec(&self, _exec: Exec) -> Result<Arc<dyn Container>, StartError> {
        Err(StartError { message: "nothing to run".into() })
    }
}

fn asked() -> Asked {
    Asked { address: Ipv4Addr::LOCALHOST, container: Arc::new(Guest) }
}

async fn ask(action: Action) -> Answer {
    asked().ask(&action, Duration::from_secs(5)).await
}

fn get(port: u16, path: &str) -> HttpGet {
    HttpGet { is_tls: false, host: None, port, path: path.into(), headers: Vec::new() }
}

/// Answers each connection with the next of `answers`, and gives back what was asked.
async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 2048];
            let read = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..read]).to_lowercase());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (port, served)
}

fn answer(status: &str, location: &str) -> String {
    let location = if location.is_empty() { String::new() } else { format!("Location: {location}\r\n") };
    format!("HTTP/1.1 {status}\r\n{location}Content-Length: 2\r\nConnection: close\r\n\r\nhi")
}

#[tokio::test]
async fn a_status_is_good_bad_or_a_warning() {
    let elsewhere = Answer::Warned("Probe terminated redirects, Response body: ".into());
    let bad = |status| Answer::Failed(format!("HTTP probe failed with statuscode: {status}"));
    for (answers, want) in [
        (vec![answer("200 OK", "")], Answer::Well),
        (vec![answer("302 Found", "/next"), answer("200 OK", "")], Answer::Well),
        (vec![answer("302 Found", "next"), answer("404 Not Found", "")], bad(404)),
        (vec![answer("302 Found", "http://other.example/")], elsewhere),
        (vec![answer("500 Oh", "")], bad(500)),
    ] {
        let said = format!("{answers:?}");
        let (port, served) = server(answers).await;
        assert_eq!(ask(Action::Http(get(port, "/a/b?c=d"))).await, want, "{said}");
        let requests = served.await.unwrap();
        assert!(requests[0].starts_with("get /a/b?c=d http/1.1\r\n"), "{requests:?}");
        let next = requests.get(1).map_or("", |next| next.lines().next().unwrap());
        assert!(["", "get /next http/1.1", "get /a/next http/1.1"].contains(&next), "{next}");
    }
}

#[tokio::test]
async fn headers_are_upstreams_unless_the_probe_has_its_own() {
    let (port, served) = server(vec![answer("200 OK", ""), answer("200 OK", "")]).await;
    ask(Action::Http(get(port, "ready"))).await;
    let own = [("Host", "web.example"), ("User-Agent", "mine"), ("Accept", ""), ("X-A", "b")];
    let headers = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ask(Action::Http(HttpGet { headers, ..get(port, "/") })).await;
    let requests = served.await.unwrap();
    for line in
        [&format!("host: 127.0.0.1:{port}"), "user-agent: kube-probe/1.36", "accept: */*", "get /ready http/1.1"]
    {
        assert!(requests[0].contains(line), "{line}: {}", requests[0]);
    }
    assert!(!requests[1].contains("accept") && !requests[1].contains("kube-probe"), "{}", requests[1]);
    for line in ["host: web.example\r\n", "user-agent: mine\r\n", "x-a: b\r\n"] {
        assert!(requests[1].contains(line), "{line}: {}", requests[1]);
    }
}

#[tokio::test]
async fn what_does_not_answer_is_said_as_go_says_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().port();
    let closed = {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap().port()
    };
    let refused = format!("dial tcp 127.0.0.1:{closed}: connect: connection refused");
    let short = Duration::from_millis(100);
    let late = asked().ask(&Action::Http(get(silent, "/x")), short).await;
    let url = format!("http://127.0.0.1:{silent}/x");
    assert_eq!(late, Answer::Failed(format!("Get \"{url}\": {TIMED_OUT}")));
    let table = [
        (Action::Tcp { host: None, port: closed }, Answer::Failed(refused.clone())),
        (Action::Tcp { host: None, port: silent }, Answer::Well),
        (Action::Http(get(closed, "/x")), Answer::Failed(format!("Get \"http://127.0.0.1:{closed}/x\": {refused}"))),
        (
            Action::Grpc { port: closed, service: String::new() },
            Answer::Failed(format!("error: failed to connect service at \"127.0.0.1:{closed}\": {refused}")),
        ),
    ];
    for (action, want) in table {
        assert_eq!(ask(action).await, want);
    }
}

#[tokio::test]
async fn a_certificate_is_not_judged() {
    let key = rcgen::generate_simple_self_signed(["somebody.example".to_owned()]).unwrap();
    let der = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut request = vec![0; 2048];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(answer("200 OK", "").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    assert_eq!(ask(Action::Http(HttpGet { is_tls: true, ..get(port, "/") })).await, Answer::Well);
    let (plain, _served) = server(vec![answer("400 Bad Request", "")]).await;
    let answer = ask(Action::Http(HttpGet { is_tls: true, ..get(plain, "/") })).await;
    let Answer::Failed(message) = answer else { panic!("{answer:?}") };
    assert!(message.ends_with("http: server gave HTTP response to HTTPS client"), "{message}");
}

/// A health service that serves `up` and has heard of `down`.
async fn health(request: ::http::Request<Incoming>) -> Result<::http::Response<Reply>, Infallible> {
    use http_body_util::BodyExt;
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["user-agent"], USER_AGENT);
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    let (state, status) = match asked.get(7..).unwrap_or_default() {
        b"up" | b"" => (Some(1), "0"),
        b"down" => (Some(2), "0"),
        _ => (None, "5"),
    };
    let frames = state.map(|state| Frame::data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, state])));
    let trailers = ::http::HeaderMap::from_iter(
        [("grpc-status", status), ("grpc-message", "unknown service")]
            .map(|(name, value)| (::http::HeaderName::from_static(name), ::http::HeaderValue::from_static(value))),
    );
    let frames: Vec<_> = frames.into_iter().chain([Frame::trailers(trailers)]).map(Ok).collect();
    let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
    Ok(::http::Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

type Reply = http_body_util::StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

#[tokio::test]
async fn the_health_service_is_asked_over_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(health)));
        }
    });
    let failed = |text: &str| Answer::Failed(text.into());
    for (service, want) in [
        ("", Answer::Well),
        ("up", Answer::Well),
        ("down", failed("service unhealthy (responded with \"NOT_SERVING\")")),
        ("else", failed("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")),
    ] {
        assert_eq!(ask(Action::Grpc { port, service: service.into() }).await, want, "{service:?}");
    }
}

#[tokio::test]
async fn a_command_is_judged_by_its_exit_code() {
    let command = |words: &str| Action::Exec { command: words.split(' ').map(str::to_owned).collect() };
    let failed = |text: &str| Answer::Failed(text.into());
    for (words, want) in [
        ("exit 0", Answer::Well),
        ("exit 1", failed("")),
        ("say sorry", failed("sorry!")),
        ("other", Answer::Unasked("nothing to run".into())),
    ] {
        assert_eq!(ask(command(words)).await, want, "{words}");
    }
    tokio::time::pause();
    let late = asked().ask(&command("hang on"), Duration::from_secs(1)).await;
    assert_eq!(late, failed("command timed out: \"hang on\" timed out after 1s"));
}

#[tokio::test]
async fn a_guest_that_is_served_in_process_needs_no_connection() {
    assert_eq!(ask(Action::Http(get(1, "ok"))).await, Answer::Well);
    let bad = Answer::Failed("HTTP probe failed with statuscode: 503".into());
    assert_eq!(ask(Action::Http(get(1, "/other"))).await, bad);
}

#[tokio::test]
async fn hooks_fail_in_upstreams_words() {
    let run = async |hook| asked().run(&hook, "a", "p_n(u)").await;
    let exec = |words: &str| Hook::Ask(Action::Exec { command: words.split(' ').map(str::to_owned).collect() });
    assert_eq!(run(exec("exit 0")).await, Ok(()));
    assert_eq!(run(Hook::Ask(Action::Http(get(1, "/other")))).await, Ok(()), "any answer will do");
    assert_eq!(run(Hook::Sleep(Duration::ZERO)).await, Ok(()));
    let of = "for Container \"a\" in Pod \"p_n(u)\" failed - error:";
    assert_eq!(
        run(exec("say no")).await,
        Err(format!("Exec lifecycle hook ([say no]) {of} command 'say no' exited with 2, message: \"no!\""))
    );
    assert_eq!(run(Hook::Invalid("invalid handler")).await, Err("Cannot run handler: invalid handler".into()));
}
