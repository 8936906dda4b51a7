//! With the feature `command`: greets whom its arguments name, and looks the name up.
//! With `service`: answers each request with its path and the number of requests that this instance has had; a body is echoed.

#[cfg(feature = "command")]
mod command {
    use wasip3::cli::{environment, stdout};
    use wasip3::sockets::ip_name_lookup::resolve_addresses;

    wasip3::cli::command::export!(Greeter);

    struct Greeter;

    impl wasip3::exports::cli::run::Guest for Greeter {
        async fn run() -> Result<(), ()> {
            let name = environment::get_arguments().pop().ok_or(())?;
            let addresses = resolve_addresses(name.clone()).await;
            let text = format!("hello, {name}: {addresses:?}\n");
            let (mut sender, receiver) = wasip3::wit_stream::new();
            let written = async { stdout::write_via_stream(receiver).await };
            let (written, unsent) = futures::join!(written, async move { sender.write_all(text.into_bytes()).await });
            written.map_err(drop)?;
            if unsent.is_empty() { Ok(()) } else { Err(()) }
        }
    }
}

#[cfg(feature = "service")]
mod service {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use wasip3::http::types::{ErrorCode, Fields, Request, Response};
    use wasip3::{wit_bindgen, wit_future, wit_stream};

    wasip3::http::service::export!(Service);

    struct Service;

    static REQUESTS: AtomicU32 = AtomicU32::new(0);

    impl wasip3::exports::http::handler::Guest for Service {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            let count = REQUESTS.fetch_add(1, Relaxed) + 1;
            let path = request.get_path_with_query().unwrap_or_default();
            match path.as_str() {
                "/fail" => return Err(ErrorCode::InternalError(None)),
                "/trap" => panic!("as it was told"),
                "/spin" => loop {},
                _ => {}
            }
            let (_, received) = wit_future::new(|| Ok(()));
            let (body, _trailers) = Request::consume_body(request, received);
            let (mut sender, receiver) = wit_stream::new();
            let (_trailers, trailers) = wit_future::new(|| Ok(None));
            let (response, _sent) = Response::new(Fields::new(), Some(receiver), trailers);
            wit_bindgen::spawn_local(async move {
                sender.write_all(format!("{path} is request {count}\n").into_bytes()).await;
                sender.write_all(body.collect().await).await;
            });
            Ok(response)
        }
    }
}
