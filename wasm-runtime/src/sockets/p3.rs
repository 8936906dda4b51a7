//! Addresses in `wasi:sockets@0.3`.

use std::net::SocketAddr;

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::{
    HostTcpSocket, HostTcpSocketWithStore, HostUdpSocket, HostUdpSocketWithStore, IpSocketAddress, TcpSocket, UdpSocket,
};
use wasmtime_wasi::p3::sockets::SocketResult;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

use super::told;
use crate::sandbox::Guest;

/// The version under which wasmtime's own functions stand in the linker: these replace them there.
const VERSION: &str = "0.3.0";

type Tcp = Resource<TcpSocket>;
type Udp = Resource<UdpSocket>;
type Store<'a> = StoreContextMut<'a, Guest>;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    let mut types = linker.instance(&format!("wasi:sockets/types@{VERSION}"))?;
    types.func_wrap_async("[method]tcp-socket.bind", |mut store: Store<'_>, (socket, address)| {
        let (socket, address): (Tcp, IpSocketAddress) = (socket, address);
        Box::new(async move {
            let guest = store.data_mut();
            let address = guest.network().map_or(address, |network| network.tcp_bound(address.into()).into());
            told(HostTcpSocket::bind(&mut guest.sockets(), socket, address).await)
        })
    })?;
    types.func_wrap_concurrent("[method]tcp-socket.connect", |store: &Accessor<Guest>, (socket, address)| {
        Box::pin(async move { told(tcp_connect(store, socket, address).await) })
    })?;
    types.func_wrap_async("[method]udp-socket.bind", |mut store: Store<'_>, (socket, address)| {
        let (socket, address): (Udp, IpSocketAddress) = (socket, address);
        Box::new(async move {
            let guest = store.data_mut();
            let address = guest.network().map_or(address, |network| network.udp_bound(address.into()).into());
            told(HostUdpSocket::bind(&mut guest.sockets(), socket, address).await)
        })
    })?;
    types.func_wrap_async("[method]udp-socket.connect", |mut store: Store<'_>, (socket, address)| {
        let (socket, address): (Udp, IpSocketAddress) = (socket, address);
        Box::new(async move {
            let address = reached(store.data(), address);
            told(HostUdpSocket::connect(&mut store.data_mut().sockets(), socket, address).await)
        })
    })?;
    types.func_wrap_concurrent("[method]udp-socket.send", |store: &Accessor<Guest>, (socket, data, address)| {
        let (socket, data, address): (Udp, Vec<u8>, Option<IpSocketAddress>) = (socket, data, address);
        Box::pin(async move {
            let address = store.with(|mut access| address.map(|address| reached(access.get(), address)));
            let sockets = store.with_getter::<WasiSockets>(WasiSocketsView::sockets);
            told(<WasiSockets as HostUdpSocketWithStore<Guest>>::send(&sockets, socket, data, address).await)
        })
    })?;
    Ok(())
}

/// A socket that is not bound yet is bound to the guest's own address first, where that is the source to connect from.
async fn tcp_connect(store: &Accessor<Guest>, socket: Tcp, address: IpSocketAddress) -> SocketResult<()> {
    let rep = socket.rep();
    let (address, source) = store.with(|mut access| {
        let guest = access.get();
        let address = SocketAddr::from(reached(guest, address));
        let source = guest.network().and_then(|network| network.source(address));
        let is_bound = HostTcpSocket::get_local_address(&mut guest.sockets(), Resource::new_borrow(rep)).is_ok();
        (address, source.filter(|_| !is_bound))
    });
    if let Some(source) = source {
        // What binding to an address of this host waits for is done at once, so it may be polled within the store.
        store.with(|mut access| {
            let mut sockets = access.get().sockets();
            let bound = HostTcpSocket::bind(&mut sockets, Resource::new_borrow(rep), source.into());
            futures::FutureExt::now_or_never(bound).unwrap_or(Ok(()))
        })?;
    }
    let sockets = store.with_getter::<WasiSockets>(WasiSocketsView::sockets);
    <WasiSockets as HostTcpSocketWithStore<Guest>>::connect(&sockets, socket, address.into()).await
}

fn reached(guest: &Guest, address: IpSocketAddress) -> IpSocketAddress {
    let reach = |address: SocketAddr| guest.network().map_or(address, |network| network.reached(address));
    reach(address.into()).into()
}
