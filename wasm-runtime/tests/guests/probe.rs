//! Does what its arguments say and prints what it sees: an ordinary program of its language's standard library, built for
//! WASI p1 and p2 by `build.sh`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:?}: {error}", error.kind());
            ExitCode::from(1)
        }
    }
}

fn run(arguments: &[&str]) -> io::Result<()> {
    match *arguments {
        ["cat", path] => print!("{}", fs::read_to_string(path)?),
        ["ls", path] => {
            let mut names: Vec<_> = fs::read_dir(path)?.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names.iter().for_each(|name| println!("{}", name.to_string_lossy()));
        }
        ["write", path, text] => fs::write(path, text)?,
        ["leak", path] => {
            let mut files = Vec::new();
            let error = loop {
                match fs::File::open(path) {
                    Ok(file) => files.push(file),
                    Err(error) => break error,
                }
            };
            println!("{} files", files.len());
            return Err(error);
        }
        ["panic"] => panic!("as it was told"),
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["flood"] => loop {
            println!("{}", "flood ".repeat(100));
        },
        ["grow"] => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 16]);
            }
        }
        ["recurse"] => println!("{}", recurse(1)),
        ["tcp-listen", address] => listen(address)?,
        ["tcp-dial", address, text] => dial(address, text)?,
        ["udp-listen", address] => {
            let socket = UdpSocket::bind(address)?;
            println!("at {}", socket.local_addr()?);
            let mut datagram = [0; 1500];
            let (length, peer) = socket.recv_from(&mut datagram)?;
            socket.send_to(&datagram[..length], peer)?;
        }
        ["udp-send", address, text] => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(text.as_bytes(), address)?;
            let mut datagram = [0; 1500];
            let (length, peer) = socket.recv_from(&mut datagram)?;
            println!("{} from {peer}", String::from_utf8_lossy(&datagram[..length]));
        }
        ["resolve", name] => (name, 7).to_socket_addrs()?.for_each(|address| println!("{}", address.ip())),
        ref other => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{other:?}"))),
    }
    Ok(())
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box([depth; 16])[3] + recurse(depth + 1)
}

/// Takes one connection and gives back what comes.
fn listen(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("at {}", listener.local_addr()?);
    let (mut stream, peer) = listener.accept()?;
    println!("from {}", peer.ip());
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    stream.write_all(text.as_bytes())
}

fn dial(address: &str, text: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    println!("as {}", stream.local_addr()?.ip());
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}
