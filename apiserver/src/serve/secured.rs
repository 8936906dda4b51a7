//! A connection behind TLS, with buffers that are there only while something is in them.
//!
//! rustls' own connection keeps 4 kB to read into for as long as it lives, and thousands of watches only wait. Its
//! unbuffered one leaves buffers to whoever drives it, which is this module: `incoming` is what has come and is no whole
//! record yet, `plain` what was in records and nobody has read, `outgoing` records that the socket has not taken.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// How much is read from the socket at once.
const READ_BYTES: usize = 16 << 10;

/// How much is encrypted at once: some records.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What is smaller is put together with what follows it, so that it need be no record of its own.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// The server's end of a TLS connection over `io`.
pub(super) struct Secured<T> {
    io: T,
    connection: UnbufferedServerConnection,
    incoming: BytesMut,
    plain: BytesMut,
    outgoing: Outgoing,
    /// The other side has said that nothing more comes.
    is_ended: bool,
    is_closed: bool,
    /// Why nothing is read or written any more.
    failed: Option<rustls::Error>,
}

/// Records that wait for the socket.
#[derive(Default)]
struct Outgoing {
    /// It may be longer than what is in it: it is cleared once and not for every record.
    buffer: Vec<u8>,
    sent: usize,
    filled: usize,
}

/// What is to be done once the connection is ready for it.
enum Task<'d> {
    /// Only what has come is looked at.
    Nothing,
    Encrypt(&'d [u8]),
    Close,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Secured<T> {
    /// Shakes hands over `io`.
    ///
    /// # Errors
    /// When the other side goes, or does not speak TLS as `config` wants it; it is told so.
    pub(super) async fn accept(io: T, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let mut secured = Self {
            io,
            connection,
            incoming: BytesMut::new(),
            plain: BytesMut::new(),
            outgoing: Outgoing::default(),
            is_ended: false,
            is_closed: false,
            failed: None,
        };
        let shaken = std::future::poll_fn(|cx| secured.poll_handshake(cx)).await;
        // What is said of a failure, too.
        let told = secured.flush().await;
        shaken.and(told).map(|()| secured)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.is_handshaking() {
            ready!(self.poll_send(cx))?;
            ready!(self.poll_receive(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket once, and processes what came.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.incoming.extend_from_slice(read.filled());
        Poll::Ready(self.process(&Task::Nothing))
    }

    /// Writes what waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Outgoing { buffer, sent, filled } = &mut self.outgoing;
        while sent < filled {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &buffer[*sent..*filled]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *sent += written,
            }
        }
        (*sent, *filled) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

impl<T> Secured<T> {
    /// The protocol that was agreed upon.
    pub(super) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The certificates of the other side, its own first.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.peer_certificates()
    }

    /// Takes from `incoming` what can be taken, and does `task`.
    ///
    /// # Errors
    /// When what came is no TLS, which the other side is told; when it is too early or too late for the task.
    fn process(&mut self, task: &Task<'_>) -> io::Result<()> {
        let mut is_done = matches!(task, Task::Nothing);
        // After a failure only the alert that says so is still to come.
        while self.failed.is_none() || self.connection.wants_write() {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut self.incoming);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    self.outgoing.put(|room| match data.encode(room) {
                        Ok(written) => Ok(written),
                        Err(EncodeError::InsufficientSize(wanted)) => Err(Some(wanted)),
                        Err(EncodeError::AlreadyEncoded) => Err(None),
                    })?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.is_ended = true;
                    true
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let told = |outcome| match outcome {
                        Ok(written) => Ok(written),
                        Err(EncryptError::InsufficientSize(wanted)) => Err(Some(wanted)),
                        Err(EncryptError::EncryptExhausted) => Err(None),
                    };
                    match task {
                        Task::Nothing => {}
                        Task::Encrypt(data) => self.outgoing.put(|room| told(traffic.encrypt(data, room)))?,
                        Task::Close => self.outgoing.put(|room| told(traffic.queue_close_notify(room)))?,
                    }
                    is_done = true;
                    false
                }
                Ok(ConnectionState::Closed) => {
                    self.is_ended = true;
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    self.failed = Some(error);
                    true
                }
            };
            self.incoming.advance(discard);
            if !goes_on {
                break;
            }
        }
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        match &self.failed {
            Some(error) => Err(invalid(error.clone())),
            None if is_done => Ok(()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Outgoing {
    /// Appends what `write` writes into the room that it is given, or that it says it wants.
    fn put(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
    ) -> io::Result<()> {
        loop {
            match write(&mut self.buffer[self.filled..]) {
                Ok(written) => {
                    self.filled += written;
                    return Ok(());
                }
                Err(Some(InsufficientSizeError { required_size })) => {
                    self.buffer.resize(self.filled + required_size, 0);
                }
                Err(None) => return Err(io::Error::other("the connection's keys are used up")),
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.plain.is_empty() {
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            // What was answered to what came before goes when the socket takes it.
            let _ = self.poll_send(cx)?;
            ready!(self.poll_receive(cx))?;
        }
        let length = self.plain.len().min(buf.remaining());
        buf.put_slice(&self.plain[..length]);
        self.plain.advance(length);
        if self.plain.is_empty() {
            self.plain = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let data = &buf[..buf.len().min(WRITE_BYTES_MAX)];
        self.process(&Task::Encrypt(data))?;
        let _ = self.poll_send(cx)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
        let first = filled.next().map_or(&[][..], |buf| buf);
        let Some(second) = filled.next().filter(|_| first.len() < JOINED_BYTES_MAX) else {
            return self.poll_write(cx, first);
        };
        let mut joined = Vec::with_capacity(JOINED_BYTES_MAX);
        for buf in [first, second].into_iter().chain(filled.map(|buf| &**buf)) {
            let left = JOINED_BYTES_MAX - joined.len();
            joined.extend_from_slice(&buf[..buf.len().min(left)]);
        }
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.outgoing = Outgoing::default();
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.process(&Task::Close)?;
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::time::{Duration, timeout};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    type Server = Secured<DuplexStream>;
    type Client = TlsStream<DuplexStream>;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let key = rcgen::generate_simple_self_signed(vec!["here".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        (Arc::new(server), Arc::new(client))
    }

    /// Both ends of a connection whose socket has room for `room` bytes.
    async fn pair(room: usize) -> (Server, Client) {
        let (server, client) = configs();
        let (near, far) = duplex(room);
        let connecting = TlsConnector::from(client).connect("here".try_into().unwrap(), far);
        let (near, far) = tokio::join!(Secured::accept(near, server), connecting);
        (near.unwrap(), far.unwrap())
    }

    fn is_bare(server: &Server) -> bool {
        let Secured { incoming, plain, outgoing, .. } = server;
        [incoming.capacity(), plain.capacity(), outgoing.buffer.capacity()] == [0; 3]
    }

    #[tokio::test]
    async fn much_goes_both_ways_at_once_through_a_narrow_socket() {
        for room in [2_000, 5_000, 1 << 20] {
            let (mut near, mut far) = pair(room).await;
            let sent: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
            let echoed = tokio::spawn(async move {
                let (mut reading, mut writing) = tokio::io::split(&mut near);
                let mut room = vec![0; 3_000];
                loop {
                    let read = reading.read(&mut room).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    writing.write_all(&room[..read]).await.unwrap();
                }
                writing.shutdown().await.unwrap();
                near
            });
            let (mut reading, mut writing) = tokio::io::split(&mut far);
            let mut back = Vec::new();
            let write = async {
                writing.write_all(&sent).await.unwrap();
                writing.shutdown().await.unwrap();
            };
            let both = async { tokio::join!(write, reading.read_to_end(&mut back)) };
            timeout(Duration::from_secs(20), both).await.expect("both ends get on").1.unwrap();
            assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
            assert_eq!(echoed.await.unwrap().write(b"more").await.unwrap_err().kind(), io::ErrorKind::NotConnected);
        }
    }

    #[tokio::test]
    async fn a_connection_that_waits_has_no_buffers() {
        let (mut near, mut far) = pair(1 << 20).await;
        assert!(is_bare(&near), "after the handshake");
        near.write_all(&[7; 200_000]).await.unwrap();
        near.flush().await.unwrap();
        far.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        near.read_exact(&mut hello).await.unwrap();
        assert!(is_bare(&near), "after having spoken");
        let mut all = vec![0; 200_000];
        far.read_exact(&mut all).await.unwrap();
        assert!(all.iter().all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn parts_are_written_in_their_order() {
        let (mut near, mut far) = pair(1 << 20).await;
        let parts = [vec![], b"head ".to_vec(), vec![b'a'; 10_000], vec![], b"tail".to_vec()];
        let mut left: Vec<u8> = parts.concat();
        let whole = left.clone();
        while !left.is_empty() {
            let (one, two) = left.split_at(left.len().min(5));
            let written =
                near.write_vectored(&[IoSlice::new(&[]), IoSlice::new(one), IoSlice::new(two)]).await.unwrap();
            left.drain(..written);
        }
        near.shutdown().await.unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).await.unwrap();
        assert!(read == whole);
    }

    #[tokio::test]
    async fn keys_are_changed_when_the_client_says_so() {
        let (mut near, mut far) = pair(1 << 20).await;
        for said in [b"one", b"two"] {
            far.get_mut().1.refresh_traffic_keys().unwrap();
            far.write_all(said).await.unwrap();
            let mut heard = [0; 3];
            near.read_exact(&mut heard).await.unwrap();
            near.write_all(&heard).await.unwrap();
            far.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, said);
        }
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_no_end() {
        let (mut near, far) = pair(1 << 20).await;
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (mut near, mut far) = pair(1 << 20).await;
        far.shutdown().await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
        near.write_all(b"still").await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_tls_is_refused_with_an_alert() {
        let (near, mut far) = duplex(1 << 20);
        far.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        let refused = Secured::accept(near, configs().0).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        // An alert (21), which is fatal (2).
        assert_eq!((said.first(), said.get(5)), (Some(&21), Some(&2)), "{said:?}");

        let (mut near, far) = pair(1 << 20).await;
        let mut bare = far.into_inner().0;
        bare.write_all(&[23, 3, 3, 0, 32]).await.unwrap();
        bare.write_all(&[9; 32]).await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData, "a forged record");
        assert_eq!(near.write(b"more").await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
