//! Guests that serve HTTP.
