//! Why the server could not start, or has stopped; and how the store's refusals look from outside.

use std::net::SocketAddr;

use coracle_api::status::ApiError;
use coracle_store::Error as StoreError;

use crate::cache::CacheError;
use crate::pki::PkiError;

/// Why the server could not start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("no certificates")]
    Pki(#[from] PkiError),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("{cidr} is not a range of IPv4 addresses for services")]
    ServiceCidr { cidr: String },
    #[error("what every cluster has could not be made: {0}")]
    Bootstrap(#[source] Box<ApiError>),
}

impl Error {
    pub(crate) fn bootstrap(error: ApiError) -> Self {
        Self::Bootstrap(Box::new(error))
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Store(error) => Self::Store(error),
        }
    }
}

/// What a client is told when the store refuses, apart from a conflict, which the writer answers itself.
pub(crate) fn refused(error: StoreError) -> ApiError {
    match error {
        StoreError::Full => ApiError::StorageFull("writes are refused until there is room".to_owned()),
        StoreError::TooLarge { bytes_max, .. } => ApiError::BodyTooLarge { bytes_max },
        StoreError::Compacted { requested, oldest } => expired(requested.0, oldest.0),
        StoreError::Future { requested, current } => {
            ApiError::RevisionTooLarge { requested: requested.0, current: current.0 }
        }
        StoreError::Closed => ApiError::Unavailable("the server is stopping".to_owned()),
        other => {
            tracing::error!(error = &other as &dyn std::error::Error, "the store failed");
            ApiError::Internal(other.to_string())
        }
    }
}

/// What a client is told that asks for history which is gone.
pub(crate) fn expired(requested: u64, oldest: u64) -> ApiError {
    ApiError::Expired(format!("too old resource version: {requested} ({oldest})"))
}
