//! The namespace controller: empties a namespace that is being deleted, and lets it go once nothing is left.
//!
//! A look at a terminating namespace: [`empty`] deletes all it can and says what is left → [`plan`] (pure) → write the
//! conditions, or finalize. Which resources there are is asked of the server, so kinds that this program does not know
//! are deleted too.
//!
//! Source: upstream's namespace controller and its ordered deletion (pods first).

mod empty;
mod plan;
mod reconcile;

pub use reconcile::run;
