//! Images: what a reference means, where its bytes are kept, and how they get there.
//!
//! - [`reference`] reads `image:` fields;
//! - [`store`] keeps blobs by digest and names that point at them; safe to use from several processes at once, so that
//!   the command line loads images beside a running kubelet;
//! - [`fetch`] brings `https://` images;
//! - [`pull`] joins these under `imagePullPolicy`.

pub mod fetch;
pub mod program;
pub mod pull;
pub mod reference;
pub mod store;

pub use program::Program;
pub use pull::{Image, Puller};
pub use reference::Reference;
pub use store::{Digest, ImageStore, Listed, StoreError};
