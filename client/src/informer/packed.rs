//! Objects as the text that they are written as. A typed pod that only runs takes some 18 kB, its text less than 3.

use std::marker::PhantomData;
use std::sync::Arc;

use coracle_api::Object;

/// An object that is seldom looked at. Cheap to clone; to open it costs about as much as to receive it.
pub struct Packed<K> {
    json: Arc<[u8]>,
    of: PhantomData<fn() -> K>,
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self { json: self.json.clone(), of: PhantomData }
    }
}

impl<K: Object> Packed<K> {
    /// Packs `object`.
    pub fn of(object: &K) -> Self {
        Self { json: (&*object.encode()).into(), of: PhantomData }
    }

    /// The object.
    pub fn open(&self) -> Arc<K> {
        Arc::new(K::decode(&self.json).expect("what was written as an object reads as one"))
    }
}

/// An object of a cache.
pub(super) enum Held<K> {
    Open(Arc<K>),
    Packed(Packed<K>),
}

impl<K> Clone for Held<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Open(object) => Self::Open(object.clone()),
            Self::Packed(packed) => Self::Packed(packed.clone()),
        }
    }
}

impl<K: Object> Held<K> {
    pub(super) fn open(&self) -> Arc<K> {
        match self {
            Self::Open(object) => object.clone(),
            Self::Packed(packed) => packed.open(),
        }
    }

    pub(super) fn pack(&self) -> Packed<K> {
        match self {
            Self::Open(object) => Packed::of(object),
            Self::Packed(packed) => packed.clone(),
        }
    }
}
