//! `wasi:sockets/ip-name-lookup`, answered by the guest's own [`Resolver`](crate::Resolver).

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::vec;

use async_trait::async_trait;
use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup as p2;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network as NetworkHandle};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketError, subscribe};
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup as p3, types};

use crate::names::ResolveError;
use crate::network::Network;
use crate::sandbox::Guest;

/// Chooses what the functions work on.
struct HasNames;

/// The handles of a guest and its network, if it has one.
struct Names<'a> {
    table: &'a mut ResourceTable,
    network: Option<Network>,
}

impl HasData for HasNames {
    type Data<'a> = Names<'a>;
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    p2::add_to_linker::<Guest, HasNames>(linker, names)?;
    p3::add_to_linker::<Guest, HasNames>(linker, names)
}

fn names(guest: &mut Guest) -> Names<'_> {
    let network = guest.network().cloned();
    Names { table: guest.ctx().table, network }
}

type Found = Result<Vec<IpAddr>, ResolveError>;

/// The answers to one question of `0.2`: asked while somebody looks or waits.
enum Lookup {
    Asked(Pin<Box<dyn Future<Output = Found> + Send>>),
    Answered(Result<vec::IntoIter<IpAddr>, ResolveError>),
}

impl Lookup {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&mut Result<vec::IntoIter<IpAddr>, ResolveError>> {
        if let Self::Asked(asked) = self {
            let Poll::Ready(found) = asked.as_mut().poll(cx) else { return Poll::Pending };
            *self = Self::Answered(found.map(Vec::into_iter));
        }
        match self {
            Self::Answered(answers) => Poll::Ready(answers),
            Self::Asked(_) => Poll::Pending,
        }
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx).map(drop)).await;
    }
}

/// A handle of ours under the name of wasmtime's: nobody but the functions below looks behind it.
fn ours(stream: &Resource<p2::ResolveAddressStream>) -> Resource<Lookup> {
    if stream.owned() { Resource::new_own(stream.rep()) } else { Resource::new_borrow(stream.rep()) }
}

/// How errors of `0.2` are told; the rest of that interface stays wasmtime's.
impl network::Host for Names<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        self.table.get(&error)?;
        Ok(None)
    }
}

impl network::HostNetwork for Names<'_> {
    fn drop(&mut self, network: Resource<NetworkHandle>) -> Result<()> {
        self.table.delete(network)?;
        Ok(())
    }
}

impl p2::Host for Names<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<NetworkHandle>,
        name: String,
    ) -> Result<Resource<p2::ResolveAddressStream>, SocketError> {
        self.table.get(&network)?;
        let Some(network) = self.network.clone() else { return Err(ErrorCode::PermanentResolverFailure.into()) };
        let mut lookup = Lookup::Asked(Box::pin(async move { network.resolve(&name).await }));
        if let Poll::Ready(Err(error)) = lookup.poll(&mut Context::from_waker(Waker::noop())) {
            return Err(code(*error).into());
        }
        Ok(Resource::new_own(self.table.push(lookup)?.rep()))
    }
}

impl p2::HostResolveAddressStream for Names<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<p2::ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        let lookup = self.table.get_mut(&ours(&stream))?;
        match lookup.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(answers)) => Ok(answers.next().map(IpAddress::from)),
            Poll::Ready(Err(error)) => Err(code(*error).into()),
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
        }
    }

    fn subscribe(&mut self, stream: Resource<p2::ResolveAddressStream>) -> Result<Resource<DynPollable>> {
        subscribe(self.table, ours(&stream))
    }

    fn drop(&mut self, stream: Resource<p2::ResolveAddressStream>) -> Result<()> {
        self.table.delete(ours(&stream))?;
        Ok(())
    }
}

fn code(error: ResolveError) -> ErrorCode {
    match error {
        ResolveError::Invalid => ErrorCode::InvalidArgument,
        ResolveError::NotFound => ErrorCode::NameUnresolvable,
        ResolveError::Temporary => ErrorCode::TemporaryResolverFailure,
    }
}

impl p3::Host for Names<'_> {}

impl p3::HostWithStore<Guest> for HasNames {
    async fn resolve_addresses(
        store: &Accessor<Guest, Self>,
        name: String,
    ) -> Result<Result<Vec<types::IpAddress>, p3::ErrorCode>> {
        let Some(network) = store.with(|mut access| access.get().network) else {
            return Ok(Err(p3::ErrorCode::PermanentResolverFailure));
        };
        let found = network.resolve(&name).await;
        Ok(found.map(|addresses| addresses.into_iter().map(Into::into).collect()).map_err(|error| match error {
            ResolveError::Invalid => p3::ErrorCode::InvalidArgument,
            ResolveError::NotFound => p3::ErrorCode::NameUnresolvable,
            ResolveError::Temporary => p3::ErrorCode::TemporaryResolverFailure,
        }))
    }
}
