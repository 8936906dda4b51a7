//! Asks name servers for addresses: RFC 1035 over UDP, as much of it as that takes. Used for pods that name their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::limits::{NAME_QUERIES_MAX, NAME_QUERY_WAIT};
use crate::runtime::Unresolved;

const PORT: u16 = 53;
/// What a server may answer with over UDP.
const ANSWER_BYTES_MAX: usize = 4096;
const HEADER_BYTES: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// The addresses of `name`: of both families, version 4 first. The first server that answers is believed.
pub async fn ask(servers: &[IpAddr], name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let servers: Vec<_> = servers.iter().map(|server| SocketAddr::new(*server, PORT)).collect();
    ask_at(&servers, name).await
}

async fn ask_at(servers: &[SocketAddr], name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let mut failure = Unresolved::Temporary;
    for server in servers.iter().cycle().take(servers.len() * NAME_QUERIES_MAX) {
        let server = *server;
        match futures::future::try_join(ask_for(server, name, A), ask_for(server, name, AAAA)).await {
            Ok((mut addresses, more)) => {
                addresses.extend(more);
                return if addresses.is_empty() { Err(Unresolved::NotFound) } else { Ok(addresses) };
            }
            Err(Unresolved::NotFound) => return Err(Unresolved::NotFound),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn ask_for(server: SocketAddr, name: &str, kind: u16) -> Result<Vec<IpAddr>, Unresolved> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let question = question(id, name, kind).ok_or(Unresolved::NotFound)?;
    let exchange = async {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A socket of its own has a port that a stranger has to guess along with the id.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.send(&question).await?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let length = socket.recv(&mut answer).await?;
            if let Some(read) = read(&answer[..length], &question, kind) {
                return Ok::<_, std::io::Error>(read);
            }
        }
    };
    match timeout(NAME_QUERY_WAIT, exchange).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) | Err(_) => Err(Unresolved::Temporary),
    }
}

/// One question, with recursion desired; `None` for what is no name.
fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    bytes.extend(id.to_be_bytes());
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    Some(bytes)
}

/// The addresses in `answer`; `None` if it is not one to `question`. What aliases lead to stands in the same answer.
fn read(answer: &[u8], question: &[u8], kind: u16) -> Option<Result<Vec<IpAddr>, Unresolved>> {
    let is_answer = answer.get(2)? & 0x80 != 0;
    if !is_answer || answer[..2] != question[..2] || !same_question(answer, question) {
        return None;
    }
    match answer.get(3)? & 0x0f {
        NO_ERROR => Some(addresses(answer, question.len(), kind).ok_or(Unresolved::Temporary)),
        NO_SUCH_NAME => Some(Err(Unresolved::NotFound)),
        _ => Some(Err(Unresolved::Temporary)),
    }
}

fn same_question(answer: &[u8], question: &[u8]) -> bool {
    answer.get(HEADER_BYTES..question.len()).is_some_and(|asked| asked.eq_ignore_ascii_case(&question[HEADER_BYTES..]))
}

fn addresses(answer: &[u8], mut at: usize, kind: u16) -> Option<Vec<IpAddr>> {
    let count = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut addresses = Vec::new();
    for _ in 0..count {
        at = after_name(answer, at)?;
        let head = answer.get(at..at + 10)?;
        let (found, length) =
            (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[8], head[9]])));
        let data = answer.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if found == kind {
            addresses.extend(address(data));
        }
    }
    Some(addresses)
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match *data {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(data).ok()?)),
    }
}

/// Where a name ends that begins at `at`: after its last label, or after the pointer that it ends with.
fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An answer to `question` with `code`, of an alias and two addresses.
    fn answer(question: &[u8], code: u8) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        answer[3] = code;
        answer[7] = 3;
        let record = |kind: u16, data: &[u8]| {
            let mut record = vec![0xc0, 12];
            record.extend(kind.to_be_bytes());
            record.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            record.extend(data);
            record
        };
        answer.extend(record(5, b"\x03www\xc0\x0c"));
        answer.extend(record(A, &[10, 0, 0, 1]));
        answer.extend(record(A, &[10, 0, 0, 2]));
        answer
    }

    #[test]
    fn answers_are_read_and_checked() {
        let asked = question(7, "web.test", A).unwrap();
        assert_eq!(&asked[12..], b"\x03web\x04test\0\0\x01\0\x01");
        let good = answer(&asked, NO_ERROR);
        let found = vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        assert_eq!(read(&good, &asked, A), Some(Ok(found)));
        assert_eq!(read(&good, &asked, AAAA), Some(Ok(Vec::new())));
        assert_eq!(read(&answer(&asked, NO_SUCH_NAME), &asked, A), Some(Err(Unresolved::NotFound)));
        assert_eq!(read(&answer(&asked, 2), &asked, A), Some(Err(Unresolved::Temporary)));
        assert_eq!(read(&good, &question(8, "web.test", A).unwrap(), A), None, "of another id");
        assert_eq!(read(&good, &question(7, "wet.test", A).unwrap(), A), None, "to another question");
        assert_eq!(read(&asked, &asked, A), None, "a question");
        for length in 0..good.len() {
            assert!(!matches!(read(&good[..length], &asked, A), Some(Ok(_))), "{length} bytes");
        }
        assert_eq!(question(7, "a..b", A), None);
    }

    #[tokio::test]
    async fn the_first_server_that_answers_is_believed() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = server.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut asked = [0; 512];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut asked).await.unwrap();
                server.send_to(b"noise", from).await.unwrap();
                server.send_to(&answer(&asked[..length], NO_ERROR), from).await.unwrap();
            }
        });
        let found = vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        assert_eq!(ask_at(&[closed, open], "web.test").await, Ok(found));
        serving.await.unwrap();
        assert_eq!(ask_at(&[], "web.test").await, Err(Unresolved::Temporary));
    }
}
