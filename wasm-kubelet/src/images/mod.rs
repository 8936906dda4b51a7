//! Images: what a reference means, where its bytes are kept, and how they get there.
//!
//! - [`reference`] reads `image:` fields;
//! - [`store`] keeps blobs by digest and names that point at them; safe to use from several processes at once, so that
//!   the command line loads images beside a running kubelet;
//! - [`http`] is the way to other machines, [`fetch`] brings `https://` images, [`registry`] those of OCI registries;
//! - [`credentials`], [`signature`] and [`layers`] are what registries need, and pure but for reading;
//! - [`pull`] joins these under `imagePullPolicy`;
//! - [`collect`] gives the disk back.

pub mod collect;
pub mod credentials;
pub mod fetch;
pub mod http;
pub mod layers;
pub mod program;
mod proxy;
pub mod pull;
pub mod record;
pub mod reference;
pub mod registry;
pub mod signature;
pub mod store;
mod turns;

pub use credentials::{Credential, Keyring};
pub use program::Program;
pub use pull::{Image, Puller};
pub use reference::Reference;
pub use store::{Digest, ImageStore, Listed, StoreError};
