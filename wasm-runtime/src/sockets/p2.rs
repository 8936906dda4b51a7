//! Addresses in `wasi:sockets@0.2`.

use std::net::SocketAddr;

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::SocketResult;
use wasmtime_wasi::p2::bindings::sockets::network::{IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::{HostTcpSocket, TcpSocket};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    HostOutgoingDatagramStream, HostUdpSocket, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use wasmtime_wasi::sockets::WasiSocketsView;

use super::told;
use crate::sandbox::Guest;

/// The version under which wasmtime's own functions stand in the linker: these replace them there.
const VERSION: &str = "0.2.12";

type Tcp = Resource<TcpSocket>;
type Udp = Resource<UdpSocket>;
type Net = Resource<Network>;
type Store<'a> = StoreContextMut<'a, Guest>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    let mut tcp = linker.instance(&format!("wasi:sockets/tcp@{VERSION}"))?;
    tcp.func_wrap_async("[method]tcp-socket.start-bind", |store: Store<'_>, (socket, net, address)| {
        Box::new(async move { told(tcp_bind(store, socket, net, address).await) })
    })?;
    tcp.func_wrap_async("[method]tcp-socket.start-connect", |store: Store<'_>, (socket, net, address)| {
        Box::new(async move { told(tcp_connect(store, socket, net, address).await) })
    })?;
    let mut udp = linker.instance(&format!("wasi:sockets/udp@{VERSION}"))?;
    udp.func_wrap_async("[method]udp-socket.start-bind", |store: Store<'_>, (socket, net, address)| {
        Box::new(async move { told(udp_bind(store, socket, net, address).await) })
    })?;
    udp.func_wrap_async("[method]udp-socket.stream", |mut store: Store<'_>, (socket, address)| {
        let (socket, address): (Udp, Option<IpSocketAddress>) = (socket, address);
        Box::new(async move {
            let address = address.map(|address| reached(&store, address));
            told(HostUdpSocket::stream(&mut store.data_mut().sockets(), socket, address).await)
        })
    })?;
    udp.func_wrap("[method]outgoing-datagram-stream.send", |mut store: Store<'_>, (stream, datagrams)| {
        let (stream, mut datagrams): (Resource<OutgoingDatagramStream>, Vec<OutgoingDatagram>) = (stream, datagrams);
        for datagram in &mut datagrams {
            datagram.remote_address = datagram.remote_address.map(|address| reached(&store, address));
        }
        told(HostOutgoingDatagramStream::send(&mut store.data_mut().sockets(), stream, datagrams))
    })?;
    Ok(())
}

async fn tcp_bind(mut store: Store<'_>, socket: Tcp, net: Net, address: IpSocketAddress) -> SocketResult<()> {
    let guest = store.data_mut();
    let address = guest.network().map_or(address, |network| network.tcp_bound(address.into()).into());
    HostTcpSocket::start_bind(&mut guest.sockets(), socket, net, address).await
}

/// A socket that is not bound yet is bound to the guest's own address first, where that is the source to connect from.
async fn tcp_connect(mut store: Store<'_>, socket: Tcp, net: Net, address: IpSocketAddress) -> SocketResult<()> {
    let guest = store.data_mut();
    let Some(network) = guest.network() else {
        return HostTcpSocket::start_connect(&mut guest.sockets(), socket, net, address);
    };
    let address = network.reached(address.into());
    let source = network.source(address);
    let (socket, net) = (socket.rep(), net.rep());
    let view = &mut guest.sockets();
    let is_bound = HostTcpSocket::local_address(view, Resource::new_borrow(socket)).is_ok();
    if let Some(source) = source.filter(|_| !is_bound) {
        HostTcpSocket::start_bind(view, Resource::new_borrow(socket), Resource::new_borrow(net), source.into()).await?;
        HostTcpSocket::finish_bind(view, Resource::new_borrow(socket))?;
    }
    HostTcpSocket::start_connect(view, Resource::new_borrow(socket), Resource::new_borrow(net), address.into())
}

async fn udp_bind(mut store: Store<'_>, socket: Udp, net: Net, address: IpSocketAddress) -> SocketResult<()> {
    let guest = store.data_mut();
    let address = guest.network().map_or(address, |network| network.udp_bound(address.into()).into());
    HostUdpSocket::start_bind(&mut guest.sockets(), socket, net, address).await
}

fn reached(store: &Store<'_>, address: IpSocketAddress) -> IpSocketAddress {
    let reach = |address: SocketAddr| store.data().network().map_or(address, |network| network.reached(address));
    reach(address.into()).into()
}
