//! The samples' guests, as they are in the repository.
